"""What a filter dropped, by hand over the eight images of conftest.py; and `winnow show` around it."""

import numpy as np
import pytest
from click.testing import CliRunner

from stages.cli import main
from stages.data import version
from stages.report import dropped

REASON = np.array([None, "dark", "bright", "dark", "val", None, "blank", None], object)
STEPS = [{"name": "exposure", "parameters": {"darkest": 10.0}, "code": "c" * 64, "rows_in": 8, "dropped": {"dark": 2, "bright": 1}}]


@pytest.fixture
def folder(world, tmp_path):
    lineage = {"source": {"source": "digits"}, "parent": None, "model": None, "seed": 0, "steps": STEPS}
    version.write(tmp_path / "v", "v", world.pool, np.equal(REASON, None), REASON, lineage)
    return tmp_path / "v"


def test_by_a_filter_by_a_reason_and_by_neither(folder, world):
    what = version.load(folder)
    assert dropped.dropped(what, "exposure")["key"].to_pylist() == ["000000001", "000000002", "000000003"]
    assert dropped.dropped(what, "dark").to_pylist() == [
        {"uid": world.uids[row], "key": f"{row:09d}", "reason": "dark"} for row in (1, 3)
    ]
    assert dropped.dropped(what, "val")["uid"].to_pylist() == [world.uids[4]]
    with pytest.raises(ValueError, match="neither a step nor a reason of v; it has: dark 2, blank 1, bright 1, val 1"):
        dropped.dropped(what, "blur")


def test_the_page_shows_each_reason_with_its_pictures(folder, world, page):
    parsed = page(dropped.page(version.load(folder), "exposure", world.pool))
    assert parsed.images == 3
    assert "2 of 2: drop images that are nearly black or nearly white" in parsed.words
    assert page(dropped.page(version.load(folder), "exposure", world.pool, limit=1)).images == 1


def test_winnow_show(folder, world, tmp_path):
    run = CliRunner().invoke
    listed = run(main, ["show", str(folder), "--dropped-by", "dark", "--limit", "1"])
    assert listed.output == f"{world.uids[1]}\t000000001\tdark\n"
    told = run(main, ["show", str(folder)]).output
    assert f"sha256 {version.load(folder).digest}" in told
    assert "exposure (darkest 10.0): of 8 dropped dark 2, bright 1" in told
    wrong = run(main, ["show", "--dropped-by", "dark"])
    assert wrong.exit_code == 1
    assert "want a VERSION" in wrong.output
    assert run(main, ["show", str(tmp_path / "nothing")]).exit_code == 1


def test_a_version_without_lineage_says_so(folder):
    (folder / "lineage.json").unlink()
    assert dropped.summary(version.load(folder))[-1] == "no lineage.json: it was not made here"
