"""The datasheet of a version, over the eight images of conftest.py."""

import numpy as np
import pytest
from PIL import Image

from stages.data import version
from stages.report.card import explain, settings, write_card
from stages.report.tiles import LARGEST, SIDE, fit, sample

KEEP = np.array([True, True, True, True, False, False, False, False])
WHY = np.array([None, None, None, None, "val", "exact_duplicate", "near_held_out", "reference"], object)
STEPS = [
    {"name": "blank", "parameters": {"min_std": 4.0}, "code": "c" * 64, "rows_in": 8, "dropped": {}, "flops": 0},
    {"name": "exact_duplicate", "parameters": {}, "code": "d" * 64, "rows_in": 8, "dropped": {"exact_duplicate": 1}, "flops": 0},
]
LINEAGE = {"source": {"source": "digits"}, "parent": None, "model": None, "seed": 0, "steps": STEPS}
# Two heaps of vectors, of four rows each.
VECTORS = np.array([[0, 0]] * 4 + [[9, 9]] * 4, np.float32) + np.arange(8)[:, None] / 100


@pytest.fixture
def card(world, tmp_path):
    """A function: the text of a card."""

    def write(name: str = "pool", keep=KEEP, why=WHY, vectors=None, **lineage) -> str:
        version.write(tmp_path / name, name, world.pool, keep, why, {**LINEAGE, **lineage})
        write_card(tmp_path / name, world.pool, vectors)
        return (tmp_path / name / "card.html").read_text()

    return write


def test_counts_add_up(card, page):
    words = page(card()).words
    for expected in (
        "8 rows in the pool 4 kept, 50.0 % of them 2 assigned elsewhere 2 dropped by curation 1 never ingested",
        "kept: pool 4 50.0 %",
        "elsewhere: reference 1 12.5 %",
        "elsewhere: val 1 12.5 %",
        "dropped: exact duplicate 1 12.5 %",
        "dropped: near held out 1 12.5 %",
        "not ingested: truncated 1 –",
    ):
        assert expected in words


def test_classes_and_sizes_before_and_after(card, page):
    """Labels of conftest.py: 0 1 0 1 | 0 0 1 1, so two of four of each class are kept; all pictures are 8 x 8."""
    words = page(card()).words
    assert "cat 2 of 4 · 50.0 % → 50.0 %" in words
    assert "dogs & <co> 2 of 4 · 50.0 % → 50.0 %" in words
    assert "8 × 8 4 of 8 · 100.0 % → 100.0 %" in words
    keep = np.array([True, False] * 4)
    words = page(card("others", keep, np.full(8, "tiny", object))).words
    assert "cat 3 of 4 · 50.0 % → 75.0 %" in words  # rows 0, 2 and 4 of the class


def test_shows_kept_and_dropped(card, page):
    parsed = page(card())
    assert parsed.images == 4 + 1 + 1 + 2  # and two clusters, of perceptual hashes
    assert "4 of 4, drawn at random" in parsed.words
    assert "1 of 1: identical or near to an example of a split" in parsed.words


def test_shows_every_step_with_its_parameters(card, page):
    words = page(card()).words
    assert f"blank min_std 4.0 8 0 {'c' * 12}" in words
    assert f"exact duplicate – 8 1 {'d' * 12}" in words


def test_the_cluster_map_shows_each_heap_and_what_is_kept_of_it(card, page):
    parsed = page(card(vectors=(np.arange(8), VECTORS)))
    assert "Embeddings in 2 clusters" in parsed.words
    assert "50.0 % 100 % kept" in parsed.words
    assert "50.0 % 0 % kept" in parsed.words
    assert parsed.images == 6 + 2


def test_equal_bytes_and_no_time(card):
    assert card(vectors=(np.arange(8), VECTORS)) == card(vectors=(np.arange(8), VECTORS))


def test_does_not_need_the_record_of_the_pollution(card, world):
    before = card()
    (world.root / "data/pool/dirt.parquet").unlink()
    assert card() == before
    assert "wrong" not in before.replace("labels may be wrong", "")


def test_tells_how_to_cite_and_make_it_again(card, page, tmp_path):
    words = page(card()).words
    assert version.load(tmp_path / "pool").digest in words
    assert "dvc repro curate " in words
    assert "winnow show pool --dropped-by exact_duplicate" in words


def test_a_refined_version_names_parent_model_and_cost(card, page):
    model = {"name": "resnet10t", "sha256": "e" * 64}
    words = page(card("small", parent={"name": "pool", "digest": "f" * 64}, model=model, flops={"embeddings": 2_500_000})).words
    assert "parent pool ·" in words
    assert "2.50 MFLOPs for models, by embeddings of resnet10t ( eeeeeeeeeeee )" in words
    assert "dvc repro refine@small " in words
    assert "data/versions/small/cost.json" in words


def test_explains_a_filter_by_its_own_file():
    assert explain("exact_duplicate")
    assert explain("a_reason_without_a_file") == ""
    assert explain("../secret") == ""
    assert explain("bright", [{"name": "exposure", "dropped": {"bright": 2}}]) == explain("exposure") != ""


def test_long_parameters_are_cut():
    (text,) = settings({"words": ["x" * 300]})
    assert len(text) == 101


def test_sample_depends_on_seed_and_keys_only():
    rows, keys = np.arange(20), [f"k{i}" for i in range(20)]
    chosen = sample(rows, keys, 5, 0)
    assert len(set(chosen)) == 5
    assert sample(rows[::-1], keys[::-1], 5, 0) == chosen
    assert sample(rows, keys, 5, 1) != chosen


@pytest.mark.parametrize(
    ("size", "expected"),
    [((28, 28), (56, 56)), ((8, 8), (56, 56)), ((30, 20), (60, 40)), ((64, 64), (64, 64)), ((400, 200), (LARGEST, LARGEST // 2))],
)
def test_pictures_are_brought_to_a_readable_size(size, expected):
    assert fit(Image.new("RGB", size)).size == expected
    assert SIDE == 56
