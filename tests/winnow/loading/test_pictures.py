"""Views of whole pictures: boxes as torchvision draws them, on the stored picture, at its own sharpness."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import laplace
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop, to_image

from tests.fuzzing import FEW
from tests.pictures import encode
from winnow.config.schema import Engine, Params, Run, View
from winnow.ingest.example import Example
from winnow.loading import pictures, views
from winnow.loading.examples import examples
from winnow.loading.noise import Noise
from winnow.loading.pictures import WholePictures, boxes, kept_sides
from winnow.loading.pixels import Pixels

LOCAL, GLOBAL = View(size=128, scale=[0.05, 0.3]), View(size=224, scale=[0.3, 1.0])
CPU = torch.device("cpu")


def noise(count, seed=0):
    return Noise(seed, np.arange(count, dtype=np.uint64))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def photograph():
    """A function: 500 x 375 pixels whose amplitude falls with frequency, as a photograph's does."""

    def make(number, size=(375, 500), kind="JPEG"):
        draw = np.random.default_rng(number)
        frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(side) for side in size), indexing="ij"))
        waves = draw.normal(size=(3, *size)) + 1j * draw.normal(size=(3, *size))
        planes = np.fft.ifft2(waves / np.maximum(frequency, 1 / max(size)) ** 1.6).real
        planes = planes.sum(0) + 0.3 * planes
        pixels = 128 + 50 * (planes - planes.mean()) / planes.std()
        return encode(np.uint8(pixels.clip(0, 255)).transpose(1, 2, 0), kind, quality=92)

    return make


@pytest.fixture(scope="module")
def album(tmp_path_factory, photograph, write):
    """A pool of eight photographs."""
    made = [Example(str(number), photograph(number), label=number) for number in range(8)]
    return write(tmp_path_factory.mktemp("album") / "pool", made)


def opened(pool, size=224, wanted=(GLOBAL, LOCAL), threads=2, cache_gb=0.0):
    uids = [pool.index.uid(row) for row in range(len(pool))]
    params = Params(engine=Engine(cache_gb=cache_gb), run=Run(threads=threads))
    return examples(pool, uids, size, params, views=wanted)


def sharpness(image):
    """Variance of the Laplacian of the grey levels, of (3, S, S)."""
    return laplace(np.asarray(image, np.float64).mean(axis=0)).var()


@FEW
@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.sampled_from([(0.05, 0.3), (0.3, 1.0), (1.0, 1.0)]),
)
def test_a_box_lies_within_its_picture_and_has_an_allowed_shape(side, scale):
    sides = np.repeat(np.array([side]), 8, axis=0)
    top, left, height, width = boxes(sides, scale, noise(8)).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (height >= 1).all()
    assert (width >= 1).all()
    assert (top + height <= side[0]).all()
    assert (left + width <= side[1]).all()
    slack = 0.5 + 1e-6  # of rounding to whole pixels
    assert ((width + slack) / (height - slack).clip(1e-9) >= 3 / 4).all()
    assert ((width - slack) / (height + slack) <= 4 / 3).all()
    assert (height * width <= scale[1] * side[0] * side[1] + (height + width) * slack + 1).all()


@pytest.mark.parametrize("scale", [(0.05, 0.3), (0.3, 1.0)])
def test_boxes_are_distributed_as_torchvisions(scale):
    """Expected: quantiles of 4,000 boxes of `RandomResizedCrop`; tolerance: four standard errors."""
    count, sides = 4000, (375, 500)
    torch.manual_seed(0)
    crop = RandomResizedCrop(1, scale)
    theirs = [crop.make_params([torch.zeros(1, *sides)]) for _ in range(count)]
    expected = np.array([[one["top"], one["left"], one["height"], one["width"]] for one in theirs])
    found = boxes(np.tile(sides, (count, 1)), scale, noise(count))
    for column in range(4):
        for share in np.quantile(expected[:, column], [0.1, 0.5, 0.9]):
            below = [(one[:, column] <= share).mean() for one in (expected, found)]
            assert abs(below[0] - below[1]) < 4 * (2 * 0.25 / count) ** 0.5


