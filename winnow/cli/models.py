"""The commands that take results away: an encoder, and everything that a table stands on."""

from pathlib import Path

import click

from winnow.cli.help import complete_arms
from winnow.pipeline.workspace import Workspace


@click.command("export-model")
@click.argument("arm", shell_complete=complete_arms)
@click.argument("out", type=click.Path())
@click.option(
    "--license", "licence", metavar="NAME", help="Of the weights, by its name on the Hub: apache-2.0."
)
@click.option("--onnx", is_flag=True, help="Write model.onnx too, checked by onnxruntime.")
def export_model(arm: str, out: str, licence: str | None, onnx: bool) -> None:
    """Write an ARM's encoder as a folder that timm loads, with a model card.

    A name without its seed is the first of its seeds. OUT is a folder that is not there yet. The card has the
    results with intervals and protocols, the dataset versions by digest, and what the training cost.

    \b
    Examples:
      winnow export-model supervised-easy /models/easy --license apache-2.0
      python -c 'import timm; timm.create_model("local-dir:/models/easy", pretrained=True)'
    """
    from winnow.export_model import export_model as write

    write(Workspace.find(), arm, Path(out), licence, onnx)
    click.echo(f"encoder written to {out}")


@click.command("export-results")
@click.argument("out", type=click.Path())
def export_results(out: str) -> None:
    """Write what the last comparison stands on as one archive.

    Params, lock, table, intervals, report, metrics, costs, traces, outcomes and dataset versions, but neither
    images nor weights. OUT ends with .tar.gz and is not there yet.

    \b
    Examples:
      winnow export-results results.tar.gz
    """
    from winnow.export_results import export_results as write

    count = write(Workspace.find(), Path(out))
    click.echo(f"{count} files written to {out}")
