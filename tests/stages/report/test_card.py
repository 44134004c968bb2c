"""The card of a dataset version, over the eight images of conftest.py."""

import numpy as np
import pytest
from PIL import Image

from stages.report.card import explain, lineage, write_card
from stages.report.tiles import LARGEST, SIDE, fit, sample

ROLE = np.array(["pool", "pool", "pool", "pool", "val", "dropped", "dropped", "reference"], dtype=object)
REASON = np.array([None, None, None, None, None, "exact_duplicate", "near_held_out", None], dtype=object)


@pytest.fixture
def card(world, tmp_path):
    """A function: the text of a card."""

    def write(name: str = "pool", seed: int = 0, **more) -> str:
        write_card(tmp_path / "card.html", name, world.pool, ROLE, REASON, seed, **more)
        return (tmp_path / "card.html").read_text()

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
        "cat 2 of 4",
        "dogs & <co> 2 of 4",
    ):
        assert expected in words


def test_shows_kept_and_dropped(card, page):
    parsed = page(card())
    assert parsed.images == 4 + 1 + 1
    assert "4 of 4, drawn at random" in parsed.words
    assert "1 of 1: identical or near to an example of a split" in parsed.words


def test_equal_bytes_and_no_time(card):
    assert card() == card()


def test_does_not_need_the_record_of_the_pollution(card, world):
    before = card()
    (world.root / "data/pool/dirt.parquet").unlink()
    assert card() == before
    assert "wrong" not in before.replace("labels may be wrong", "")


def test_lineage_is_shown(card, world, page):
    words = page(card(lineage=lineage(world.params))).words
    assert "source digits · filters blank (min_std 4.0), then exact_duplicate · seed 0" in words


def test_another_version_of_the_same_roles(card, page):
    words = page(card("reference")).words
    assert "kept: reference 1 12.5 %" in words
    assert "elsewhere: pool 4 50.0 %" in words


def test_an_empty_version_is_a_card_too(world, tmp_path, page):
    write_card(tmp_path / "card.html", "nothing", world.pool, ROLE, REASON, 0)
    assert page((tmp_path / "card.html").read_text()).images == 2


def test_explains_a_filter_by_its_own_file():
    assert explain("exact_duplicate")
    assert explain("a_reason_without_a_file") == ""
    assert explain("../secret") == ""


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
