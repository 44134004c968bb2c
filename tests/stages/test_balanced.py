"""balanced: the cap by brute force, the balance as a property, and rare clusters that come out."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.filters import balanced, with_vectors
from stages.filters._hierarchy import Level, hierarchy, nearest_members, quotas, sample
from stages.filters._work import Work


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def table(vectors):
    return with_vectors(pa.table({"uid": [f"{i:032x}" for i in range(len(vectors))]}), "embedding", np.asarray(vectors, np.float32))


def unbalanced(sizes, width=16, seed=0):
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(of)
    return unit(np.eye(len(sizes), width)[of] + rng.standard_normal((len(of), width)) * 0.05), of


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 16))
def test_quotas_are_the_evenest_by_brute_force(sizes, target):
    """Of all ways to give the target, the one whose sum of squares is least (it is the same up to who is first)."""
    target = min(target, sum(sizes))
    ways = [way for way in product(*(range(size + 1) for size in sizes)) if sum(way) == target]
    found = quotas(np.array(sizes), target, np.arange(len(sizes)))
    assert tuple(found.tolist()) in ways
    assert (found**2).sum() == min(sum(n * n for n in way) for way in ways)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50), st.data())
def test_quotas_are_exact_and_differ_by_one_unless_exhausted(sizes, data):
    sizes_, target = np.array(sizes), data.draw(st.integers(0, sum(sizes)))
    found = quotas(sizes_, target, np.array(data.draw(st.permutations(range(len(sizes))))))
    assert found.sum() == target
    assert ((found >= 0) & (found <= sizes_)).all()
    left = found[found < sizes_]
    assert not len(left) or (found.max() - left.min() <= 1)


def test_who_is_first_in_turn_gets_one_more():
    assert quotas(np.array([5, 5, 5]), 7, np.array([2, 0, 1])).tolist() == [2, 3, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 3), st.data())
def test_sampling_is_balanced_at_every_node(rows, middle, top, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    low = np.unique(rng.integers(middle, size=rows), return_inverse=True)[1]
    high = np.unique(rng.integers(top, size=low.max() + 1), return_inverse=True)[1]
    target = data.draw(st.integers(0, rows))
    kept = sample([low, high], target, np.arange(rows), seed=1)
    assert kept.sum() == target
    for labels, groups in (
        (high[low], np.arange(high.max() + 1)),
        *((low, np.flatnonzero(high == node)) for node in range(high.max() + 1)),
    ):
        got, holds = (np.array([of[labels == group].sum() for group in groups]) for of in (kept, np.ones(rows, int)))
        left = got[got < holds]
        assert not len(left) or got.max() - left.min() <= 1


def test_of_a_cluster_the_first_in_turn_are_drawn():
    owner = np.array([0, 0, 0, 1, 1, 1])
    assert np.flatnonzero(sample([owner], 4, np.array([2, 1, 0, 5, 4, 3]), 0)).tolist() == [1, 2, 4, 5]


def test_nearest_members_are_the_best_fits_of_each_cluster():
    owner, fits = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.2, 0.9, 0.3, 0.5])
    assert nearest_members(owner, fits, 2).tolist() == [1, 2, 3, 4]


def test_rare_clusters_come_out_whole_and_frequent_ones_even():
    vectors, of = unbalanced([1500, 300, 60, 20, 20])
    config = balanced.Config(target=400, levels=[Level(40, 1, 5), Level(5, 5, 3)])
    answer = balanced.apply(table(vectors), config)
    counts = np.bincount(of[np.array(answer["keep"])])
    assert counts.sum() == 400
    before, after = (np.bincount(of) / len(of)).max(), (counts / 400).max()
    assert before > 0.75
    assert after < 0.6
    assert set(answer["reason"].to_pylist()) == {None, "balanced"}


@pytest.mark.parametrize("pick", balanced.PICKS)
def test_the_same_seed_draws_the_same_rows_and_resume_changes_nothing(tmp_path, pick):
    vectors, _ = unbalanced([600, 200, 50])
    config = balanced.Config(target=0.25, levels=[Level(150, 1, 2), Level(9, 2, 3), Level(3)], pick=pick, seed=4)
    plain = balanced.chosen(vectors, config)
    assert plain.sum() == round(0.25 * 850)
    for _ in range(2):
        assert balanced.chosen(vectors, config, Work(tmp_path)).tolist() == plain.tolist()
    for path in sorted(tmp_path.rglob("*.npz"))[::2]:
        path.unlink()
    assert balanced.chosen(vectors, config, Work(tmp_path)).tolist() == plain.tolist()


def test_levels_are_clusterings_of_the_level_below():
    vectors, _ = unbalanced([300, 100, 50])
    found = hierarchy(vectors, [Level(60, 1, 3), Level(6, 3, 2), Level(2)])
    for below, level in zip([vectors, *(of.centroids for of in found)], found, strict=False):
        assert level.owner.shape == (len(below),)
        assert np.allclose((below * level.centroids[level.owner]).sum(1), level.fits, atol=1e-5)
        assert (level.owner == (below @ level.centroids.T).argmax(1)).all(), "few clusters are compared with all"


def test_the_usual_levels_suit_any_pool():
    for count in (1, 2, 99, 250, 3000):
        vectors = unit(np.random.default_rng(0).standard_normal((count, 6)))
        assert np.array(balanced.apply(table(vectors), balanced.Config())["keep"]).sum() == round(count / 2)
    assert balanced.apply(table(np.empty((0, 6))), balanced.Config())["keep"].to_pylist() == []


def test_more_clusters_than_points_is_one_line():
    with pytest.raises(ValueError, match=r"^levels: 9 clusters of 5 points; ask for 5 or fewer"):
        hierarchy(unit(np.ones((5, 3))), [Level(9)])


@pytest.mark.parametrize("settings_", [{"target": 0.0}, {"target": 2.5}, {"iterations": 0}, {"pick": "x"}])
def test_a_wrong_setting_is_one_line(settings_):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings_))}: .*allowed"):
        balanced.Config(**settings_)


def test_a_level_that_cannot_be_is_one_line():
    with pytest.raises(ValueError, match=r"^levels.clusters: 0 .*allowed: 1 or more"):
        Level(0)


def test_levels_are_read_from_params():
    from stages.params import plugin_config

    block = {"target": 0.1, "levels": [{"clusters": 100, "resampling": 1}, {"clusters": 10}]}
    assert plugin_config(balanced.Config, "versions.v.filters.balanced", block).levels[0].clusters == 100
