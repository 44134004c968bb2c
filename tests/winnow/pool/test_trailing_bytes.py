"""What follows an image in its own file. Pillow is the encoder: what it wrote is where the image ends."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import encode
from winnow.pool.trailing_bytes import cut

KINDS = {
    "jpg": {"format": "JPEG"},
    "progressive": {"format": "JPEG", "progressive": True},
    "restarts": {"format": "JPEG", "restart_marker_blocks": 1},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP"},
    "lossless": {"format": "WEBP", "lossless": True},
}
EXT = {"progressive": "jpg", "restarts": "jpg", "lossless": "webp"}


def encoded(kind, size=(40, 30), **more):
    noise = np.random.default_rng(size[0] * 1000 + size[1]).integers(0, 256, (*size, 3), np.uint8)
    options = dict(KINDS[kind])
    return encode(noise, options.pop("format"), **options, **more)


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("page.html", "<script>alert(1)</script>")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "tail", [archive(), b"<html>", b"%PDF-1.4", encoded("jpg"), encoded("png"), b"\0\0MZ"]
)
def test_what_follows_is_cut(kind, tail):
    whole = encoded(kind)
    assert cut(whole + tail, EXT.get(kind, kind)) == whole
    assert cut(whole, EXT.get(kind, kind)) is whole


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.sampled_from(list(KINDS)), st.tuples(st.integers(1, 40), st.integers(1, 40)), st.binary(max_size=60)
)
def test_any_size_and_any_tail(kind, size, tail):
    whole, ext = encoded(kind, size), EXT.get(kind, kind)
    found = cut(whole + tail, ext)
    assert found in (whole, whole + tail)
    assert found == whole or not tail.strip(b"\0\r\n\t \xff")


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.sampled_from(["jpg", "png", "webp"]), st.binary(max_size=400))
def test_any_bytes_are_cut_or_left(ext, data):
    assert data.startswith(cut(data, ext))


def test_padding_stays_because_bytes_are_kept_where_nothing_is_wrong():
    whole = encoded("jpg")
    assert cut(whole + b"\0" * 512, "jpg") == whole + b"\0" * 512


def test_the_end_of_a_thumbnail_is_not_the_end():
    """EXIF holds a whole jpg of its own, with its own end marker."""
    whole = encoded("jpg", exif=b"Exif\0\0" + encoded("jpg", (8, 8)))
    assert whole.count(b"\xff\xd9") >= 2
    assert cut(whole + b"<html>", "jpg") == whole
