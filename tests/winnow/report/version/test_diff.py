"""Two versions counted by hand: what differs, and why."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.pool import uids as uid_files
from winnow.report.version import diff


def version(folder, kept, reasons):
    folder.mkdir()
    uid_files.save(folder / "uids.npy", sorted(kept))
    table = {"uid": list(reasons), "reason": list(reasons.values())}
    pq.write_table(pa.table(table), folder / "reasons.parquet")
    return folder


def test_what_differs_and_why(world, tmp_path):
    """Labels of the eight pictures, from conftest.py: 0 1 0 1 0 0 1 1; row 5 has the bytes of row 0."""
    u = world.uids
    a = version(tmp_path / "a", {u[0], u[1], u[2]}, {u[0]: None, u[1]: None, u[2]: None, u[3]: "blank"})
    b = version(tmp_path / "b", {u[0], u[3]}, {u[0]: None, u[1]: "tiny", u[2]: "near_duplicate", u[3]: None})
    assert diff.compare(a, b, world.workspace) == [
        f"A {a}: 3 examples",
        f"B {b}: 2 examples",
        "both hold 1 of 4 (25.0 %)",
        "only A: 2; missing from B because: near_duplicate 1, tiny 1",
        "only B: 1; missing from A because: blank 1",
        "classes, from A to B: cat 66.7 to 50.0 %, dogs & <co> 33.3 to 50.0 %",
    ]


def test_a_version_of_another_pool_has_no_reasons_and_no_classes(world, tmp_path):
    a = version(tmp_path / "a", {world.uids[0]}, {world.uids[0]: None})
    b = version(tmp_path / "b", {"f" * 32}, {"f" * 32: None})
    assert diff.compare(a, b, world.workspace)[3:] == [
        "only A: 1; missing from B because: not in its pool 1",
        "only B: 1; missing from A because: not in its pool 1",
    ]
    assert diff.compare(a, a, world.workspace)[3:5] == ["only A: none", "only B: none"]


def test_no_version_is_named(world, tmp_path):
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}: no version there")):
        diff.compare(tmp_path, tmp_path, world.workspace)
