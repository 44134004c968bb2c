"""The `winnow` command: thin, and quick to start, because each command imports what it needs."""

import sys

import click

from winnow.cli.versions import diff, export, show
from winnow.config.errors import ParamsError
from winnow.pipeline.workspace import Workspace


class OneLine(click.Group):
    """A mistake of the user is one line and exit code 2 (params) or 1 (anything else), never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # of a reader that has seen enough, such as `head`; click ends quietly
            raise
        except (ValueError, OSError) as error:
            click.echo(" ".join(str(error).split()), err=True)
            sys.exit(2 if isinstance(error, ParamsError) else 1)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Curate image data with small models to pretrain big ones, and account for every FLOP, kWh and gram of
    CO2e.
    """


@main.command()
@click.argument("overrides", nargs=-1)
@click.option("--dvc", is_flag=True, help="Write nothing; print the same as arguments of `dvc exp run`.")
def compose(overrides: tuple[str, ...], dvc: bool) -> None:
    """Write params.yaml from conf/.

    OVERRIDES choose a file of conf/ (scale=debug, dataset=folder, experiment=methods) or set any key of
    params.yaml (dataset.path=/data/mine). Short: budget=2e13, seeds=3, arms=uniform,easy, backbone=NAME.
    """
    workspace = Workspace.find()
    if dvc:
        import shlex

        from winnow.config.compose import composed, translated

        composed(list(overrides), workspace.conf)
        sets = (f"-S {shlex.quote(one)}" for one in translated(list(overrides), workspace.conf))
        click.echo(" ".join(["dvc exp run", *sets]))
        return
    from winnow.config.compose import write

    arms = write(list(overrides), workspace.conf, workspace.params)["arms"]
    click.echo(f"params.yaml written, {len(arms)} arms: {', '.join(arms)}; now: dvc repro")


@main.command()
@click.argument("path")
@click.option("--full", is_flag=True, help="Decode every image, and compare its bytes with its uid.")
def lint(path: str, full: bool) -> None:
    """Check a pool, a version or a source.

    PATH is a folder or file, a URL of shards, or a params.yaml, whose datasets are checked.
    """
    from winnow.lint.lint import lint_all

    reports = lint_all(path, full)
    for report in reports:
        for line in report.lines():
            click.echo(line)
    if any(report.failed for report in reports):
        sys.exit(1)


@main.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def trace(first: str, second: str) -> None:
    """Show how two arms' choices differ.

    Compares what each was trained on; A and B are names of arms, or paths of trace.parquet.
    """
    from pathlib import Path

    from winnow.report.compare.trace_diff import compare
    from winnow.selection.trace import FILE

    workspace = Workspace.find()
    a, b = (Path(n) if n.endswith(".parquet") else workspace.arm(n) / FILE for n in (first, second))
    for line in compare(a, b):
        click.echo(line)


@main.command()
def publish() -> None:
    """Log finished stages to MLflow.

    That is, every one that has no run yet; with $WINNOW_EXECUTION, none under that execution.
    """
    import os

    from winnow.tracking import publish as publisher

    workspace, execution = Workspace.find(), os.environ.get("WINNOW_EXECUTION")
    try:
        swept = publisher.sweep(workspace, execution)
        added = publisher.publish(workspace, execution)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"MLflow is not up to date ({reason}); nothing is lost, try again") from None
    click.echo(f"published {len(added)} stages to MLflow")
    if swept:
        click.echo(f"marked {swept} runs as killed")


for command in (show, diff, export):
    main.add_command(command)

if __name__ == "__main__":
    main()
