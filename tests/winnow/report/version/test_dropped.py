"""What a filter dropped, counted by hand over the eight images of conftest.py."""

import numpy as np
import pytest

from winnow.report.version import dropped
from winnow.versions import version

REASON = np.array([None, "dark", "bright", "dark", "val", None, "blank", None], object)
EXPOSURE = {"name": "exposure", "parameters": {"darkest": 10.0}, "code": "c" * 64}
STEPS = [{**EXPOSURE, "rows_in": 8, "dropped": {"dark": 2, "bright": 1}}]


@pytest.fixture
def folder(world, tmp_path):
    lineage = {"parent": None, "model": None, "seed": 0, "steps": STEPS}
    version.write(tmp_path / "v", "v", world.pool, np.equal(REASON, None), REASON, lineage)
    return tmp_path / "v"


def test_by_a_filter_by_a_reason_and_by_neither(folder, world):
    what = version.load(folder)
    assert dropped.dropped(what, "exposure")["key"].to_pylist() == ["000000001", "000000002", "000000003"]
    assert dropped.dropped(what, "dark").to_pylist() == [
        {"uid": world.uids[row], "key": f"{row:09d}", "reason": "dark"} for row in (1, 3)
    ]
    assert dropped.dropped(what, "val")["uid"].to_pylist() == [world.uids[4]]
    with pytest.raises(
        ValueError, match="neither a step nor a reason of v; it has: dark 2, blank 1, bright 1, val 1"
    ):
        dropped.dropped(what, "blur")


def test_the_page_shows_each_reason_with_its_pictures(folder, world, page):
    parsed = page(dropped.page(version.load(folder), "exposure", world.pool))
    assert parsed.images == 3
    assert "2 of 2: drop images that are nearly black or nearly white" in parsed.words
    assert page(dropped.page(version.load(folder), "exposure", world.pool, limit=1)).images == 1


def test_the_summary_lists_each_step_and_its_drops(folder):
    first, source, step, total = dropped.summary(version.load(folder))
    assert first == f"v: 2 images, sha256 {version.load(folder).digest}"
    assert source.startswith("datasets digits; parent none; seed 0; Winnow ")
    assert step == "  exposure (darkest 10.0): 8 rows in, dropped dark 2, bright 1"
    assert total == "excluded in total: dark 2, blank 1, bright 1, val 1"


def test_a_version_without_lineage_says_so(folder):
    (folder / "lineage.json").unlink()
    assert dropped.summary(version.load(folder))[-1] == "no lineage.json: made elsewhere"
