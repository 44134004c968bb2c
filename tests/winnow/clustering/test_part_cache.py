"""Parts are computed once, in order, and again only where they are missing, damaged, or of other inputs."""

import numpy as np
import pytest

from tests.vectors import random_units
from winnow.clustering.part_cache import NO_CACHE, PartCache, keeping_parts_in, part_cache


@pytest.fixture
def computes():
    """Six parts, and a list of those that were computed."""
    done: list[int] = []

    def compute(number):
        done.append(number)
        return {"square": np.array([number**2]), "number": np.array(number)}

    return {f"part-{number}": (lambda n=number: compute(n)) for number in range(6)}, done


def squares(cache, parts):
    return [int(part["square"][0]) for part in cache.parts(parts, "squares")]


def test_finished_parts_are_read_and_the_others_computed(computes, tmp_path):
    parts, done = computes
    assert squares(PartCache(tmp_path), parts) == [0, 1, 4, 9, 16, 25]
    (tmp_path / "part-2.npz").unlink()
    done.clear()
    assert squares(PartCache(tmp_path), parts) == [0, 1, 4, 9, 16, 25]
    assert done == [2]


@pytest.mark.parametrize("length", [0, 40])
def test_a_part_that_the_disk_damaged_is_computed_again(computes, tmp_path, length):
    parts, done = computes
    squares(PartCache(tmp_path), parts)
    damaged = tmp_path / "part-3.npz"
    damaged.write_bytes(damaged.read_bytes()[:length])
    done.clear()
    assert squares(PartCache(tmp_path), parts) == [0, 1, 4, 9, 16, 25]
    assert done == [3]


def test_a_part_that_fails_leaves_no_file(tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        PartCache(tmp_path / "new").part("a", fail)
    assert not list(tmp_path.rglob("*"))


def test_other_inputs_have_another_folder(tmp_path):
    cache, first, second = PartCache(tmp_path), random_units(200, 1), random_units(200, 2)
    folders = {
        cache.for_inputs(first, threshold=0.9).folder,
        cache.for_inputs(second, threshold=0.9).folder,
        cache.for_inputs(first, threshold=0.5).folder,
        cache.for_inputs(first.astype(np.float16), threshold=0.9).folder,
        cache.for_inputs(first[:100], threshold=0.9).folder,
    }
    assert len(folders) == 5
    assert cache.for_inputs(first.copy(), threshold=0.9).folder in folders


def test_without_a_folder_nothing_is_kept(computes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts, done = computes
    for _ in range(2):
        assert squares(NO_CACHE.for_inputs(random_units(9, 0)).subfolder("a"), parts) == [0, 1, 4, 9, 16, 25]
    assert len(done) == 12
    assert not list(tmp_path.iterdir())


def test_the_folder_is_that_of_the_context(tmp_path):
    with keeping_parts_in(tmp_path):
        assert part_cache().folder == tmp_path
    assert part_cache().folder is None