@pytest.mark.parametrize("side", [(10, 1000), (1000, 10), (3, 4), (1, 1)])
def test_where_no_draw_fits_the_box_is_torchvisions_central_one(side):
    """Expected: `RandomResizedCrop` of the whole area, of which no draw fits an elongated picture."""
    one = RandomResizedCrop(1, (1.0, 1.0), (1.0, 1.0) if side == (1, 1) else (3 / 4, 4 / 3))
    if side == (3, 4):  # here a draw may fit; the largest box is the whole
        expected = [0, 0, 3, 4]
    else:
        found = one.make_params([torch.zeros(1, *side)])
        expected = [found[name] for name in ("top", "left", "height", "width")]
    sides = np.array([side])
    assert boxes(sides, (1.0, 1.0), noise(1)).tolist() == [expected]


def test_all_of_a_picture_is_seen():
    """The centre square of 500 x 375 pixels is 75 % of them."""
    seen = np.zeros((375, 500), bool)
    for top, left, height, width in boxes(np.tile([375, 500], (1000, 1)), (0.05, 0.3), noise(1000)):
        seen[top : top + height, left : left + width] = True
    assert seen.mean() > 0.99
    assert seen[:, 0].any()
    assert seen[:, -1].any()


@pytest.mark.parametrize(
    "wanted", [GLOBAL, LOCAL, View(size=32, scale=[0.05, 0.3]), View(size=64, scale=[0.3, 1])]
)
def test_a_view_is_as_sharp_as_torchvisions_crop_of_the_original(album, wanted):
    """Expected: the same boxes cut from Pillow's decoding by torchvision; within 5 % in the median."""
    data = opened(album, wanted=[wanted])
    ratios = []
    for draw in range(3):
        batch = data.pixels.get(np.arange(len(album)))
        crops = batch.crops(wanted, batch.noise(gen(draw)))
        for row, view in enumerate(batch.cut([crops])[0]):
            original = to_image(Image.open(io.BytesIO(album.read(row))).convert("RGB"))
            box = crops.boxes[row].tolist()
            theirs = resized_crop(
                original, *box, [wanted.size] * 2, InterpolationMode.BICUBIC, antialias=True
            )
            ratios.append(sharpness(view) / sharpness(theirs))
            assert (view.float() - theirs.float()).abs().mean() < 5  # a box is cut at whole kept pixels
    assert 0.95 < np.median(ratios) < 1.05


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_decoded_to_what_its_views_can_use(kind, tmp_path, photograph, write):
    """Local views of 32 px: the smallest box is 84 px wide (0.05 x 3/4 of the area); 3/8 are too few."""
    pool = write(tmp_path / "pool", [Example("a", photograph(0, kind=kind), label=0)])
    kept = opened(pool, 64, [View(size=32, scale=[0.05, 0.3])]).pixels.get(np.array([0]))
    assert kept.arrays[0].shape == (188, 250, 3)
    assert kept.sides.tolist() == [[375, 500]]
    assert kept_sides(np.array([[375, 500]]), [LOCAL, GLOBAL], 224).tolist() == [[375, 500]]
    assert kept_sides(np.array([[375, 500]]), [View(size=30)], 224).tolist() == [[47, 63]]
    assert kept_sides(np.array([[3000, 4000]]), [LOCAL, GLOBAL], 224).tolist() == [[750, 1000]]


def test_views_depend_on_seed_and_example_alone(album):
    recipe = {
        "g": View(
            count=2, scale=[0.3, 1.0], flip=0.5, jitter=[0.4, 0.4, 0.2, 0.1], grey=0.2, blur=0.5, solarise=0.2
        ),
        "l": View(count=3, size=64, scale=[0.05, 0.3], flip=0.5, jitter=[0.4, 0.4, 0.2, 0.1], blur=0.5),
    }
    indices = np.arange(len(album))
    data = opened(album, 96, list(recipe.values()))
    whole = views.make(data.pixels.get(indices), recipe, gen(3))
    assert not whole["g"][0].equal(whole["g"][1])
    assert [len(draws) for draws in whole.values()] == [2, 3]
    assert whole["g"][0].shape == (8, 3, 96, 96)
    assert whole["l"][2].shape == (8, 3, 64, 64)
    for threads, cache_gb in ((1, 0.0), (4, 1.0)):
        again = opened(album, 96, list(recipe.values()), threads, cache_gb)
        for _ in range(2):
            found = views.make(again.pixels.get(indices), recipe, gen(3))
            assert all(a.equal(b) for name in recipe for a, b in zip(found[name], whole[name], strict=True))
    for part in ([5], [7, 0, 2]):  # another batch: sums may be rounded otherwise
        found = views.make(data.pixels.get(np.array(part)), recipe, gen(3))
        for name in recipe:
            for a, b in zip(found[name], whole[name], strict=True):
                torch.testing.assert_close(a, b[part], atol=1e-5, rtol=0)
    other = views.make(data.pixels.get(indices), recipe, gen(4))
    assert not other["l"][0].equal(whole["l"][0])


