"""Which pictures leak, and that nothing but the pictures decides it."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from winnow.config.bounds import check
from winnow.config.errors import ParamsError
from winnow.leakage import aligned, candidates, descriptors
from winnow.leakage.alterations import ALTERATIONS
from winnow.leakage.config import Config
from winnow.leakage.guard import find_leaks
from winnow.leakage.thumbnails import Thumbnails


def pairs(leaks):
    return list(zip(leaks.held.tolist(), leaks.others.tolist(), strict=True))


def diagonal(count):
    return [(i, i) for i in range(count)]


def test_a_picture_leaks_with_itself_and_with_no_other(scenes):
    thumbnails = Thumbnails.of(scenes)
    leaks = find_leaks(thumbnails, thumbnails, Config())
    assert pairs(leaks) == diagonal(len(scenes))
    assert leaks.score.min() == 1


@pytest.mark.parametrize("name", ALTERATIONS)
def test_a_picture_leaks_with_its_alteration(scenes, name):
    made = [ALTERATIONS[name](image, np.random.default_rng(i)) for i, image in enumerate(scenes)]
    others, held = (Thumbnails.of([pair[side] for pair in made]) for side in (0, 1))
    found = pairs(find_leaks(others, held, Config()))
    assert set(found) <= set(diagonal(len(scenes)))
    assert len(found) >= 0.9 * len(scenes)


def test_mirror_images_only_where_they_are_asked_for(scenes):
    held = Thumbnails.of(scenes)
    assert pairs(find_leaks(held.mirrored(), held, Config())) == diagonal(len(scenes))
    assert not len(find_leaks(held.mirrored(), held, Config(mirrored=False)))


def test_unrelated_noise_and_blank_pictures_do_not_leak():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)) for _ in range(60)]
    blank = [Image.new("RGB", (50, 40), (level, level, 90)) for level in range(0, 240, 40)]
    faint = [Image.fromarray((np.asarray(image) // 128 + 100).astype(np.uint8)) for image in noise[:6]]
    held, others = Thumbnails.of(noise[:30] + blank + faint), Thumbnails.of(noise[30:] + blank + faint)
    assert not len(find_leaks(others, held, Config()))


@pytest.mark.slow
def test_pictures_that_are_merely_alike_do_not_leak(scenes):
    """A catalogue: one silhouette in small variations, and one product that is there twice."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    catalogue = []
    for seed in range(80):
        a, b, c = np.random.default_rng(seed).uniform(0.9, 1.1, 3)
        body = np.abs(x) < 0.5 * a + 0.2 * np.cos(2 * y * b)
        pattern = np.asarray(scenes[seed % 40].convert("L"), float) / 255
        catalogue.append(Image.fromarray((body * (90 + 60 * c + 40 * pattern)).astype(np.uint8)))
    catalogue[60] = ImageEnhance.Brightness(catalogue[7]).enhance(0.9)
    thumbnails = Thumbnails.of(catalogue)
    held, others = thumbnails.take(slice(0, 40)), thumbnails.take(slice(40, None))
    alike = pairs(find_leaks(others, held, Config(crowd=False)))
    assert len(alike) > 40  # without the crowd, everything leaks with everything
    standing_out = pairs(find_leaks(others, held, Config()))
    assert (7, 20) in standing_out
    assert len(standing_out) < len(alike) / 10


def test_all_of_many_copies_are_found(scenes):
    """More copies than candidates: the search goes on."""
    copies = Thumbnails.of(scenes[:1] * 30 + scenes[1:])
    leaks = find_leaks(copies, Thumbnails.of(scenes[:3]), Config(candidates=8))
    assert pairs(leaks) == [(0, i) for i in range(30)] + [(1, 30), (2, 31)]


def test_blocks_and_threads_change_nothing(scenes, monkeypatch):
    rng = np.random.default_rng(0)
    others = Thumbnails.of([ALTERATIONS["combined"](image, rng)[0] for image in scenes])
    held, config = Thumbnails.of(scenes), Config(threshold=0.1, crowd=False, candidates=8)
    whole = find_leaks(others, held, config)
    assert len(whole) >= 35
    for module, sizes in ((candidates, {"OTHERS": 7, "HELD": 5, "TILE": 3}), (aligned, {"BLOCK": 2})):
        for name, size in sizes.items():
            monkeypatch.setattr(module, name, size)
    parts = find_leaks(others, held, config, threads=3)
    for field in dataclasses.fields(whole):
        np.testing.assert_array_equal(getattr(parts, field.name), getattr(whole, field.name))


def test_candidates_are_those_of_brute_force(scenes):
    """All products of all views in float64, each pair's best, each held picture's best five."""
    others, held = Thumbnails.of(scenes[8:]), Thumbnails.of(scenes[:8])
    compared = descriptors.views(True)
    products = []
    for view in compared:
        seen = held.mirrored() if view.mirrored else held
        a, b = (
            descriptors.descriptors(s, w).astype(np.float64)
            for s, w in ((others, view.other), (seen, view.held))
        )
        products.append(a @ b.T)
    best = np.max(products, axis=0)
    expected = {(int(o), h) for h in range(8) for o in np.argsort(-best[:, h], kind="stable")[:5]}
    with ThreadPoolExecutor(2) as executor:
        found = candidates.Candidates.joined(
            list(candidates.search(others, held, compared, 0, 5, 2, executor))
        )
    assert set(zip(found.other.tolist(), found.held.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(found.score, best[found.other, found.held])


def test_products_of_descriptors_are_exact(scenes):
    """No sum of products reaches 2**24, up to which float32 holds every whole number."""
    for images in (scenes, [image.convert("L").convert("RGB") for image in scenes]):
        described = descriptors.descriptors(Thumbnails.of(images), descriptors.WHOLE).astype(np.float64)
        assert (described == np.rint(described)).all()
        assert (described**2).sum(axis=1).max() < 2**24


def test_nothing_to_compare(scenes):
    none, some = Thumbnails.empty(0), Thumbnails.of(scenes[:2])
    for others, held in ((none, some), (some, none), (none, none)):
        assert not len(find_leaks(others, held, Config()))
    assert not len(find_leaks(some, some, Config(method="off")))


@pytest.mark.parametrize(("field", "value"), [("threshold", 0.0), ("candidates", 4), ("method", "magic")])
def test_a_setting_out_of_range_is_one_line(field, value):
    with pytest.raises(ParamsError, match=f"leakage.{field}"):
        check(Config(**{field: value}), "leakage")
