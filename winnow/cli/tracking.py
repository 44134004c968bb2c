"""The commands about MLflow."""

import sys

import click

from winnow.pipeline.workspace import Workspace


@click.command()
def publish() -> None:
    """Log finished stages and the comparison to MLflow.

    That is, every stage and every arm whose results have no run there yet.

    \b
    Examples:
      winnow publish
      MLFLOW_TRACKING_URI=http://host:5000 winnow publish
    """
    from winnow.tracking import publish as publisher

    workspace = Workspace.find()
    try:
        swept = publisher.sweep(workspace)
        stages, arms = publisher.publish(workspace)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"MLflow is not up to date ({reason}); nothing is lost, try again") from None
    click.echo(f"published {len(stages)} stages and {len(arms)} arms to MLflow")
    if swept:
        click.echo(f"marked {swept} runs as killed")


@click.command()
def ui() -> None:
    """Print the address of the comparison in MLflow.

    It opens the table of arms, sorted by what they score; its chart view shows score against cost. `make ui`
    starts the server.

    \b
    Examples:
      winnow ui
      MLFLOW_TRACKING_URI=http://host:5000 winnow ui
    """
    from winnow.tracking import view
    from winnow.tracking.runs import STAGES, Runs

    workspace = Workspace.find()
    server = view.server(workspace)
    try:
        runs = Runs(workspace)
        arms, stages = (view.link(runs, server, part) for part in ("", STAGES))
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"MLflow cannot be read ({reason})") from None
    if arms is None:
        click.echo(f"{server}/#/experiments?workflowType=machine_learning")
        click.echo("no comparison there yet; make one: dvc repro; or log it: winnow publish", err=True)
        return
    click.echo(arms)
    if sys.stdout.isatty():
        click.echo(f"single stages: {stages}\nno page there? start the servers with: make ui")
