import contextlib
import hashlib
import io
import struct
import zipfile
import zlib

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import encode, smooth
from winnow.pool import images
from winnow.pool.images import StoredImage, UnusableImage, decode, measure, standardise, statistics

LIMIT = 1_000_000


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows):
    """A png by hand: PNG specification, section 11.2 (IHDR, IDAT, IEND)."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "ext"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_eight_bit_grey_and_rgb_are_kept_byte_for_byte(kind, ext, mode):
    data = encode(smooth(mode), kind)
    assert standardise(data, LIMIT) == StoredImage(data, ext, 24, 16, None)


def palette_with_transparency():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putpixel((0, 0), 1)
    return encode(image, "PNG", transparency=1)


def animated(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


CONVERTED = {
    "cmyk": (encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95), "cmyk", (254, 0, 0)),
    "palette": (encode(Image.new("P", (8, 8), 0), "PNG"), "palette", (0, 0, 0)),
    "palette, transparency": (palette_with_transparency(), "palette+transparency", (255, 255, 255)),
    "half transparent": (
        encode(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), "PNG"),
        "transparency",
        (127, 127, 127),
    ),
    "grey and alpha": (encode(Image.new("LA", (8, 8), (9, 0)), "PNG"), "transparency", (255, 255, 255)),
    "transparent webp": (
        encode(Image.new("RGBA", (8, 8), (9, 9, 9, 0)), "WEBP"),
        "transparency",
        (255, 255, 255),
    ),
    "animated gif": (animated("GIF"), "gif+first_frame+palette", (255, 0, 0)),
    "animated webp": (animated("WEBP"), "first_frame", (255, 0, 0)),
    "gif": (encode(Image.new("L", (8, 8), 77), "GIF"), "gif+palette", (77, 77, 77)),
    "bmp": (encode(Image.new("RGB", (8, 8), (1, 2, 3)), "BMP"), "bmp", (1, 2, 3)),
    "tiff": (encode(Image.new("RGB", (8, 8), (1, 2, 3)), "TIFF"), "tiff", (1, 2, 3)),
    "one bit": (encode(Image.new("1", (8, 8), 1), "PNG"), "1bit", (255, 255, 255)),
    # 16-bit values 0xABCD: the high byte is 0xAB = 171
    "16-bit grey": (png(2, 1, 16, 0, b"\0" + b"\xab\xcd" * 2), "16bit", (171, 171, 171)),
    "16-bit colour": (png(1, 1, 16, 2, b"\0" + b"\xab\xcd\x01\xff\xff\x00"), "16bit", (171, 1, 255)),
}


@pytest.mark.parametrize(("data", "how", "colour"), CONVERTED.values(), ids=CONVERTED.keys())
def test_everything_else_is_converted_by_the_stated_rule(data, how, colour):
    stored = standardise(data, LIMIT)
    assert stored.ext == "png"
    assert stored.converted == how
    assert decode(stored.data).getpixel((0, 0)) == pytest.approx(colour, abs=2)
    again = standardise(stored.data, LIMIT)
    assert (again.data, again.converted) == (stored.data, None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind):
    exif = Image.Exif()
    # EXIF 2.3, table 6: the 0th row is the right-hand side, so the picture is shown turned clockwise
    exif[0x0112] = 6
    stored = standardise(encode(smooth(size=(24, 16)), kind, exif=exif), LIMIT)
    assert (stored.width, stored.height, stored.converted) == (16, 24, "orientation")
    assert (decode(stored.data).size) == (16, 24)


def test_a_broken_exif_block_does_not_cost_the_picture():
    data = encode(smooth(), "JPEG", exif=b"Exif\0\0garbage")
    assert standardise(data, LIMIT).data == data


def cut(data, share):
    return data[: int(len(data) * share)]


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
BOMB = png(60_000, 60_000, 1, 0, bytes(7501) * 100)  # 3.6 gigapixels announced in under a kilobyte
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
REFUSED = {
    "zero bytes": (b"", "empty"),
    "text": (b"this is not a picture\n" * 50, "not_an_image"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", "not_an_image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image"),
    "eps, which would start Ghostscript": (EPS, "not_an_image"),
    "truncated jpg": (cut(encode(NOISE, "JPEG"), 0.5), "truncated"),
    "truncated png": (cut(encode(NOISE, "PNG"), 0.5), "truncated"),
    "truncated webp": (cut(encode(NOISE, "WEBP"), 0.5), "truncated"),
    "truncated bmp": (cut(encode(NOISE, "BMP"), 0.5), "truncated"),
    "truncated gif": (cut(encode(NOISE, "GIF"), 0.5), "truncated"),
    "header of a jpg": (encode(NOISE, "JPEG")[:12], "unreadable"),
    "signature of a png": (b"\x89PNG\r\n\x1a\n", "unreadable"),
    "damaged png": (encode(NOISE, "PNG").replace(b"IDAT", b"IDAX"), "unreadable"),
    "decompression bomb": (BOMB, "too_many_pixels"),
    "float tiff": (encode(Image.new("F", (4, 4), 0.5), "TIFF"), "unsupported_mode"),
    "32-bit tiff": (encode(Image.new("I", (4, 4), 70_000), "TIFF"), "unsupported_mode"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_unusable_images_have_a_stable_reason(data, reason):
    with pytest.raises(UnusableImage) as caught:
        standardise(data, LIMIT)
    assert caught.value.reason == reason


def test_a_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch):
    assert len(BOMB) < 2000
    monkeypatch.setattr(images, "_load", lambda image: pytest.fail("decoded"))
    with pytest.raises(UnusableImage, match="too_many_pixels"):
        standardise(BOMB, 100_000_000)


def test_max_pixels_is_the_largest_that_fits():
    data = encode(smooth(size=(24, 16)), "PNG")
    assert standardise(data, 24 * 16).width == 24
    with pytest.raises(UnusableImage, match="too_many_pixels"):
        standardise(data, 24 * 16 - 1)


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (3, 2)])
def test_extreme_shapes_are_measured(size):
    measured = measure(encode(Image.new("L", size, 100), "PNG"), LIMIT)
    assert (measured.stored.width, measured.stored.height) == size
    assert measured.statistics.std == measured.statistics.sharpness == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_never_raise_anything_else(data):
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
    broken = bytearray(encode(smooth(), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnusableImage):
        measure(bytes(broken), LIMIT)


def test_statistics_agree_with_numpy_and_imagehash():
    found = statistics(NOISE)
    grey = np.asarray(NOISE.convert("L"), np.float64)
    assert found.std == pytest.approx(grey.std(), rel=1e-12)  # oracle: numpy
    assert found.mean == pytest.approx(grey.mean(), rel=1e-12)
    assert found.phash.hex() == str(imagehash.phash(NOISE, hash_size=16))  # oracle: the library's own hex


def test_measure_is_standardise_with_statistics_and_uid():
    data = encode(smooth("CMYK"), "JPEG")
    measured = measure(data, LIMIT)
    assert measured.stored == standardise(data, LIMIT)
    assert measured.statistics == statistics(decode(measured.stored.data))
    assert measured.uid == hashlib.sha256(measured.stored.data).hexdigest()[:32]


def test_decode_gives_rgb():
    assert decode(encode(smooth("L"), "PNG")).mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_is_also_an_archive_is_stored_as_a_picture_alone(kind):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("page.html", "<script>")
    picture = encode(NOISE, kind)
    both = picture + archive.getvalue()
    assert zipfile.is_zipfile(io.BytesIO(both))
    stored = standardise(both, 10_000)
    assert (stored.data, stored.converted) == (picture, "tail")
    assert measure(both, 10_000).uid == measure(picture, 10_000).uid
