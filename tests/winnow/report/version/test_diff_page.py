"""The page of a difference between two versions of the eight images of conftest.py."""

import re

import numpy as np
import pytest

from winnow.embedding.cache import Store
from winnow.pool import uids as uid_files
from winnow.report.version import diff_page
from winnow.versions.version import write


@pytest.fixture
def both(world, tmp_path):
    """Versions a (rows 0 to 2) and b (rows 0 and 3); a model embedded for b."""
    lineage = {"parent": None, "model": None, "seed": 0, "steps": []}
    model = {"name": "DINOv2", "sha256": "e" * 64, "store": "some"}
    for name, rows in (("a", [0, 1, 2]), ("b", [0, 3])):
        keep = np.isin(np.arange(8), rows)
        why = np.where(np.arange(8) < 3, "tiny", "blank").astype(object)
        lineage["model"] = model if name == "b" else None
        write(tmp_path / name, name, world.pool, keep, why, lineage)
    return tmp_path / "a", tmp_path / "b"


def test_the_page_shows_overlap_reasons_shift_and_both_sides(world, both, page):
    """Labels 0 1 0 1: of A two in three are cats, of B one in two."""
    parsed = page(diff_page.page(*both, world.workspace))
    for expected in (
        "3 in A 2 in B 1 in both, 25.0 % of all 2 only in A 1 only in B",
        "missing from B because examples tiny 2 2 of 2, drawn at random",
        "missing from A because examples blank 1 1 of 1, drawn at random",
        "cat 66.7 % → 50.0 % dogs & <co> 33.3 % → 50.0 %",
        "8 × 8 100.0 % → 100.0 %",
        "clusters of perceptual hashes",
    ):
        assert expected in parsed.words, expected


def test_equal_versions_are_equal_bytes(world, both):
    assert diff_page.page(*both, world.workspace) == diff_page.page(*both, world.workspace)


def test_cluster_shares_of_each_side_sum_to_one(world, both, page):
    words = page(diff_page.page(*both, world.workspace)).words.split("Clusters")[1]
    pairs = re.findall(r"([\d.]+) % → ([\d.]+) %", words)
    for side in zip(*pairs, strict=True):
        assert sum(map(float, side)) == pytest.approx(100, abs=0.1 * len(side))


@pytest.mark.parametrize(
    ("rows", "kind"), [([0, 1, 2, 3], "embeddings by DINOv2"), ([0, 3], "perceptual hashes")]
)
def test_the_map_is_of_embeddings_where_both_sides_have_them(world, both, page, rows, kind):
    uids = [world.uids[row] for row in rows]
    Store(world.workspace.embeddings / "some" / "images").add(uids, np.eye(4)[rows])
    assert f"clusters of {kind}, each" in page(diff_page.page(*both, world.workspace)).words


def test_a_page_of_another_pool_is_refused(world, both):
    uid_files.save(both[1] / "uids.npy", ["f" * 32])
    with pytest.raises(ValueError, match="is not in this pool of 8 images"):
        diff_page.page(*both, world.workspace)
