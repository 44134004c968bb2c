"""The commands that start a project and complete what is typed."""

from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--link", "relink", is_flag=True, help="Only link an existing project to this clone's code.")
def init(folder: Path, relink: bool) -> None:
    """Start a project of your own in FOLDER.

    It gets its own conf/, params.yaml, data/ and results/; the code stays in this clone, to which the project
    links.

    \b
    Examples:
      winnow init ~/mine
      cd ~/mine && winnow compose dataset=folder dataset.path=/data/mine && .venv/bin/dvc repro
      winnow init --link ~/mine          after moving the project or the clone
    """
    from winnow.pipeline import project

    if relink:
        project.link(folder)
        click.echo(f"{folder} is linked to {project.CODE}")
        return
    project.start(folder)
    click.echo(f"{folder} is a project now; next:")
    click.echo(f"  cd {folder}")
    click.echo("  source .venv/bin/activate")
    click.echo("  winnow compose dataset=folder dataset.path=/your/images scale=debug && dvc repro")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, files of conf/, arms and versions.

    \b
    Examples:
      eval "$(winnow completion bash)"                   for this shell; put it into ~/.bashrc to keep it
      winnow completion fish > ~/.config/fish/completions/winnow.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "winnow", "_WINNOW_COMPLETE").source())
