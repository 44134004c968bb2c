"""Pictures as squares: by Pillow, and in about half the time by other arithmetic."""

import numpy as np
import pytest

from winnow.loading.pixels import square, square_fast
from winnow.pool import images


@pytest.mark.parametrize(
    ("size", "scaled"),
    [(128, (128, 160)), (112, (112, 140)), (100, (112, 140)), (32, (32, 40)), (16, (16, 20))],
)
def test_a_jpg_comes_in_the_fewest_eighths_that_are_enough(size, scaled, picture):
    """128 x 160 pixels in eighths: 16 x 20 each."""
    data = picture(1, (160, 128), "JPEG")
    assert images.decode_scaled(data, size).shape == (*scaled, 3)
    if size == 128:
        assert np.array_equal(images.decode_scaled(data, size), np.asarray(images.decode(data)))
    exact, fast = square(images.decode(data), size), square_fast(images.decode_scaled(data, size), size)
    assert exact.shape == fast.shape == (3, size, size)
    assert np.abs(exact.astype(int) - fast).mean() < 4  # another picture is 80 levels away


@pytest.mark.parametrize("size", [32, 16, 24, 64])
def test_fast_pictures_of_png_differ_by_rounding_only(size, picture):
    data = picture(1)
    exact = square(images.decode(data), size).astype(int)
    difference = np.abs(exact - square_fast(images.decode_scaled(data, size), size))
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.05


def test_a_picture_of_the_right_size_is_not_touched(picture):
    data = picture(1, (32, 32))
    exact = np.asarray(images.decode(data)).transpose(2, 0, 1)
    assert np.array_equal(square(images.decode(data), 32), exact)
    assert np.array_equal(square_fast(images.decode_scaled(data, 32), 32), exact)


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("L", "PNG"), ("RGB", "WEBP")])
def test_fast_decodes_grey_and_webp(mode, kind, picture):
    data = picture(2, kind=kind, mode=mode)
    assert np.array_equal(images.decode_scaled(data, 32), np.asarray(images.decode(data)))


def test_fast_refuses_what_is_no_picture():
    with pytest.raises(OSError, match="cannot identify"):
        images.decode_scaled(b"\xff\xd8\xff no picture", 32)
