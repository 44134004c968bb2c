"""The datasheet of a version, over the eight images of conftest.py."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from winnow.embedding.cache import Store
from winnow.report.version.card import write_card
from winnow.versions import version

KEEP = np.array([True, True, True, True, False, False, False, False])
WHY = np.array([None, None, None, None, "val", "exact_duplicate", "near_held_out", "reference"], object)
STEP = {"code": "c" * 64, "rows_in": 8, "dropped": {}, "flops": 0}
STEPS = [
    {**STEP, "name": "blank", "parameters": {"min_std": 4.0}},
    {**STEP, "name": "exact_duplicate", "parameters": {}, "dropped": {"exact_duplicate": 1}},
]
LINEAGE = {"parent": None, "model": None, "seed": 0, "steps": STEPS}
MODEL = {"name": "DINOv2", "sha256": "e" * 64, "store": "some"}
REFINED = {"parent": {"name": "pool", "digest": "f" * 64}, "model": MODEL, "flops": {"embeddings": 2_500_000}}


@pytest.fixture
def card(world, tmp_path):
    """A function: the text of a card."""

    def write(name: str = "pool", keep=KEEP, why=WHY, **lineage) -> str:
        version.write(world.workspace.version(name), name, world.pool, keep, why, {**LINEAGE, **lineage})
        distinct = len({uid for uid, kept in zip(world.uids, keep, strict=True) if kept})
        assert write_card(tmp_path / "card.html", world.workspace, world.pool, name) == distinct
        return (tmp_path / "card.html").read_text()

    return write


def embed(world, rows):
    """Embeddings as a model would leave them: rows 0 to 3 in one heap, the others in another."""
    vectors = np.array([[1.0, 0.01 * row] if row < 4 else [0.01 * row, 1.0] for row in rows])
    Store(world.workspace.embeddings / "some" / "images").add([world.uids[row] for row in rows], vectors)


def test_counts_add_up(card, page):
    words = page(card()).words
    for expected in (
        "8 rows in the pool 4 kept, 50.0 % of them 2 in another version or a split 2 dropped by curation",
        "1 never ingested",
        "kept: pool 4 50.0 %",
        "elsewhere: reference 1 12.5 %",
        "elsewhere: val 1 12.5 %",
        "dropped: exact duplicate 1 12.5 %",
        "dropped: near held out 1 12.5 %",
        "not ingested: truncated 1 –",
    ):
        assert expected in words


def test_classes_and_sizes_before_and_after(card, page):
    """Labels of conftest.py: 0 1 0 1 | 0 0 1 1, so two of four of each class are kept; pictures are 8 x 8."""
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
    assert "1 of 1: identical or close to an example of a split" in parsed.words


def test_shows_every_step_with_its_parameters(card, page):
    words = page(card()).words
    assert f"blank min_std 4.0 8 0 {'c' * 12}" in words
    assert f"exact duplicate – 8 1 {'c' * 12}" in words


def test_the_cluster_map_shows_each_heap_and_what_is_kept_of_it(card, page, world):
    """Row 5 has the uid of row 0: five rows of the first heap, four of them kept, and three of the other."""
    embed(world, [0, 1, 2, 3, 4, 6, 7])
    parsed = page(card("small", **REFINED))
    assert "2 clusters of embeddings by DINOv2, each" in parsed.words
    assert "62.5 % 80 % kept" in parsed.words
    assert "37.5 % 0 % kept" in parsed.words
    assert parsed.images == 6 + 2


def test_examples_without_an_embedding_are_not_in_the_map(card, page, world):
    embed(world, [0, 1, 2, 3, 4])
    words = page(card("small", **REFINED)).words
    assert "83.3 % 80 % kept" in words  # rows 0 1 2 3 5 of six
    assert "16.7 % 0 % kept" in words


def test_without_embeddings_the_map_is_of_hashes(card, page):
    assert "2 clusters of perceptual hashes, each" in page(card("small", **REFINED)).words


def test_equal_bytes_and_no_time(card, world):
    embed(world, [0, 1, 2, 3, 4, 6, 7])
    assert card("small", **REFINED) == card("small", **REFINED)


def test_does_not_need_the_record_of_the_corruption(card, world):
    before = card()
    world.record("corruption").unlink()
    assert card() == before
    assert "wrong_label" not in before


def test_says_how_to_cite_and_reproduce_it(card, page, world):
    words = page(card()).words
    assert version.load(world.workspace.version("pool")).digest in words
    assert "dvc repro curate " in words
    assert "winnow show pool --dropped-by exact_duplicate" in words


def test_a_refined_version_names_parent_model_and_cost(card, page):
    words = page(card("small", **REFINED)).words
    assert "parent pool ·" in words
    assert "2.50 MFLOPs, spent on embeddings by DINOv2 ( eeeeeeeeeeee )" in words
    assert "dvc repro refine@small " in words
    assert "data/versions/small/cost.json" in words


def test_the_clean_version_is_made_by_the_oracle(card, page):
    words = page(card("clean", parent=REFINED["parent"], flops={})).words
    assert "dvc repro oracle@clean " in words
    assert "data/versions/clean/cost.json" in words


def test_a_version_of_another_pool_is_refused(card, world):
    card()
    reasons = world.workspace.version("pool") / "reasons.parquet"
    pq.write_table(pq.read_table(reasons).slice(1), reasons)
    with pytest.raises(ValueError, match="made from another pool"):
        write_card(reasons.with_name("card.html"), world.workspace, world.pool, "pool")
