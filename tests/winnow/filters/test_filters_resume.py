"""Filters that were interrupted resume with the parts that they had, and decide the same."""

import numpy as np
import pytest

from tests.vectors import embedded, unit
from winnow.clustering.part_cache import keeping_parts_in
from winnow.filters import apply_filters

FILTERS = [
    ("semantic_duplicate", {"max_similarity": 0.9, "clusters": 9}),
    ("leakage", {"near": 0.9, "joined": 0.9}),
    ("retrieval", {"neighbours": 3}),
    ("retrieval", {"mode": "cluster", "clusters": 9, "min_queries": 11}),
    ("balanced", {"target": 0.5, "levels": [{"clusters": 20}, {"clusters": 5}]}),
]


@pytest.fixture(scope="module")
def tables():
    draw = np.random.default_rng(3)
    vectors = unit(draw.normal(size=(900, 8)) + 3 * draw.normal(size=(12, 8))[draw.integers(12, size=900)])
    whole = embedded(vectors)
    return whole.slice(0, 700), {"held_out": whole.slice(700, 100), "reference": whole.slice(800)}


@pytest.mark.parametrize(("name", "block"), FILTERS)
def test_a_filter_resumes_from_the_parts_that_are_left(name, block, tables, tmp_path):
    """A kill leaves some of the parts, each of them whole (tests/winnow/clustering/test_pairs.py kills)."""
    pool, others = tables

    def reasons():
        return apply_filters(pool, {name: block}, "versions.a.filters", others)[0].tolist()

    expected = reasons()
    assert 0 < sum(reason is None for reason in expected) < 700
    with keeping_parts_in(tmp_path):
        assert reasons() == expected
        parts = sorted(tmp_path.rglob("*.npz"))
        assert parts
        for part in parts[::2]:
            part.unlink()
        left = {part: part.stat().st_mtime_ns for part in parts[1::2]}
        assert reasons() == expected
    assert sorted(tmp_path.rglob("*.npz")) == parts
    assert {part: part.stat().st_mtime_ns for part in left} == left
