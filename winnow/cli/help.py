"""What all commands share: a mistake is one line, sections of the list of commands, names that complete."""

import sys
from typing import Any

import click

from winnow.config.errors import ParamsError

# The sections of `winnow --help`, in the order of a first hour.
SECTIONS = {
    "Set up": ("init", "compose", "lint", "completion"),
    "Know the cost before": ("plan", "cost"),
    "Look at results": ("show", "trace", "publish", "ui"),
    "Work with dataset versions": ("diff", "export"),
    "Take results away": ("export-model", "export-results"),
}


class Commands(click.Group):
    """A mistake of the user is one line and exit code 2 (params) or 1 (anything else), never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # of a reader that has seen enough, such as `head`; click ends quietly
            raise
        except (ValueError, OSError) as error:
            click.echo(" ".join(str(error).split()), err=True)
            sys.exit(2 if isinstance(error, ParamsError) else 1)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section; one that is in none comes last."""
        listed = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in self.list_commands(ctx) if name not in listed)
        width = max(map(len, self.commands))
        for title, names in {**SECTIONS, "Other": rest}.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit=80))
                for name in names
                if name in self.commands
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def complete_overrides(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """GROUP=NAME for each file of conf/, the shorthands, and the sections of params.yaml."""
    from winnow.config.schema import SECTIONS as KEYS
    from winnow.config.shorthands import SHORTHANDS
    from winnow.pipeline.workspace import Workspace

    conf = Workspace.find().conf
    files = [f"{path.parent.name}={path.stem}" for path in sorted(conf.glob("*/*.yaml"))]
    chosen = [one for one in files if not one.startswith(("policy=", "method=", "hardware="))]
    arms = [f"arms={path.stem}" for path in sorted((conf / "policy").glob("*.yaml"))]
    keys = [f"{key}." for key in KEYS]
    return [
        one for one in [*chosen, *arms, *(f"{s}=" for s in SHORTHANDS), *keys] if one.startswith(incomplete)
    ]


def complete_versions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names below data/versions."""
    return _below("data/versions", incomplete)


def complete_arms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names below results/pretrain."""
    return _below("results/pretrain", incomplete)


def complete_hardware(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The files of conf/hardware."""
    from winnow.pipeline.workspace import Workspace
    from winnow.plan.hardware import presets

    return [name for name in presets(Workspace.find().conf) if name.startswith(incomplete)]


def complete_planned_arms(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The arms of params.yaml."""
    from winnow.config.load import read
    from winnow.pipeline.workspace import Workspace

    return [name for name in read(Workspace.find().params).get("arms", {}) if name.startswith(incomplete)]


def _below(folder: str, incomplete: str) -> list[Any]:
    from winnow.pipeline.workspace import Workspace

    found = (Workspace.find().root / folder).glob(f"{incomplete}*")
    return sorted(path.name for path in found if path.is_dir())
