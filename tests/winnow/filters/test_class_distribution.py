"""Class distribution: the largest subset by trying all of them, nested and order-free choice, targets."""

import itertools
import json
from collections import Counter
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.filters import class_distribution as matching


def table(labels, names=None):
    uids = [f"{i * 0x9E3779B97F4A7C15 % 2**128:032x}" for i in range(len(labels))]
    pool = pa.table({"uid": pa.array(uids, pa.string()), "label": pa.array(labels, pa.int32())})
    return pool.replace_schema_metadata({"classes": json.dumps(names)}) if names else pool


EMPTY = table([])


def reasons(pool, reference=EMPTY, **config):
    answer = matching.apply(pool, matching.Config(**config), reference)
    assert [reason is None for reason in answer["reason"].to_pylist()] == answer["keep"].to_pylist()
    return answer["reason"].to_pylist()


def counts(pool, reference=EMPTY, **config):
    rows = zip(pool["label"].to_pylist(), reasons(pool, reference, **config), strict=True)
    return Counter(label for label, reason in rows if reason is None)


def spread(have):
    return [label for label, n in enumerate(have) for _ in range(n)]


def test_uniform_is_as_many_of_each_as_the_rarest_has():
    assert counts(table(spread([5, 2, 9]))) == {0: 2, 1: 2, 2: 2}
    assert counts(table([3] * 4 + [7] * 6)) == {3: 4, 7: 4}, "classes that the pool lacks do not count"


def test_unlabelled_and_superfluous_rows_have_different_reasons():
    assert Counter(reasons(table([-1, 0, 0, 1]))) == {"no_label": 1, "over_represented": 1, None: 2}
    assert reasons(table([-1, -1])) == ["no_label"] * 2
    assert reasons(EMPTY) == []


def test_shares_are_by_name_or_by_number():
    pool = table(spread([10, 10, 10]), names=["cat", "dog", "eel"])
    assert counts(pool, target={"cat": 0.5, "dog": 0.2}) == {0: 10, 1: 4}
    assert counts(table(spread([10, 10, 10])), target={0: 5, "1": 2}) == {0: 10, 1: 4}


def test_the_references_distribution():
    reference = table(spread([1, 3, 0]) + [-1] * 9)
    assert counts(table(spread([30, 30, 30])), reference, target="reference") == {0: 10, 1: 30}
    named = table(spread([30, 30]), names=list("abc"))
    assert counts(named, table([0, 1, 1]), target="reference") == {0: 15, 1: 30}


def test_a_scarce_class_may_fall_short_by_the_slack():
    pool = table(spread([100, 6, 50]))
    assert counts(pool, slack=0.0) == {0: 6, 1: 6, 2: 6}
    assert counts(pool, slack=0.5) == {0: 12, 1: 6, 2: 12}
    assert counts(pool, slack=0.9) == {0: 60, 1: 6, 2: 50}


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_the_largest_by_trying_all_subsets(have, data):
    """Where shares are whole numbers, some subsets have exactly that distribution; the largest of these is
    never larger than ours, and ours is off by rounding only.
    """
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(have), max_size=len(have)).filter(any))
    target = dict(enumerate(parts))
    found = counts(table(spread(have)), target=target)
    ours = [found[label] for label in range(len(have))]
    exact = [k for k in itertools.product(*(range(n + 1) for n in have)) if proportional(k, parts)]
    best = max(exact, key=sum)
    assert all(mine >= other for mine, other in zip(ours, best, strict=True))
    whole = min(Fraction(n, part) for n, part in zip(have, parts, strict=True) if part)
    assert all(abs(mine - part * whole) <= Fraction(1, 2) for mine, part in zip(ours, parts, strict=True))
    if set(parts) == {1}:
        assert tuple(ours) == best


def proportional(count, parts):
    return all(a * q == b * p for (a, p), (b, q) in itertools.combinations(zip(count, parts, strict=True), 2))


@given(st.lists(st.integers(-1, 3), max_size=30), st.integers(0, 3), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_shows(labels, seed, random):
    pool = table(labels)
    keep = np.array([reason is None for reason in reasons(pool, seed=seed)], bool)
    order = np.array(random.sample(range(len(labels)), len(labels)), np.int64)
    assert [reason is None for reason in reasons(pool.take(order), seed=seed)] == keep[order].tolist()
    again = reasons(pool.filter(pa.array(keep)), seed=seed)
    assert again == [None] * int(keep.sum())


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.data())
def test_a_smaller_version_is_part_of_a_larger(have, data):
    pool = table(spread(have))
    less, more = sorted(data.draw(st.tuples(st.floats(0, 0.9), st.floats(0, 0.9))))
    small, large = (
        np.array([reason is None for reason in reasons(pool, slack=slack)]) for slack in (less, more)
    )
    assert not (small & ~large).any()


def test_a_target_that_the_pool_cannot_have_is_one_line():
    pool = table([0, 0], names=["cat", "dog"])
    for target, line in [
        ({"cow": 1}, "target.cow: no such class; allowed: cat, dog"),
        ({"dog": 1}, "target.dog: the class has a share and no rows; leave it out"),
        ("reference", "target: reference: the reference version has no labels"),
    ]:
        with pytest.raises(ValueError, match=f"^{line}"):
            reasons(pool, target=target)
