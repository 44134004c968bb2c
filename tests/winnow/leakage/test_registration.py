"""Where one picture lies on another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from tests.winnow.leakage.conftest import scene
from winnow.leakage import registration
from winnow.leakage.agreement import moments
from winnow.leakage.descriptors import View
from winnow.leakage.thumbnails import Thumbnails

LUMA = Thumbnails.of([scene(seed) for seed in range(4)]).luma.astype(np.float32)


@given(
    st.tuples(*[st.floats(0.7, 1.4), st.floats(-0.3, 0.3)] * 2).map(lambda p: np.rint(np.array(p) * 64) / 64)
)
@settings(max_examples=20, deadline=None)
def test_a_warp_is_scipys_linear_interpolation(place):
    read, inside = registration.warp(LUMA[:1], place[None])
    line = registration.coordinates(32)
    x, y = ((place[i] * line + place[i + 1] + 1) * 16 - 0.5 for i in (0, 2))
    x, y = (np.rint(np.clip(at, 0, 31) * 64) / 64 for at in (x, y))
    expected = map_coordinates(LUMA[0].astype(np.float64), np.meshgrid(y, x, indexing="ij"), order=1)
    assert np.abs(read[0] / registration.LEVELS - expected).max() <= 0.5 / registration.LEVELS + 1e-9
    assert inside.any()


@pytest.mark.parametrize("stretch", [0.9, 1.0, 1.12])
def test_steps_find_a_known_place_whatever_the_light(stretch):
    """Pictures read at a known place, made darker: five steps come within a tenth of a pixel."""
    true = np.tile([stretch, 0.05, stretch, -0.06], (4, 1))
    seen, _ = registration.warp(LUMA, true)
    other = np.rint(seen * 0.6 + 300)
    first = np.tile([1.0, 0, 1.0, 0], (4, 1))
    place = first
    for _ in range(8):
        place = registration.step(other, LUMA, place, first)
    assert np.abs(place - true).max() * 16 < 0.35
    assert np.median(np.abs(place - true)) * 16 < 0.1


def test_systems_are_solved_as_numpy_does():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(50, 6, 9))
    matrices, right = half @ half.transpose(0, 2, 1), rng.normal(size=(50, 6))
    expected = np.linalg.solve(matrices, right[..., None])[..., 0]
    np.testing.assert_allclose(registration._solve(matrices, right), expected, rtol=1e-6, atol=1e-9)


def test_a_view_starts_where_its_windows_lie_on_each_other():
    whole, corner = (0.0, 0.0, 1.0), (0.2, 0.0, 0.8)
    assert registration.start(View(whole, whole, False)) == pytest.approx((1, 0, 1, 0))
    # the centre of the whole is that of the window, which is 0.6, 0.4: 0.2 and -0.2 from -1 to 1
    assert registration.start(View(whole, corner, False)) == pytest.approx((0.8, 0.2, 0.8, -0.2))
    assert registration.start(View(corner, whole, False)) == pytest.approx((1.25, -0.25, 1.25, 0.25))


def test_moments_are_those_of_numpy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4000, (2, 3, 8, 8)).astype(np.float32)
    where = rng.random((3, 8, 8)) < 0.7
    found = moments(a, b, where)
    for i in range(3):
        covariance = np.cov(a[i][where[i]], b[i][where[i]]) * (where[i].sum() - 1)
        expected = [covariance[0, 0], covariance[1, 1], covariance[0, 1]]
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-9)
