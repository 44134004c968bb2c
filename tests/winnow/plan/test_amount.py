"""Sums and products of numbers of which only a bound may be known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.plan.amount import EITHER, EXACT, LEAST, MOST, NONE, UNKNOWN, Amount, at_most, total

SIGNS = (EXACT, MOST, LEAST, EITHER)
amounts = st.builds(Amount, st.integers(0, 10**20), st.sampled_from(SIGNS))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (EXACT, EXACT, EXACT),
        (EXACT, MOST, MOST),
        (LEAST, LEAST, LEAST),
        (MOST, LEAST, EITHER),
        (EITHER, EXACT, EITHER),
    ],
)
def test_a_sum_is_as_well_known_as_its_parts(one, other, expected):
    assert Amount(2, one) + Amount(3, other) == Amount(5, expected)


@given(amounts, amounts, amounts)
def test_the_order_of_a_sum_does_not_matter(a, b, c):
    assert (a + b) + c == a + (b + c) == total([c, b, a])


def test_none_of_something_unknown_is_none():
    assert UNKNOWN * 0 == NONE
    assert UNKNOWN * 7 == UNKNOWN
    assert Amount(3, MOST) * 0.5 == Amount(1, MOST)


def test_what_is_left_of_a_budget_is_bounded_from_the_other_side():
    assert [Amount(1, sign).opposite for sign in SIGNS] == [EXACT, LEAST, MOST, EITHER]


def test_an_upper_bound_of_nothing_known_is_still_unknown():
    assert at_most(UNKNOWN) == UNKNOWN
    assert at_most(Amount(4)) == Amount(4, MOST)
