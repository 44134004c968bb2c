"""How much two registered pictures say for one shot."""

import numpy as np
import pytest

from tests.winnow.leakage.conftest import scene
from winnow.leakage.agreement import details_agree, lack_of_evidence, pixels_agree
from winnow.leakage.registration import LEVELS, warp
from winnow.leakage.thumbnails import Thumbnails

WHOLE = np.array([[1.0, 0, 1.0, 0]])


def test_of_a_picture_and_itself_everything_agrees_and_nothing_lacks():
    luma = Thumbnails.of([scene(0)]).luma.astype(np.float32)
    for measure in (pixels_agree, details_agree):
        r, deviation, overlap = measure(luma, luma, WHOLE)
        assert (r[0], overlap[0]) == pytest.approx((1, 1))
        assert deviation[0] > 1
    assert pixels_agree(luma, luma, WHOLE)[1][0] == pytest.approx(luma.std(), rel=1e-6)
    assert lack_of_evidence(luma, luma, WHOLE)[0] == 0


def test_a_change_of_light_changes_no_agreement():
    luma = Thumbnails.of([scene(1)]).luma.astype(np.float32) // 2
    for measure in (pixels_agree, details_agree):
        assert measure(luma, 255 - 2 * luma, WHOLE)[0][0] == pytest.approx(-1)
        assert measure(luma, 2 * luma + 3, WHOLE)[0][0] == pytest.approx(1)


def test_a_horizon_lacks_evidence_since_it_agrees_with_itself_moved():
    horizon = np.repeat(np.where(np.arange(32) < 15, 200.0, 60.0)[:, None], 32, axis=1)[None].astype(
        np.float32
    )
    # moved along itself it correlates by the 20 of the 24 columns that stay: more than MOVED
    assert lack_of_evidence(horizon, horizon, WHOLE)[0] > 0.25


def test_a_bird_in_a_blank_sky_lacks_evidence():
    sky = np.full((1, 32, 32), 180, np.float32)
    sky[0, 14:18, 12:20] = 40
    assert 0.1 < lack_of_evidence(sky, sky, WHOLE)[0] <= 0.3


@pytest.mark.parametrize(("stretch", "lack"), [(1.3, 0.0), (1.6, 0.1), (1 / 1.3, 0.0), (0.625, 0.1)])
def test_a_picture_that_must_be_stretched_lacks_evidence(stretch, lack):
    """0.4 for each 1 beyond 1.35, either way and on either side."""
    held = Thumbnails.of([scene(2)]).luma.astype(np.float32)
    for place in (np.array([[stretch, 0, 1.0, 0]]), np.array([[1.0, 0, stretch, 0]])):
        other = warp(held, place)[0] / LEVELS
        assert lack_of_evidence(other, held, place)[0] == pytest.approx(lack, abs=1e-9)
