"""Image size, splits and batch size that follow the data; expected values are worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.config.proposals import (
    BATCH_PIXELS,
    CAPS,
    KEPT,
    SIDES,
    batch_size,
    image_size,
    propose,
    split_sizes,
)


@pytest.mark.parametrize(
    ("side", "most", "expected"),
    [
        (500, 224, 224),
        (500, 384, 384),
        (375, 384, 320),
        (128, 224, 128),
        (127, 224, 96),
        (8, 224, 28),
    ],
)
def test_image_size_is_the_largest_that_most_pictures_fill(side, most, expected):
    assert image_size([side] * 3, most) == expected


def test_a_few_large_or_small_pictures_change_nothing():
    assert image_size([8, 375, 375, 375, 4000]) == 224


def test_splits_share_what_the_filters_leave():
    """95 % of 400 are 380; of these 4, 5 and 1 tenths."""
    assert split_sizes(400, 0) == {"reference": 152, "probe": 190, "val": 38, "test": 0}
    assert split_sizes(10**6, 10**6) == CAPS
    with pytest.raises(ValueError, match="9 trusted images are too few for reference, probe and val; raise"):
        split_sizes(9, 100)


@pytest.mark.parametrize(
    ("train", "side", "expected"),
    [(60_000, 28, 128), (60_000, 128, 128), (60_000, 224, 32), (500, 28, 32), (40, 28, 8)],
)
def test_a_batch_fits_an_epoch_and_the_memory(train, side, expected):
    """At 224 px 128 x 128^2 / 224^2 = 41.8 images, so 32; of 500 images a tenth is 50, so 32."""
    assert batch_size(train, side) == expected


@given(
    st.lists(st.integers(1, 5000), min_size=1, max_size=20),
    st.integers(20, 10**7),
    st.integers(12, 10**6),
    st.integers(0, 10**6),
)
def test_what_is_proposed_can_be_filled(sides, train, trusted, test):
    found = propose(sides, train, trusted, test)
    assert found.image_size in SIDES
    assert sum(found.splits[name] for name in ("reference", "probe", "val")) <= KEPT * trusted
    assert found.splits["test"] <= test
    assert found.batch_size & (found.batch_size - 1) == 0
    assert found.batch_size == 8 or found.batch_size * found.image_size**2 <= BATCH_PIXELS
    assert "\n" not in found.notice


def test_the_notice_says_what_was_chosen_and_why():
    assert propose([375, 500, 333], 3200, 1280, 800).notice == (
        "fitting: image_size 224 (shorter sides: median 375 px), splits reference 486, probe 608, val 121, "
        "test 800 (of 1,280 trusted and 800 test images), batch_size 32 (3,200 images of 224 px)"
    )
    with pytest.raises(ValueError, match="no picture to choose"):
        propose([], 0, 0, 0)
