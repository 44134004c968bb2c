"""Objects follow the picture: the oracle is the stored picture's own pixels, or Pillow turning a mask."""

import dataclasses
import io

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.annotated import drawn
from tests.pictures import encode
from winnow.ingest.example import Example, Object
from winnow.ingest.objects import TURNS, objects_line, with_objects
from winnow.pool import images

BOX = (5, 9, 10, 4)
SIZE = (30, 20)
CORNERS = [5, 9, 15, 9, 15, 13, 5, 13]


def encoded(mask):
    found = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"]}


def decoded(thing, size):
    return rle.decode({"size": size[::-1], "counts": thing.segmentation}).astype(bool)


def placed(objects, data, size=None):
    """The objects in the stored picture, the stored picture, and the counts."""
    stored = images.standardise(data, 10**6)
    one = Example("k", data, objects=tuple(objects), annotated_size=size)
    example, counts = with_objects(one, data, stored)
    return example.objects, stored, dict(counts)


def with_exif(orientation, size=SIZE):
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    return encode(drawn({BOX: "red"}, size), exif=exif)


def red(stored):
    """x, y, width and height of the red pixels."""
    pixels = np.asarray(Image.open(io.BytesIO(stored.data)))
    rows, columns = np.nonzero(pixels[..., 1] == 0)
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_objects_of_the_file_are_turned_with_the_picture(orientation):
    mask = np.zeros(SIZE[::-1], bool)
    mask[9:13, 5:15] = True
    things = [Object(0, BOX), Object(0, None, [CORNERS]), Object(0, None, encoded(mask))]
    found, stored, counts = placed(things, with_exif(orientation), SIZE)
    assert (stored.width, stored.height) == (SIZE if orientation == 1 else SIZE[::-1])
    for thing in found:
        assert thing.box == red(stored)
        assert thing.area == 40
    for thing in found[1:]:
        assert rle.toBbox(
            {"size": [stored.height, stored.width], "counts": thing.segmentation}
        ).tolist() == list(red(stored))
    assert counts["objects"] == 3


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_upright_objects_stay(orientation):
    """Where the named size is that of the picture as viewers show it."""
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(with_exif(orientation)))).size
    (found,), _, _ = placed([Object(0, (1, 2, 3, 4))], with_exif(orientation), shown)
    assert found.box == (1, 2, 3, 4)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(TURNS)), st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_turned_masks_are_those_of_pillow(orientation, width, height, random):
    """`_mask` against ImageOps.exif_transpose of the mask as a picture."""
    from winnow.ingest.objects import Frame, _mask

    mask = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    picture = Image.open(io.BytesIO(encode(Image.fromarray(mask.astype(np.uint8)), exif=exif)))
    frame = Frame((width, height), TURNS[orientation])
    found = _mask(encoded(mask), frame)
    assert np.array_equal(rle.decode(found), np.asarray(ImageOps.exif_transpose(picture)))
    assert frame.stored == ImageOps.exif_transpose(picture).size


def test_objects_of_a_larger_picture_are_scaled():
    stored = drawn({(10, 6, 8, 4): "red"}, (40, 24))
    large = np.zeros((72, 120), bool)
    large[18:30, 30:54] = True
    corners = [30, 18, 54, 18, 54, 30, 30, 30]
    things = [Object(0, (30, 18, 24, 12), [corners], 288.0), Object(0, None, encoded(large))]
    found, _, _ = placed(things, encode(stored), (120, 72))
    for thing in found:
        assert thing.box == pytest.approx((10, 6, 8, 4))
        assert decoded(thing, (40, 24))[6:10, 10:18].all()
        assert decoded(thing, (40, 24)).sum() == 32
        assert thing.area == pytest.approx(32)


def test_a_picture_of_another_shape_is_not_annotated():
    found, _, counts = placed([Object(0, BOX), Object(0, BOX)], encode(drawn({}, SIZE)), (30, 30))
    assert found is None
    assert counts == {"objects_dropped_other_size": 2, "pictures_of_other_size": 1}


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (Object(0, (1, 2, 0, 4)), "degenerate"),
        (Object(0, (1, 2, 3, -4)), "degenerate"),
        (Object(0, (30, 2, 3, 4)), "outside"),
        (Object(0, (-9, 2, 5, 4)), "outside"),
        (Object(0, (1, 2, 3)), "malformed"),
        (Object(0, (1, 2, 3, float("nan"))), "malformed"),
        (Object(0, ("a", 2, 3, 4)), "malformed"),
        (Object(0, None), "malformed"),
        (Object(0, BOX, [[1, 2, 3, 4]]), "malformed"),
        (Object(0, BOX, [5, 6]), "malformed"),
        (Object(0, BOX, {"size": [20, 30], "counts": [1, 2]}), "malformed"),
        (Object(0, BOX, {"size": [20, 30], "counts": "zzzz"}), "malformed"),
        (Object(0, BOX, {"size": [30, 20], "counts": [600]}), "malformed"),
        (Object(0, BOX, "polygon"), "malformed"),
        (Object(0, BOX, None, "large"), "malformed"),
        (Object(0, None, [[40, 40, 50, 40, 50, 50]]), "degenerate"),
    ],
)
def test_what_cannot_be_used_is_dropped_and_counted(thing, why):
    found, _, counts = placed([thing, Object(1, BOX)], encode(drawn({}, SIZE)))
    assert [one.category for one in found] == [1]
    assert counts[f"objects_dropped_{why}"] == 1
    assert f"1 objects in 1 pictures, 0 without any; dropped 1 {why}" == objects_line(counts)


def test_boxes_are_clipped_but_not_for_a_fraction_of_a_pixel():
    boxes = [(25, 15, 10, 10), (-5, 0, 10, 10), (20, 10, 10.5, 10)]
    found, _, counts = placed([Object(0, box) for box in boxes], encode(drawn({}, SIZE)))
    assert [thing.box for thing in found] == [(25, 15, 5, 5), (0, 0, 5, 10), (20, 10, 10.5, 10)]
    assert [thing.area for thing in found] == [25, 50, 105]
    assert counts["objects_clipped"] == 2


def test_no_objects_are_a_negative_and_none_is_no_annotation():
    found, _, counts = placed([], encode(drawn({}, SIZE)))
    assert found == ()
    assert objects_line(counts) == "0 objects in 1 pictures, 1 without any"
    data = encode(drawn({}, SIZE))
    example, counts = with_objects(Example("k", data), data, images.standardise(data, 10**6))
    assert example.objects is None
    assert objects_line(counts) is None


def test_polygons_are_rasterised_as_by_pycocotools():
    oracle = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for _ in range(20):
        polygons = [(random.random(2 * random.integers(3, 9)) * 40 - 5).tolist() for _ in range(2)]
        thing = Object(0, (1, 1, 5, 5), polygons, crowd=True)
        (found,), _, _ = placed([thing], encode(drawn({}, SIZE)))
        wanted = oracle.merge(oracle.frPyObjects(polygons, SIZE[1], SIZE[0]))
        assert found == dataclasses.replace(found, segmentation=wanted["counts"].decode(), crowd=True)
