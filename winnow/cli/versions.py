"""The commands about dataset versions, each given as a name below data/versions or as a folder."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from winnow.cli.help import complete_versions
from winnow.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from winnow.pool.pool import Pool


class Format(click.ParamType[str]):
    """One of `winnow.export.WRITERS`, which are looked up at the first use: their imports take a while."""

    name = "format"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(self._choice().convert(value, param, ctx))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self._choice().get_metavar(param, ctx)

    def _choice(self) -> click.Choice[str]:
        from winnow.export import WRITERS

        return click.Choice(sorted(WRITERS))


@click.command()
@click.argument("version", required=False, shell_complete=complete_versions)
@click.option(
    "--dropped-by", metavar="FILTER", help="List what a filter, or a reason, excluded: uid, key, reason."
)
@click.option("--limit", type=click.IntRange(1), help="List at most so many rows, or show so many pictures.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False),
    metavar="OUT",
    help="Write a page with their pictures, or the report.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison's numbers and intervals as JSON.")
@click.option("--md", is_flag=True, help="Print the comparison as Markdown alone.")
def show(
    version: str | None, dropped_by: str | None, limit: int | None, html: str | None, as_json: bool, md: bool
) -> None:
    """Print the last comparison, or how a VERSION was made.

    With --dropped-by, what one of the version's filters dropped.

    \b
    Examples:
      winnow show
      winnow show --json | jq .intervals.differences
      winnow show --html report.html
      winnow show pool
      winnow show pool --dropped-by blank --html blank.html
    """
    workspace = Workspace.find()
    if version is None and (dropped_by or limit):
        usage = "winnow show VERSION --dropped-by FILTER"
        raise ValueError(f"winnow show: --dropped-by and --limit require a VERSION: {usage}")
    if version is not None and dropped_by is None and (limit or html):
        raise ValueError("winnow show VERSION: --limit and --html require --dropped-by FILTER")
    if version is not None and (as_json or md):
        raise ValueError("winnow show VERSION: --json and --md are for the comparison; leave VERSION out")
    if sum(map(bool, (html, as_json, md))) > 1:
        raise ValueError("winnow show: give one of --json, --md and --html")
    if version is None:
        _show_comparison(workspace, html, as_json, md)
    elif dropped_by is None:
        _show_version(workspace, version)
    else:
        _show_dropped(workspace, version, dropped_by, limit, html)


def _show_comparison(workspace: Workspace, html: str | None, as_json: bool, md: bool) -> None:
    folder = workspace.comparison
    table = folder / "table.md"
    if not table.exists():
        raise ValueError(f"{table}: no comparison there yet; make it with: dvc repro")
    if as_json:
        found = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("table", "intervals")}
        click.echo(json.dumps(found, indent=1))
        return
    if html:
        shutil.copyfile(folder / "report.html", html)
        click.echo(f"written to {html}")
        return
    if md:
        click.echo(table.read_text(encoding="utf-8"), nl=False)
        return
    mlflow = os.environ.get("MLFLOW_TRACKING_URI") or workspace.root / "mlflow.db"
    click.echo(table.read_text(encoding="utf-8"))
    click.echo(f"report   {workspace.comparison / 'report.html'}")
    click.echo(f"MLflow   {mlflow}   (open it with: make ui)")


def _show_version(workspace: Workspace, name: str) -> None:
    from winnow.report.version.dropped import summary
    from winnow.versions.version import load

    for line in summary(load(_folder(workspace, name))):
        click.echo(line)


def _show_dropped(workspace: Workspace, name: str, by: str, limit: int | None, html: str | None) -> None:
    from winnow.report.version import dropped
    from winnow.versions.version import load

    version = load(_folder(workspace, name))
    if html:
        _write_page(html, dropped.page(version, by, _pool(workspace), limit or dropped.PICTURES))
        return
    for batch in dropped.dropped(version, by)[:limit].to_batches(max_chunksize=10_000):
        click.echo("\n".join("\t".join(row.values()) for row in batch.to_pylist()))


@click.command()
@click.argument("first", metavar="A", shell_complete=complete_versions)
@click.argument("second", metavar="B", shell_complete=complete_versions)
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="OUT", help="Also write a page with pictures."
)
def diff(first: str, second: str, html: str | None) -> None:
    """Show how two dataset versions differ, and why.

    A and B are names below data/versions, or folders with uids.npy.

    \b
    Examples:
      winnow diff pool deduplicated --html diff.html
      winnow diff pool /elsewhere/data/versions/pool
    """
    from winnow.report.version.diff import compare

    workspace = Workspace.find()
    a, b = _folder(workspace, first), _folder(workspace, second)
    for line in compare(a, b, workspace):
        click.echo(line)
    if html:
        from winnow.report.version.diff_page import page

        _write_page(html, page(a, b, workspace))


@click.command()
@click.argument("version", shell_complete=complete_versions)
@click.argument("out", type=click.Path())
@click.option("--format", "kind", type=Format(), default="webdataset", show_default=True)
def export(version: str, out: str, kind: str) -> None:
    """Write a VERSION as files of its own.

    VERSION is a name below data/versions, or a folder; OUT is a folder that is not there yet.

    \b
    Examples:
      winnow export pool /data/curated
      winnow export pool /data/curated --format hf
    """
    from winnow.export import export as write

    workspace = Workspace.find()
    folder = _folder(workspace, version)
    count = write(folder, _pool(workspace), Path(out), kind)
    click.echo(f"{count} images of {folder.name} written to {out}")


def _pool(workspace: Workspace) -> "Pool":
    """The pool of the workspace, by its params.yaml."""
    from winnow.config.load import load
    from winnow.pool.pool import open_pool

    return open_pool(workspace, load(workspace.params).datasets)


def _folder(workspace: Workspace, name: str) -> Path:
    """The folder of a dataset version, given as such or as a name below data/versions."""
    return Path(name) if Path(name).is_dir() else workspace.version(name)


def _write_page(out: str, page: str) -> None:
    Path(out).write_text(page, encoding="utf-8")
    click.echo(f"written to {out}")
