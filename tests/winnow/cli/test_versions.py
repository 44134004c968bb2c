"""The commands about dataset versions, over the digits pool."""

import json
import subprocess
import sys

import pytest

from winnow.export import WRITERS
from winnow.versions.version import load


def test_show_says_how_a_version_was_made(winnow, workspace):
    for name in ("part", str(workspace.version("part"))):
        first, _, step, _ = winnow("show", name).output.splitlines()
        assert first.endswith(f"sha256 {load(workspace.version('part')).digest}")
        assert step == "  exposure (darkest 10.0): 9 rows in, dropped dark 3"


def test_show_lists_what_a_filter_dropped(winnow, digits_pool):
    listed = winnow("show", "part", "--dropped-by", "exposure", "--limit", "2").output
    uids = digits_pool.table["uid"].to_pylist()
    assert listed == "".join(f"{uids[row]}\t{row:09d}\tdark\n" for row in (0, 1))


def test_show_writes_a_page_of_what_a_filter_dropped(winnow, workspace):
    assert (
        winnow("show", "part", "--dropped-by", "dark", "--html", "page.html").output
        == "written to page.html\n"
    )
    assert (workspace.root / "page.html").read_text().count("<img") == 3


def test_show_prints_the_last_comparison(winnow, workspace):
    workspace.comparison.mkdir(parents=True)
    (workspace.comparison / "table.md").write_text("| arm |\n")
    assert winnow("show").output.startswith(f"| arm |\n\nreport   {workspace.comparison}/report.html\n")


def test_show_gives_the_comparison_to_machines_and_pages(winnow, workspace):
    workspace.comparison.mkdir(parents=True)
    files = {
        "table.md": "| arm |\n",
        "table.json": '[{"arm": "a"}]',
        "intervals.json": "[]",
        "report.html": "<p>",
    }
    for name, text in files.items():
        (workspace.comparison / name).write_text(text)
    assert json.loads(winnow("show", "--json").output) == {"table": [{"arm": "a"}], "intervals": []}
    assert winnow("show", "--md").output == "| arm |\n"
    assert winnow("show", "--html", "out.html").output == "written to out.html\n"
    assert (workspace.root / "out.html").read_text() == "<p>"
    assert "give one of --json, --md and --html" in winnow("show", "--json", "--md").output
    assert "leave VERSION out" in winnow("show", "part", "--json").output


def test_diff_prints_and_writes_a_page(winnow, workspace):
    result = winnow("diff", "whole", "part", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert "only A: 3; missing from B because: dark 3" in result.output
    assert "<h1>whole and part</h1>" in (workspace.root / "page.html").read_text()


def test_export_writes_every_format_that_it_offers(winnow, workspace):
    for kind in WRITERS:
        assert kind in winnow("export", "-h").output
    result = winnow("export", "part", "out", "--format", "folder")
    count = len(load(workspace.version("part")).uids)
    assert result.output == f"{count} images of part written to out\n"
    assert len([path for path in (workspace.root / "out").rglob("*") if path.is_file()]) == count


def test_export_refuses_an_unknown_format(winnow):
    result = winnow("export", "part", "out", "--format", "zip")
    assert result.exit_code == 2
    assert "'zip' is not one of 'curator', 'datacomp', 'folder'" in result.output


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(workspace):
    """Was printed as `[Errno 32] Broken pipe`."""
    show = f"{sys.executable} -m winnow.cli.main show part --dropped-by dark"
    done = subprocess.run(
        ["bash", "-c", f"{show} | true"], cwd=workspace.root, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
