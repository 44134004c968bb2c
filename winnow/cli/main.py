"""The `winnow` command: thin, and quick to start, because each command imports what it needs."""

import sys

import click

from winnow.cli.costs import cost, plan
from winnow.cli.help import Commands, complete_arms, complete_overrides
from winnow.cli.models import export_model, export_results
from winnow.cli.project import completion, init
from winnow.cli.tracking import publish, ui
from winnow.cli.versions import diff, export, show
from winnow.pipeline.workspace import Workspace


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Curate image data with small models to pretrain big ones, and account for every FLOP, kWh and gram of
    CO2e.

    \b
    The first hour:
      winnow lint /your/images           what is wrong with them
      winnow init ~/mine && cd ~/mine    a project of your own
      winnow compose dataset=folder dataset.path=/your/images scale=debug
      winnow lint params.yaml            what this experiment will miss
      winnow plan                        what it will cost
      dvc repro && winnow show
    """


@main.command()
@click.argument("overrides", nargs=-1, shell_complete=complete_overrides)
@click.option("--dvc", is_flag=True, help="Write nothing; print the same as arguments of `dvc exp run`.")
def compose(overrides: tuple[str, ...], dvc: bool) -> None:
    """Write params.yaml from conf/.

    OVERRIDES choose a file of conf/ (GROUP=NAME) or set any key of params.yaml (KEY=VALUE).

    \b
    Examples:
      winnow compose                                     the default experiment
      winnow compose experiment=methods scale=debug      another one, on a sample
      winnow compose dataset=folder dataset.path=/data/mine budget=2e13
      winnow compose arms=uniform,easy seeds=3           some of its arms, each with seeds 0, 1, 2
      winnow compose arms=rho                            an arm for a policy of conf/policy
      winnow compose backbone=vit_tiny_patch16_224       the learner of every arm
      winnow compose curate.filters.aspect={} curate.filters.tiny=false
      winnow compose arms.supervised-easy.seeds=5 pretrain.evaluations=2
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
    from winnow.config.load import parse
    from winnow.config.starts import missing_controls

    written = write(list(overrides), workspace.conf, workspace.params)
    for line in missing_controls(parse(written)):
        click.echo(f"hint: {line}")
    arms = written["arms"]
    counted = f"{len(arms)} arm{'s' if len(arms) > 1 else ''}: {', '.join(arms)}" if arms else "no arms"
    click.echo(f"params.yaml written, {counted}; now: dvc repro")


@main.command()
@click.argument("path")
@click.option("--full", is_flag=True, help="Decode every image, and compare its bytes with its uid.")
def lint(path: str, full: bool) -> None:
    """Check a pool, a version, a source or an experiment.

    PATH is a folder or file, a URL of shards, or a params.yaml, whose datasets are checked.

    \b
    Examples:
      winnow lint /data/mine                 a source: what ingest would drop
      winnow lint params.yaml                its datasets, and what the chosen experiment will miss
      winnow lint data/datasets/pool/mine --full   every byte of an ingested pool
      winnow lint data/versions/pool
      winnow lint s3://bucket/shards/
    """
    from winnow.lint.lint import lint_all

    reports = lint_all(path, full)
    for report in reports:
        for line in report.lines():
            click.echo(line)
    if any(report.failed for report in reports):
        sys.exit(1)


@main.command()
@click.argument("first", metavar="A", shell_complete=complete_arms)
@click.argument("second", metavar="B", shell_complete=complete_arms)
def trace(first: str, second: str) -> None:
    """Show how two arms' choices differ.

    Compares what each was trained on; A and B are names of arms, or paths of trace.parquet. A name without
    its seed is the first of its seeds.

    \b
    Examples:
      winnow trace supervised-uniform supervised-easy
      winnow trace supervised-easy /elsewhere/results/pretrain/supervised-easy/trace.parquet
    """
    from pathlib import Path

    from winnow.config.shorthands import first_seed
    from winnow.report.compare.trace_diff import compare
    from winnow.selection.trace import FILE

    workspace = Workspace.find()
    arms = [path.name for path in workspace.arm("").glob("*")]
    found = [n if n.endswith(".parquet") else first_seed(n, arms) for n in (first, second)]
    a, b = (Path(n) if n.endswith(".parquet") else workspace.arm(n) / FILE for n in found)
    for line in compare(a, b):
        click.echo(line)


for command in (init, completion, plan, cost, show, publish, ui, diff, export, export_model, export_results):
    main.add_command(command)

if __name__ == "__main__":
    main()
