"""Two versions by hand: what came, what went, and why."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from stages.cli import main
from stages.data import uids as uid_files
from stages.data.version import write
from stages.report import versions, versions_page


def version(folder, kept, reasons):
    folder.mkdir()
    uid_files.save(folder / "uids.npy", sorted(kept))
    table = {"uid": list(reasons), "reason": list(reasons.values())}
    pq.write_table(pa.table(table), folder / "reasons.parquet")
    return folder


def test_what_came_and_went_and_why(world, tmp_path):
    """Labels of the eight pictures, from conftest.py: 0 1 0 1 0 0 1 1; row 5 has the bytes of row 0."""
    u = world.uids
    a = version(tmp_path / "a", {u[0], u[1], u[2]}, {u[0]: None, u[1]: None, u[2]: None, u[3]: "blank"})
    b = version(tmp_path / "b", {u[0], u[3]}, {u[0]: None, u[1]: "tiny", u[2]: "near_duplicate", u[3]: None})
    lines = versions.compare(a, b, world.root / "data/pool")
    assert lines[0].endswith("a: 3 examples")
    assert lines[2] == "both hold 1 of 4 (25.0 %)"
    assert lines[3] in (
        "only A: 2; why B has them not: tiny 1, near_duplicate 1",
        "only A: 2; why B has them not: near_duplicate 1, tiny 1",
    )
    assert lines[4] == "only B: 1; why A has them not: blank 1"
    names = world.pool.classes
    assert lines[5] == f"classes, from A to B: {names[0]} 66.7 to 50.0 %, {names[1]} 33.3 to 50.0 %"


def test_a_version_of_another_pool_tells_no_reason_and_no_classes(world, tmp_path):
    a = version(tmp_path / "a", {world.uids[0]}, {world.uids[0]: None})
    b = version(tmp_path / "b", {"f" * 32}, {"f" * 32: None})
    lines = versions.compare(a, b, world.root / "data/pool")
    assert lines[3:] == ["only A: 1; why B has them not: not in its pool 1", "only B: 1; why A has them not: not in its pool 1"]
    assert versions.compare(a, a, world.root / "data/pool")[3:5] == ["only A: none", "only B: none"]


def test_no_version_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no version there .*; give a folder with uids.npy, or its name"):
        versions.compare(tmp_path, tmp_path, tmp_path)


def both(world, tmp_path):
    """Versions a (rows 0 to 2) and b (rows 0 and 3), as `stages.data.version` writes them."""
    lineage = {"source": {"source": "digits"}, "parent": None, "model": None, "seed": 0, "steps": []}
    found = []
    for name, rows in (("a", [0, 1, 2]), ("b", [0, 3])):
        keep = np.isin(np.arange(8), rows)
        why = np.where(np.arange(8) < 3, "tiny", "blank").astype(object)
        write(tmp_path / name, name, world.pool, keep, why, lineage)
        found.append(tmp_path / name)
    return found


def test_the_page_tells_overlap_reasons_shift_and_shows_both_sides(world, tmp_path, page):
    """Labels 0 1 0 1: of A two in three are cats, of B one in two; all of b's rows have clusters with those of a."""
    parsed = page(versions_page.page(*both(world, tmp_path), world.root / "data/pool"))
    for expected in (
        "3 in A 2 in B 1 in both, 25.0 % of all 2 only in A 1 only in B",
        "why B has them not examples tiny 2 2 of 2, drawn at random",
        "why A has them not examples blank 1 1 of 1, drawn at random",
        "cat 66.7 % → 50.0 % dogs & <co> 33.3 % → 50.0 %",
        "8 × 8 100.0 % → 100.0 %",
        "clusters of perceptual hashes",
    ):
        assert expected in parsed.words, expected
    assert versions_page.page(tmp_path / "a", tmp_path / "b", world.root / "data/pool") == versions_page.page(
        tmp_path / "a", tmp_path / "b", world.root / "data/pool"
    )


def test_cluster_shares_of_each_side_sum_to_one(world, tmp_path, page):
    words = page(versions_page.page(*both(world, tmp_path), world.root / "data/pool")).words.split("Clusters")[1]
    pairs = re.findall(r"([\d.]+) % → ([\d.]+) %", words)
    for side in zip(*pairs, strict=True):
        assert sum(map(float, side)) == pytest.approx(100, abs=0.1 * len(side))


def test_a_page_of_another_pool_is_refused(world, tmp_path):
    a, b = both(world, tmp_path)
    uid_files.save(b / "uids.npy", ["f" * 32])
    with pytest.raises(ValueError, match="is not in this pool of 8 images"):
        versions_page.page(a, b, world.root / "data/pool")


def test_winnow_diff_writes_a_page(world, tmp_path):
    a, b = both(world, tmp_path)
    found = CliRunner().invoke(main, ["diff", str(a), str(b)])
    assert found.exit_code == 0, found.output
    assert "only A: 2; why B has them not: tiny 2" in found.output
