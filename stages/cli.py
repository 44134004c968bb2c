"""The `winnow` command: thin, and quick to start, because each command imports what it needs."""

import sys
from pathlib import Path

import click

FORMATS = ("webdataset", "folder", "curator", "hf", "datacomp")  # of stages.export, which a help text need not import


class OneLine(click.Group):
    """A mistake of the user is one line and exit code 2 (params) or 1 (anything else), never a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        from stages.params import ParamsError

        try:
            return super().invoke(ctx)
        except ParamsError as error:
            click.echo(" ".join(str(error).split()), err=True)
            sys.exit(2)
        except (ValueError, OSError) as error:
            click.echo(" ".join(str(error).split()), err=True)
            sys.exit(1)


def _version(name: str) -> Path:
    """The folder of a dataset version, given as such or as a name below data/versions."""
    from stages.params import ROOT

    return Path(name) if Path(name).is_dir() else ROOT / "data/versions" / name


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Curate image data with small models to pretrain big ones, and account for every FLOP, kWh and gram of CO2e."""


@main.command()
@click.argument("overrides", nargs=-1)
def compose(overrides: tuple[str, ...]) -> None:
    """Write params.yaml from conf/, with OVERRIDES such as scale=debug or pretrain.budget=2e13."""
    from stages import compose as composer

    composer.write(list(overrides))
    click.echo("params.yaml written; now: dvc repro")


@main.command()
@click.argument("version", required=False)
@click.option("--dropped-by", metavar="FILTER", help="List the rows that a filter dropped, or that have a reason: uid, key, reason.")
@click.option("--limit", type=click.IntRange(1), help="List no more rows, or show no more pictures, than this.")
@click.option("--html", type=click.Path(dir_okay=False), metavar="OUT", help="Write a page with their pictures.")
def show(version: str | None, dropped_by: str | None, limit: int | None, html: str | None) -> None:
    """Print the last comparison; or how a dataset VERSION was made; or what one of its filters dropped."""
    if version is None:
        if dropped_by or limit or html:
            raise ValueError("winnow show: --dropped-by, --limit and --html want a VERSION: winnow show VERSION --dropped-by FILTER")
        _show_comparison()
    elif dropped_by is None:
        if limit or html:
            raise ValueError("winnow show VERSION: --limit and --html want --dropped-by FILTER")
        _show_version(version)
    else:
        _show_dropped(version, dropped_by, limit, html)


def _show_comparison() -> None:
    import os

    from stages.params import ROOT

    table = ROOT / "results/compare/table.md"
    if not table.exists():
        raise ValueError("results/compare/table.md: not there yet; make it with: dvc repro")
    click.echo(table.read_text(encoding="utf-8"))
    click.echo(f"report   {ROOT / 'results/compare/report.html'}")
    click.echo(f"MLflow   {os.environ.get('MLFLOW_TRACKING_URI') or ROOT / 'mlflow.db'}   (look at it with: make ui)")


def _show_version(name: str) -> None:
    from stages.data import version
    from stages.report import dropped

    for line in dropped.summary(version.load(_version(name))):
        click.echo(line)


def _show_dropped(name: str, by: str, limit: int | None, html: str | None) -> None:
    from stages.data import version
    from stages.data.pool import Pool
    from stages.params import ROOT
    from stages.report import dropped

    what = version.load(_version(name))
    if html:
        page = dropped.page(what, by, Pool.open(ROOT / "data/pool"), limit or dropped.PICTURES)
        _write_page(html, page)
        return
    for batch in dropped.dropped(what, by)[:limit].to_batches(max_chunksize=10_000):
        click.echo("\n".join("\t".join(row.values()) for row in batch.to_pylist()))


def _write_page(out: str, page: str) -> None:
    Path(out).write_text(page, encoding="utf-8")
    click.echo(f"written to {out}")


@main.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def trace(first: str, second: str) -> None:
    """Tell how two arms' policies differ, by what each trained on; A and B are names of arms or paths of trace.parquet."""
    from stages.params import ROOT
    from stages.report import difference

    paths = [
        Path(name) if name.endswith(".parquet") else ROOT / "results/pretrain" / name / "trace.parquet" for name in (first, second)
    ]
    for line in difference.compare(*paths):
        click.echo(line)


@main.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--html", type=click.Path(dir_okay=False), metavar="OUT", help="Write a page with pictures and clusters too.")
def diff(first: str, second: str, html: str | None) -> None:
    """Tell how two dataset versions differ, and why; A and B are names below data/versions, or folders with uids.npy."""
    from stages.params import ROOT
    from stages.report import versions

    for line in versions.compare(_version(first), _version(second), ROOT / "data/pool"):
        click.echo(line)
    if html:
        from stages.report import versions_page

        _write_page(html, versions_page.page(_version(first), _version(second), ROOT / "data/pool"))


@main.command()
@click.argument("version")
@click.argument("out", type=click.Path())
@click.option("--format", "kind", type=click.Choice(FORMATS), default="webdataset", show_default=True)
def export(version: str, out: str, kind: str) -> None:
    """Write a dataset VERSION as files of its own into the new folder OUT; VERSION is a name below data/versions, or a folder."""
    from stages import export as exporter
    from stages.data.pool import Pool
    from stages.params import ROOT

    folder = _version(version)
    count = exporter.export(folder, Pool.open(ROOT / "data/pool"), Path(out), kind)
    click.echo(f"{count} images of {folder.name} written to {out}")


@main.command()
@click.argument("path")
@click.option("--full", is_flag=True, help="Decode every image, and compare its bytes with its uid.")
def lint(path: str, full: bool) -> None:
    """Tell what is wrong with a pool, a version or a source before anything runs; PATH may be a URL of shards, or params.yaml."""
    from stages import lint as linter

    report = linter.lint(path, full)
    for line in report.lines():
        click.echo(line)
    if report.failed:
        sys.exit(1)


@main.command()
def publish() -> None:
    """Log to MLflow every finished stage that has no run yet (with $WINNOW_EXECUTION: none under that execution)."""
    import os

    from stages.ledger import publish as publisher

    execution = os.environ.get("WINNOW_EXECUTION")
    try:
        swept = publisher.sweep(execution or "")
        added = publisher.publish(execution)
    except Exception as error:
        raise ValueError(f"MLflow could not be reached ({' '.join(str(error).split())[:200]}); nothing is lost, try again") from None
    click.echo(f"published {len(added)} stages to MLflow")
    if swept:
        click.echo(f"marked {swept} runs as killed")


if __name__ == "__main__":
    main()
