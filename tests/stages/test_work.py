"""Filters that were stopped in the middle go on with the parts that they had, and find the same."""

import numpy as np
import pyarrow as pa
import pytest

from stages.filters import _work, decide, with_vectors

FILTERS = {
    "semantic_duplicate": {"max_similarity": 0.9, "clusters": 9},
    "leakage": {"near": 0.9, "joined": 0.9},
    "retrieval": {"neighbours": 3},
    "balanced": {"target": 0.5, "levels": [{"clusters": 20}, {"clusters": 5}]},
}


class Killed(BaseException):
    """As a kill is: nobody catches it."""


def tables():
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(900, 8)) + 3 * draw.normal(size=(12, 8))[draw.integers(12, size=900)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    named = pa.table({"uid": [f"{i:032x}" for i in range(900)], "row": np.arange(900)})
    whole = with_vectors(named, "embedding", vectors.astype(np.float32))
    return whole.slice(0, 700), {"held_out": whole.slice(700, 100), "reference": whole.slice(800)}


def found(name, block):
    pool, others = tables()
    return decide(pool, {name: block}, "versions.a.filters", others)[0].tolist()


@pytest.mark.parametrize("name", [*FILTERS, "retrieval by clusters"])
def test_a_filter_goes_on_where_it_was_stopped(name, tmp_path, monkeypatch):
    block = FILTERS.get(name, {"mode": "cluster", "clusters": 9, "min_queries": 11})
    name = name.split()[0]
    wanted = found(name, block)
    assert 0 < sum(reason is None for reason in wanted) < 700
    save, saved = np.savez, []

    def counted(*args, **arrays):
        saved.append(1)
        save(*args, **arrays)

    monkeypatch.setattr(_work.np, "savez", counted)
    with _work.kept_in(tmp_path / "whole"):
        assert found(name, block) == wanted
    whole = len(saved)
    assert whole

    def killed(*args, **arrays):
        if len(saved) >= whole + whole // 2:
            raise Killed
        counted(*args, **arrays)

    monkeypatch.setattr(_work.np, "savez", killed)
    with pytest.raises(Killed), _work.kept_in(tmp_path / "cut"):
        found(name, block)
    kept = len(list((tmp_path / "cut").rglob("*.npz")))
    monkeypatch.setattr(_work.np, "savez", counted)
    saved.clear()
    with _work.kept_in(tmp_path / "cut"):
        assert found(name, block) == wanted
    assert len(saved) == whole - kept
    assert kept == whole // 2


def test_a_part_that_the_disk_lost_is_made_again(tmp_path):
    wanted = found("leakage", FILTERS["leakage"])
    for left in (0, 40):
        with _work.kept_in(tmp_path):
            found("leakage", FILTERS["leakage"])
            for part in tmp_path.rglob("*.npz"):
                part.write_bytes(part.read_bytes()[:left])
            assert found("leakage", FILTERS["leakage"]) == wanted


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found("retrieval", FILTERS["retrieval"])
    assert _work.lasting().folder is None
    assert not list(tmp_path.iterdir())
