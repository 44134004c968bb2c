"""How far a leak must stand out from its mirror images."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.winnow.leakage.conftest import scene
from winnow.leakage import symmetry
from winnow.leakage.agreement import shared_details
from winnow.leakage.config import Config
from winnow.leakage.guard import find_leaks
from winnow.leakage.thumbnails import Thumbnails

WHOLE = np.array([[1.0, 0, 1.0, 0]])


def disc(seed: int) -> Image.Image:
    """A bright disc with a dark middle on a faint lawn; another seed, another size, place and lawn."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray((np.asarray(scene(seed + 500)) // 4 + 90).astype(np.uint8))
    x, y = 48 + rng.integers(-4, 5, 2)
    for size, level in ((rng.integers(24, 34), 220), (rng.integers(8, 18), 50)):
        corners = (x - size, y - size, x + size, y + size)
        ImageDraw.Draw(image).ellipse(corners, fill=(level, level, level - 20))
    return image


def luma(image: Image.Image) -> np.ndarray:
    return Thumbnails.of([image]).luma.astype(np.float32)


def test_standing_out_is_three_halves_of_fishers_z():
    mirrored, details = (values.ravel() for values in np.meshgrid(np.linspace(0, 0.99, 40), [0.3, 0.6, 0.9]))
    expected = np.arctanh(details) >= 1.5 * np.arctanh(mirrored)
    np.testing.assert_array_equal(symmetry.stands_out(details, mirrored), expected)


def test_details_that_are_certain_stand_out_from_any_mirror_image():
    details = np.array([symmetry.CERTAIN - 1e-4, symmetry.CERTAIN, 1.0])
    assert symmetry.stands_out(details, np.ones(3)).tolist() == [False, True, True]


def test_only_a_symmetric_picture_agrees_with_its_mirror_image():
    assert symmetry.mirror_agreement(luma(scene(0)), luma(scene(0)), WHOLE)[0] < 0.3
    assert symmetry.mirror_agreement(luma(disc(0)), luma(disc(0)), WHOLE)[0] > 0.8


@pytest.mark.parametrize("turn", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180])
def test_a_picture_and_its_mirror_image_agree_in_every_way_but_the_one_they_lie(turn):
    made = symmetry.mirror_agreement(luma(scene(2)), luma(scene(2).transpose(turn)), WHOLE)
    assert made[0] > 0.95


def test_the_most_is_that_of_brute_force():
    """All moves of all three mirror images, as sums of products."""
    other, held = luma(scene(3)), luma(scene(4))
    a, b = (np.rint(details[0] / symmetry.COARSE) for details in shared_details(other, held, WHOLE))
    most = 0.0
    for mirror in (b[::-1], b[:, ::-1], b[::-1, ::-1]):
        padded = np.pad(mirror, 31)
        most = max(most, *((a * padded[i : i + 32, j : j + 32]).sum() for i in range(63) for j in range(63)))
    expected = most / np.sqrt((a * a).sum() * (b * b).sum())
    assert symmetry.mirror_agreement(other, held, WHOLE)[0] == pytest.approx(expected, rel=1e-12)


def test_discs_on_other_lawns_do_not_leak_and_a_copy_does():
    discs = [disc(seed) for seed in range(20)]
    others, held = Thumbnails.of([*discs[10:], discs[3]]), Thumbnails.of(discs[:10])
    alike = find_leaks(others, held, Config(crowd=False))
    leaks = find_leaks(others, held, Config())
    assert (3, 10) in zip(leaks.held.tolist(), leaks.others.tolist(), strict=True)
    assert len(leaks) < len(alike) / 10
