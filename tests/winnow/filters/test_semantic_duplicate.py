"""semantic_duplicate: its settings reach the search, which tests/winnow/clustering/test_pairs.py tests."""

import numpy as np
import pytest

from tests.vectors import circle, embedded
from winnow.filters import semantic_duplicate
from winnow.filters.semantic_duplicate import Config


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (Config(max_similarity=0.98), [True, False, True]),  # cos 10 = 0.985, cos 20 = 0.94
        (Config(max_similarity=0.98, way="components"), [True, False, False]),
        (Config(max_similarity=0.98, clusters=1, keep="near"), [False, True, False]),  # the middle
        (Config(max_similarity=0.99), [True, True, True]),
    ],
)
def test_a_chain_of_three(config, expected):
    answer = semantic_duplicate.apply(embedded(circle([0, 10, 20])), config)
    assert answer["keep"].to_pylist() == expected
    assert {reason for reason in answer["reason"].to_pylist() if reason} <= {"semantic_duplicate"}


def test_an_empty_pool():
    assert semantic_duplicate.apply(embedded(np.empty((0, 4))), Config())["keep"].to_pylist() == []