def test_a_plain_view_is_the_centre_square(album):
    """Expected: what evaluation sees; a box is filtered without what is beyond it, so borders differ."""
    plain = View(size=96)
    evaluated = Pixels(album, np.arange(8), 96, 0, 1).get(np.arange(8))
    cut = opened(album, 96, [plain]).pixels.get(np.arange(8))
    shown = views.make(cut, {"image": plain}, gen())["image"][0]
    inner = (..., slice(4, -4), slice(4, -4))
    assert ((shown * 127.5 + 127.5)[inner] - evaluated[inner].float()).abs().mean() < 3


def test_pictures_stored_at_the_models_size_are_a_tensor(tmp_path, picture, write):
    """One call cuts a batch of them; every other pool has whole pictures."""
    square = [Example(str(i), picture(i, (16, 16)), label=0) for i in range(3)]
    kinds = [opened(write(tmp_path / "a", square), size, [View(scale=[0.3, 1.0])]) for size in (16, 12)]
    assert [type(data.pixels) for data in kinds] == [Pixels, WholePictures]
    mixed = [*square, Example("b", picture(9, (16, 17)), label=0)]
    assert type(opened(write(tmp_path / "b", mixed), 16, [View()]).pixels) is WholePictures
    assert type(opened(write(tmp_path / "c", mixed), 16, []).pixels) is Pixels


def test_the_cache_counts_what_it_keeps(album):
    size = 8 * 3 * 188 * 250 / 1e9
    small = View(size=32, scale=[0.05, 0.3])
    for cache_gb, cached in ((size, True), (0.99 * size, False)):
        data = opened(album, 64, [small], cache_gb=cache_gb)
        kept = [data.pixels.get(np.arange(8)).arrays[3] for _ in range(2)]
        assert (kept[0] is kept[1]) == cached


def test_the_views_of_a_lost_picture_are_those_of_its_stand_in(stored, damage):
    damage(stored, 4)
    data = opened(stored, 16, [View(scale=[0.3, 1.0])])
    stand_in = int(data.pixels.substituted_indices(np.array([4]))[0])
    lost, other = ([*data.pixels.get(np.array([row])).arrays] for row in (4, stand_in))
    stand_in = int(data.pixels.substituted_indices(np.array([4]))[0])
    assert stand_in != 4
    recipe = {"image": View(scale=[0.3, 1.0], flip=0.5)}
    one, two = (
        data.batch(np.array([row]), data.pixels.get(np.array([row])), recipe, gen(1), CPU).views["image"][0]
        for row in (4, stand_in)
    )
    assert one.equal(two)
    assert len(lost) == len(other) == 1


def test_a_mirrored_view_is_the_other_flipped(album):
    batch = opened(album).pixels.get(np.arange(8))
    plain, mirrored = (
        views.make(batch, {"a": View(scale=[0.2, 0.5], flip=flip)}, gen())["a"][0] for flip in (0, 1)
    )
    assert plain.flip(-1).equal(mirrored)


def test_rows_of_a_batch_are_chosen_by_a_tensor_or_a_slice(album):
    batch = opened(album).pixels.get(np.arange(8))
    for rows in (torch.tensor([6, 1]), slice(2, 5)):
        some = batch[rows]
        assert some.sides.tolist() == batch.sides[np.arange(8)[rows]].tolist()
        assert [
            a is b for a, b in zip(some.arrays, [batch.arrays[i] for i in np.arange(8)[rows]], strict=True)
        ]
        assert len(some) == len(np.arange(8)[rows])


def test_boxes_of_reduced_pictures_stay_within_them():
    """One stored pixel of a picture that is kept at an eighth is less than one kept pixel."""
    array = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)
    for box in ([15, 15, 1, 1], [0, 0, 1, 1], [0, 0, 16, 16]):
        assert pictures._cut(array, np.array([16, 16]), np.array(box), 4).shape == (3, 4, 4)
