"""What becomes of semantic masks: kept as indices, turned with the picture, or dropped with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from winnow.ingest.example import Example, MaskClasses
from winnow.ingest.masks import masks_line, with_mask
from winnow.pool.images import ORIENTATION, standardise
from winnow.pool.masks import VOID

CLASSES = MaskClasses(("road", "sky"), {0: VOID, 7: 0, 300: 1, 9: 1, 255: VOID})


def encoded(image, kind="PNG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def mask(values, kind=np.uint8):
    return encoded(Image.fromarray(np.array(values, kind)))


def placed(data, size=(3, 2), classes=CLASSES, picture=None):
    """What is kept of a mask beside a picture of `size` (width, height), and the counts."""
    file = picture or encoded(Image.new("RGB", size, "red"))
    example, counts = with_mask(Example("a", file, mask=data), file, standardise(file, 10**6), classes)
    kept = None if example.mask is None else np.asarray(Image.open(io.BytesIO(example.mask))).tolist()
    return kept, dict(counts)


def test_values_become_places():
    assert placed(mask([[0, 7, 9], [255, 7, 9]])) == ([[255, 0, 1], [255, 0, 1]], {"masks": 1})


def test_the_index_of_a_palette_counts_and_16_bit_is_read():
    image = Image.fromarray(np.array([[7, 9, 9], [0, 7, 7]], np.uint8), "P")
    image.putpalette([200, 10, 10] * 256)
    assert placed(encoded(image))[0] == [[0, 1, 1], [255, 0, 0]]
    assert placed(mask([[300, 300, 7], [7, 7, 7]], np.uint16))[0] == [[1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (mask([[0, 7, 8], [0, 7, 7]]), "unknown_class"),
        (mask([[0, 0, 255], [0, 0, 0]]), "void_only"),
        (mask([[7] * 9]), "other_size"),
        (encoded(Image.new("RGB", (3, 2))), "colours"),
        (b"", "unreadable"),
        (mask([[7, 7, 7], [7, 7, 7]])[:40], "unreadable"),
    ],
)
def test_a_mask_that_cannot_be_used_is_dropped_with_its_reason(data, reason):
    kept, counts = placed(data)
    assert kept is None
    assert counts == {f"masks_dropped_{reason}": 1}
    assert masks_line(counts) == f"0 masks; dropped 1 {reason}"


def test_a_picture_without_a_mask_is_counted_and_one_of_another_source_is_not():
    assert placed(None) == (None, {"pictures_without_mask": 1})
    assert placed(None, classes=None) == (None, {})
    assert masks_line({"masks": 2, "pictures_without_mask": 1}) == "2 masks, 1 pictures without one"
    assert masks_line({"ingested": 3}) is None


def test_a_mask_turns_with_its_picture_and_shrinks_with_it():
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the stored picture is turned a quarter clockwise
    picture = encoded(Image.new("RGB", (3, 2), "red"), "JPEG", exif=exif)
    assert placed(mask([[7, 7, 9], [9, 9, 9]]), picture=picture)[0] == [[1, 0], [1, 0], [1, 1]]
    large = np.repeat(np.repeat(np.array([[7, 7, 9], [9, 9, 9]]), 2, axis=0), 2, axis=1)
    assert placed(mask(large))[0] == [[0, 0, 1], [1, 1, 1]]
