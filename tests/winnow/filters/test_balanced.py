"""balanced: rare clusters come out, draws repeat, and the default levels suit any pool."""

import numpy as np
import pytest

from tests.vectors import embedded, random_units, unit
from winnow.clustering.hierarchy import Level
from winnow.clustering.part_cache import PartCache
from winnow.config.parse import plugin_config
from winnow.filters import balanced
from winnow.filters.balanced import Config


def imbalanced(sizes, width=16, seed=0):
    """Vectors of clusters of these sizes, shuffled, and the cluster of each."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rng.shuffle(cluster)
    centres = np.eye(len(sizes), width)[cluster]
    return unit(centres + rng.standard_normal((len(cluster), width)) * 0.05), cluster


def test_rare_clusters_come_out_whole_and_frequent_ones_even():
    vectors, cluster = imbalanced([1500, 300, 60, 20, 20])
    answer = balanced.apply(embedded(vectors), Config(target=400, levels=[Level(40, 1, 5), Level(5, 5, 3)]))
    counts = np.bincount(cluster[np.array(answer["keep"])])
    assert counts.sum() == 400
    assert (np.bincount(cluster) / len(cluster)).max() > 0.75
    assert (counts / 400).max() < 0.6
    assert set(answer["reason"].to_pylist()) == {None, "balanced"}


@pytest.mark.slow
@pytest.mark.parametrize("pick", balanced.PICKS)
def test_the_same_seed_draws_the_same_rows_and_resuming_changes_nothing(tmp_path, pick):
    vectors, _ = imbalanced([600, 200, 50])
    levels = [Level(150, 1, 2), Level(9, 2, 3), Level(3)]
    config = Config(target=0.25, levels=levels, pick=pick, seed=4)
    plain = balanced.draw(vectors, config).tolist()
    assert sum(plain) == round(0.25 * 850)
    for _ in range(2):
        assert balanced.draw(vectors, config, PartCache(tmp_path)).tolist() == plain
    for path in sorted(tmp_path.rglob("*.npz"))[::2]:
        path.unlink()
    assert balanced.draw(vectors, config, PartCache(tmp_path)).tolist() == plain


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 99, 250, 3000])
def test_the_default_levels_suit_any_pool(count):
    answer = balanced.apply(embedded(random_units(count, 0, width=6)), Config())
    assert sum(answer["keep"].to_pylist()) == round(count / 2)


def test_an_empty_pool():
    assert balanced.apply(embedded(np.empty((0, 6))), Config())["keep"].to_pylist() == []


def test_levels_are_read_from_params():
    block = {"target": 0.1, "levels": [{"clusters": 100, "resampling": 1}, {"clusters": 10}]}
    config = plugin_config(Config, "versions.v.filters.balanced", block)
    assert config.levels == [Level(100, 1), Level(10)]
