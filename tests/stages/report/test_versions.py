"""Two versions by hand: what came, what went, and why."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.data import uids as uid_files
from stages.report import versions


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
