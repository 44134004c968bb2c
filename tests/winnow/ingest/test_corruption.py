import dataclasses
import io
from collections import Counter

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import smooth
from winnow.config.datasets import Corruption
from winnow.ingest.corruption import NEAR, corrupt, trusted
from winnow.ingest.example import Example
from winnow.pool import images

CLASSES = ["cat", "dog", "owl"]
CAPTIONS = [f"a photo of a {name}" for name in CLASSES]
DEFAULT = Corruption(
    wrong_label=0.4, noise=0.07, permuted=0.07, blank=0.02, exact_duplicate=0.03, near_duplicate=0.03
)
KINDS = [field.name for field in dataclasses.fields(Corruption)]


IMAGE = images.to_png(smooth("L", (28, 28)))


def example(key, label=0):
    return Example(key, IMAGE, "train", label, CAPTIONS[label])


def corrupted(keys, corruption=DEFAULT, seed=0):
    return {key: corrupt(example(key), corruption, CLASSES, seed, CAPTIONS) for key in keys}


def only(kind):
    return Corruption(**{kind: 1.0})


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.slow
def test_shares_are_those_of_the_params():
    n = 20_000
    counts = Counter(kind for made in corrupted(map(str, range(n))).values() for _, kind in made)
    for kind in KINDS:
        expected = getattr(DEFAULT, kind)
        deviation = (expected * (1 - expected) / n) ** 0.5  # binomial
        assert counts[kind] / n == pytest.approx(expected, abs=4 * deviation), kind
    assert sum(counts.values()) == n + counts["exact_duplicate"] + counts["near_duplicate"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=20),
    st.randoms(),
    st.integers(0, 2**31 - 1),
)
def test_neither_order_nor_the_other_examples_matter(keys, shuffle, seed):
    shuffled = shuffle.sample(keys, len(keys))
    one, other = corrupted(keys, seed=seed), corrupted(shuffled, seed=seed)
    assert one == {key: other[key] for key in keys}
    for key in keys:
        assert corrupted([key], seed=seed)[key] == one[key]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.builds(Corruption, **{k: st.floats(0, 1) for k in KINDS}), st.integers(0, 99))
def test_one_corruption_at_most_and_copies_follow_a_clean_original(corruption, key):
    made = corrupt(example(str(key)), corruption, CLASSES, 0, CAPTIONS)
    original, kind = made[0]
    assert original.key == str(key)
    assert len(made) == 1 or kind is None
    assert [kind for _, kind in made[1:]] == sorted({kind for _, kind in made[1:]})
    assert {copy.key for copy, _ in made[1:]} <= {f"{key}-copy", f"{key}-near"}


def test_seeds_differ():
    keys = [str(i) for i in range(200)]
    assert corrupted(keys, seed=0) != corrupted(keys, seed=1)


def test_shares_of_zero_change_nothing():
    assert all(made == [(example(key), None)] for key, made in corrupted("abcdef", Corruption()).items())


def test_wrong_labels_are_even_over_the_other_classes_and_captions_follow():
    made = corrupted(map(str, range(3000)), only("wrong_label"))
    labels = Counter(variants[0][0].label for variants in made.values())
    assert labels[0] == 0
    # binomial(3000, 1/2) has a standard deviation of 27.4
    assert labels[1] == pytest.approx(1500, abs=4 * 27.4)
    for [(one, kind)] in made.values():
        assert (kind, one.caption, one.image) == ("wrong_label", CAPTIONS[one.label], IMAGE)


def test_free_captions_are_swapped():
    free = Example("k", IMAGE, caption="a heron at dawn")
    assert corrupt(free, only("wrong_label"), [], 0, (), "two cups") == [
        (dataclasses.replace(free, caption="two cups"), "wrong_label")
    ]
    labelled = dataclasses.replace(free, label=2)
    [(one, kind)] = corrupt(labelled, only("wrong_label"), CLASSES, 0, (), "two cups")
    assert (one.caption, kind) == ("two cups", "wrong_label")
    assert one.label in (0, 1)


@pytest.mark.parametrize(
    ("one", "classes"),
    [
        (Example("k", IMAGE), CLASSES),
        (Example("k", IMAGE, caption="the first caption seen"), []),
        (Example("k", IMAGE, label=0), ["the only class"]),
    ],
)
def test_what_cannot_be_mislabelled_stays_clean(one, classes):
    assert corrupt(one, only("wrong_label"), classes, 0) == [(one, None)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_junk_is_what_it_says(mode):
    original = np.asarray(smooth(mode, (12, 9)))
    one = Example("k", images.to_png(smooth(mode, (12, 9))), label=1, caption=CAPTIONS[1])

    def junk(kind):
        [(made, recorded)] = corrupt(one, only(kind), CLASSES, 0, CAPTIONS)
        assert (recorded, made.label, made.caption, made.key) == (kind, 1, CAPTIONS[1], "k")
        assert pixels(made.image).shape == original.shape
        return pixels(made.image)

    assert len(np.unique(junk("blank"))) == 1
    assert junk("noise").std() == pytest.approx(256 / 12**0.5, rel=0.15)  # of a uniform draw from 0..255
    flat = original.reshape(108, -1)
    permuted = junk("permuted").reshape(108, -1)
    assert not np.array_equal(permuted, flat)
    assert sorted(map(tuple, permuted.tolist())) == sorted(map(tuple, flat.tolist()))


def test_copies():
    made = corrupt(example("k"), Corruption(exact_duplicate=1.0, near_duplicate=1.0), CLASSES, 0, CAPTIONS)
    kinds = {copy.key: kind for copy, kind in made}
    assert kinds == {"k": None, "k-copy": "exact_duplicate", "k-near": "near_duplicate"}
    assert made[1][0].image is IMAGE
    assert made[2][0].image != IMAGE
    assert {(e.label, e.caption) for e, _ in made} == {(0, CAPTIONS[0])}


@pytest.mark.parametrize("make", NEAR)
@pytest.mark.parametrize("size", [(28, 28), (64, 48), (1, 1), (2, 5), (300, 1)])
def test_near_duplicates_keep_the_size(make, size):
    for mode in ("L", "RGB"):
        data = make(np.asarray(smooth(mode, size)), np.random.default_rng(0))
        assert pixels(data).shape[:2] == size[::-1]
        assert images.standardise(data, 10**6).data == data


@pytest.mark.parametrize("make", NEAR)
def test_near_duplicates_look_alike(make):
    from sklearn.datasets import load_sample_image

    original = Image.fromarray(load_sample_image("flower.jpg")).resize((96, 64))
    for seed in range(8):
        near = images.decode(make(np.asarray(original), np.random.default_rng(seed)))
        # two random pictures differ in 32 of the 64 bits on average
        assert imagehash.phash(near) - imagehash.phash(original) <= 12


def test_trusted_is_a_share_that_only_grows():
    keys = [str(i) for i in range(5000)]
    small = {key for key in keys if trusted(key, 0.2, 0)}
    large = {key for key in keys if trusted(key, 0.5, 0)}
    assert small < large
    assert len(small) == pytest.approx(1000, abs=4 * 28.3)  # binomial(5000, 0.2): standard deviation 28.3
    assert not any(trusted(key, 0.0, 0) for key in keys)
    assert all(trusted(key, 1.0, 0) for key in keys)
