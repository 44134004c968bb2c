"""Concepts: matching by brute force, the cap by its definition, independence of order and repetition."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import numbered
from winnow.filters import concepts
from winnow.filters._words import words
from winnow.pool import uids


def table(captions, names=None):
    columns = {
        "caption": pa.array(captions, pa.string()),
        "label": pa.array([-1] * len(captions), pa.int32()),
    }
    pool = pa.table({"uid": pa.array(numbered(len(captions)), pa.string()), **columns})
    return pool.replace_schema_metadata({"classes": json.dumps(names)}) if names else pool


def reasons(pool, **config):
    answer = concepts.apply(pool, concepts.Config(**config))
    assert [reason is None for reason in answer["reason"].to_pylist()] == answer["keep"].to_pylist()
    return answer["reason"].to_pylist()


def test_an_entry_is_found_at_the_borders_of_words():
    captions = ["A Cat, asleep", "concatenate", "the black  cat!", "cats", None, "", "一只熊猫在吃", "猫"]
    found = reasons(table(captions), entries=["cat", "熊猫"])
    assert found == [None, "no_concept", None, "no_concept", "no_concept", "no_concept", None, "no_concept"]


def test_an_entry_of_two_words_needs_both_in_their_order():
    captions = ["hot dog stand", "dog hot", "hot, dog", "hot big dog"]
    assert reasons(table(captions), entries=["Hot Dog"]) == [None, "no_concept", None, "no_concept"]


def test_entries_from_the_classes_a_file_and_the_captions(tmp_path):
    captions = ["a photo of a t-shirt or top", "a photo of a dress", "a photo"]
    pool = table(captions, names=["T-shirt or top", "Dress"])
    assert reasons(pool) == [None, None, "no_concept"]
    path = tmp_path / "entries.txt"
    path.write_text("dress\n\n--\n", encoding="utf-8")
    assert reasons(pool, entries=str(path)) == ["no_concept", None, "no_concept"]
    assert reasons(pool, entries="words") == [None, None, None]


def test_a_frequent_entry_keeps_about_its_cap_and_a_rare_one_everything():
    captions = ["a dog"] * 3000 + ["a cat"] * 50 + ["a cat and a dog"] * 10
    found = np.array([reason is None for reason in reasons(table(captions), entries=["dog", "cat"], cap=100)])
    assert found[3000:].all(), "a rare entry passes whole, with what it shares a caption with"
    kept, expected = found[:3000].sum(), 3000 * 100 / 3010
    assert abs(kept - expected) < 4 * np.sqrt(expected), "four standard deviations of a binomial of small p"


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), max_size=10)
entries = st.lists(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(" ".join), min_size=1, max_size=5
)


@given(texts, entries, st.integers(1, 3), st.integers(0, 3))
def test_brute_force(captions, listed, cap, seed):
    """The paper's algorithm 1 in plain loops: substrings of padded text, counts, a draw for each pair and
    entry.
    """
    pool = table(captions)
    named = [{entry for entry in listed if f" {entry} " in f" {caption} "} for caption in captions]
    expected = []
    for uid, of in zip(pool["uid"].to_pylist(), named, strict=True):
        chance = {entry: min(1, cap / sum(entry in other for other in named)) for entry in of}
        passed = [uids.fraction(seed, "concepts", uid, entry) < p for entry, p in chance.items()]
        expected.append(None if any(passed) else "concept_capped" if of else "no_concept")
    assert reasons(pool, entries=listed, cap=cap, seed=seed) == expected


@given(st.text(max_size=20), st.text(max_size=4))
def test_any_text_matches_as_a_regular_expression_of_its_words(caption, entry):
    parts = words(entry)
    if parts:
        joined = " ".join(words(caption))
        found = reasons(table([caption]), entries=[entry]) == [None]
        assert found == bool(re.search(f"(?:^| ){re.escape(' '.join(parts))}(?: |$)", joined))


@given(texts, entries, st.integers(1, 3), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_shows_and_a_larger_cap_keeps_more(captions, listed, cap, random):
    pool = table(captions)
    keep = [reason is None for reason in reasons(pool, entries=listed, cap=cap)]
    order = random.sample(range(len(captions)), len(captions))
    moved = reasons(pool.take(pa.array(order, pa.int64())), entries=listed, cap=cap)
    assert [reason is None for reason in moved] == [keep[row] for row in order]
    again = reasons(pool.filter(pa.array(keep, pa.bool_())), entries=listed, cap=cap)
    assert again == [None] * len(again)
    more = [reason is None for reason in reasons(pool, entries=listed, cap=cap + 1)]
    assert all(large or not small for small, large in zip(keep, more, strict=True))


@pytest.mark.parametrize("given", ["nowhere.txt", ["--"], "classes"])
def test_entries_that_cannot_be_read_are_one_line(given):
    with pytest.raises(ValueError, match="^entries: ") as error:
        reasons(table(["a cat"]), entries=given)
    assert "\n" not in str(error.value)
