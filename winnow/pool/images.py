"""What an image must be to enter the pool: the one place where image bytes are judged, converted and decoded.

The format is read from the bytes, never from a file name. A jpg, png or webp that Pillow opens as 8-bit grey
or RGB is stored byte for byte. Anything else in `FORMATS` is converted and stored as png (except for `tail`);
`converted` says how, joined by "+":

    bmp, gif, tiff, ...   another file format
    first_frame           animated: all frames but the first are left out
    16bit                 the high byte of every value
    cmyk, palette, ycbcr  to RGB
    1bit                  to grey
    transparency          composited on white
    orientation           the EXIF orientation is applied to the pixels
    tail                  what followed the picture in its file is cut off (an archive, a page:
                          winnow/pool/trailing_bytes.py); the picture's own bytes stay

32-bit integer and float images have no defined range and are refused. So is an image of more than
`max_pixels`, by its header and before a pixel is decoded. The second picture of an MPO (a stereo or preview
pair in a jpg) is ignored, as viewers do.
"""

import contextlib
import io
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from winnow.pool import trailing_bytes, uids

# Pillow warns at 89 million pixels and raises at twice that; here `max_pixels` decides, before decoding.
Image.MAX_IMAGE_PIXELS = None

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
KEPT = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
JPEG = b"\xff\xd8\xff"
MAGIC = (JPEG, b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
MODES = {"CMYK": "cmyk", "P": "palette", "PA": "palette", "YCbCr": "ycbcr", "1": "1bit"}
MODES |= {"I;16": "16bit", "I;16B": "16bit", "I;16L": "16bit"}
ORIENTATION = 0x0112
EXIF = {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"}
HASH_BITS = 256  # of the perceptual hash; winnow/filters/near_duplicate.py says why 64 are too few
SHARP_SIDE = 256
STRIP = 256  # rows composited at once
LEVELS = np.arange(256, dtype=np.float64)


class UnusableImage(Exception):
    """An image that cannot enter the pool; `reason` is short and stable, fit for a table of counts.

    Reasons: empty, not_an_image, unreadable, truncated, too_many_pixels, unsupported_mode.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class StoredImage:
    """Image bytes as the pool keeps them: `ext` is jpg, png or webp, `converted` None if untouched."""

    data: bytes
    ext: str
    width: int
    height: int
    converted: str | None = None


@dataclass(frozen=True)
class Statistics:
    """What filters read of an image's pixels.

    `mean` and `std` are of the grey levels, 0 to 255; `sharpness` is the variance of their Laplacian at no
    more than `SHARP_SIDE` pixels a side, so that one threshold fits all sizes; `phash` is `imagehash.phash`
    in `HASH_BITS` / 8 bytes, its bits as in the library's own hex form: row by row, the first bit highest.
    """

    mean: float
    std: float
    sharpness: float
    phash: bytes


@dataclass(frozen=True)
class Measured:
    """A stored image, its uid, and what the index keeps of its pixels."""

    stored: StoredImage
    uid: str
    statistics: Statistics


def standardise(data: bytes, max_pixels: int) -> StoredImage:
    """Bring image bytes to what the pool stores, by the rule above.

    Raises:
        UnusableImage: with its reason, and no other error, whatever the bytes are.
    """
    return _standardise(data, max_pixels)[0]


def measure(data: bytes, max_pixels: int) -> Measured:
    """`standardise`, the uid and the `statistics`, decoding the pixels only once.

    Raises:
        UnusableImage: as `standardise`.
    """
    stored, image = _standardise(data, max_pixels)
    try:
        grey = image if image.mode == "L" else image.convert("L")
        del image  # 400 MB for 100 megapixels: what follows copies the grey levels again
        measured = statistics(grey)
    except MemoryError:
        raise UnusableImage("too_many_pixels") from None
    return Measured(stored, uids.of(stored.data), measured)


def decode(data: bytes) -> Image.Image:
    """The RGB image in bytes that `standardise` returned.

    Raises:
        OSError: if the bytes are no image.
    """
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")  # convert() would copy


def decode_scaled(data: bytes, least: int) -> np.ndarray:
    """The image as uint8 (height, width, 3); a jpg scaled down while it is decoded.

    A jpg is decoded at the smallest number of eighths of its sides, rounded up to whole pixels, at which both
    sides are still `least` or more. libjpeg-turbo then makes M x M pixels instead of 8 x 8 from the low
    frequencies of each block. That is a sharp filter for each block, neither bicubic nor box, so the pixels
    differ from those of a full decode that is resized: on photographs by 2 grey levels on average, at the
    sharpest edges by 50. A jpg that is too small for this is decoded in full, to the pixels of `decode`, as
    png and webp always are.
    """
    if data.startswith(JPEG):
        import simplejpeg  # here, because only loaders need it

        sides = {"min_height": least, "min_width": least}
        with contextlib.suppress(ValueError):  # a rare kind of jpg that Pillow may know
            pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", strict=False, **sides)
            return pixels
    return np.array(decode(data))


def to_png(image: Image.Image) -> bytes:
    """Encode as png: equal pixels give equal bytes, for one release of Pillow and zlib."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def orientation(data: bytes) -> tuple[int, tuple[int, int]]:
    """The EXIF orientation of an image, 1 to 8, and its width and height before that is applied.

    Raises:
        OSError: if the bytes are no image.
    """
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    image.load()  # a png may keep its EXIF behind the pixels
    return _orientation(image), image.size


def statistics(image: Image.Image) -> Statistics:
    """Measure a decoded image."""
    import imagehash  # here, because it and scipy would cost every reader of a pool 0.4 s

    grey = image if image.mode == "L" else image.convert("L")
    bits = imagehash.phash(grey, hash_size=math.isqrt(HASH_BITS)).hash
    return Statistics(*_levels(grey), _sharpness(grey), np.packbits(bits).tobytes())


def _sharpness(grey: Image.Image) -> float:
    from scipy.ndimage import laplace

    factor = -(-max(grey.size) // SHARP_SIDE)
    small = grey.reduce(factor) if factor > 1 else grey
    return float(laplace(np.asarray(small, np.float32)).var(dtype=np.float64))


def _levels(grey: Image.Image) -> tuple[float, float]:
    """Mean and standard deviation, from counts of the levels: exact, without a float for each pixel."""
    counts = np.array(grey.histogram(), np.float64)
    total = counts.sum()
    mean = counts @ LEVELS / total
    return float(mean), float(np.sqrt(counts @ (LEVELS - mean) ** 2 / total))


def _standardise(data: bytes, max_pixels: int) -> tuple[StoredImage, Image.Image]:
    try:
        image = _open(data, max_pixels)
        converted = _differences(image, data)
        _load(image)
        if _orientation(image) != 1:  # after loading: a png may keep its EXIF behind the pixels
            converted.append("orientation")
        image = _converted(image, converted)
        kept = KEPT.get(image.format or "")
        if kept and not converted:
            whole = data if image.format == "MPO" else trailing_bytes.cut(data, kept)
            return StoredImage(whole, kept, *image.size, None if whole is data else "tail"), image
        return StoredImage(to_png(image), "png", *image.size, "+".join(converted)), image
    except UnusableImage:
        raise
    except MemoryError:
        raise UnusableImage("too_many_pixels") from None
    except Exception:  # on hostile bytes decoders raise anything from struct.error to RecursionError
        raise UnusableImage("unreadable") from None


def _open(data: bytes, max_pixels: int) -> Image.Image:
    """Read the header only."""
    if not data:
        raise UnusableImage("empty")
    if data[:4] == b"RIFF" and len(data) >= 12 and struct.unpack("<I", data[4:8])[0] + 8 > len(data):
        raise UnusableImage("truncated")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnusableImage("unreadable" if data.startswith(MAGIC) else "not_an_image") from None
    if image.width * image.height > max_pixels:
        raise UnusableImage("too_many_pixels")
    return image


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, SyntaxError, EOFError) as error:
        cut = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise UnusableImage("truncated" if cut else "unreadable") from None


def _differences(image: Image.Image, data: bytes) -> list[str]:
    """How an image just opened differs from what is stored byte for byte; `_converted` removes each."""
    kinds = [] if image.format in KEPT else [str(image.format).lower()]
    if getattr(image, "is_animated", False) and image.format != "MPO":
        kinds.append("first_frame")
    if image.mode in MODES:
        kinds.append(MODES[image.mode])
    elif image.format == "PNG" and data[24] == 16:  # IHDR's bit depth, which Pillow hides for colour
        kinds.append("16bit")
    if "transparency" in image.info or image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        kinds.append("transparency")
    return kinds


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF" or not EXIF.intersection(image.info):  # Pillow turns a TIFF while loading
        return 1
    try:
        value: Any = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a broken EXIF block says nothing about the picture
        return 1
    return value if value in range(1, 9) else 1


def _on_white(image: Image.Image) -> Image.Image:
    """Composited on white, strip by strip: whole copies of a large image would take four times its memory."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result


def _converted(image: Image.Image, kinds: list[str]) -> Image.Image:
    """8-bit grey or RGB, upright; the same object where nothing differs."""
    if "orientation" in kinds:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        high = np.asarray(image).astype(np.uint16) >> 8
        image = Image.fromarray(high.astype(np.uint8))
    if "transparency" in kinds:
        image = _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    if image.mode not in MODES:
        raise UnusableImage("unsupported_mode")
    return image.convert("L" if image.mode == "1" else "RGB")
