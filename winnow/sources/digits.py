"""scikit-learn's bundled 1,797 handwritten digits, 8 x 8 pixels, 10 classes: no download; for tests, demos.

From: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine
Learning Repository, 1998 (doi 10.24432/C50P49), as `sklearn.datasets.load_digits` holds it. Licence: CC BY
4.0. Checksum: SHA-256 of the pixels as uint8 and of the labels as uint8, in order, `SHA256`; another release
with other data is refused. Values 0..16 are scaled to 0..255. The first 1,437 are the train split, the other
360 the test split.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from winnow.config.datasets import Dataset
from winnow.ingest.example import Example
from winnow.pool.images import to_png

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TRAIN = 1437
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def classes(config: Dataset) -> list[str]:
    """The digits' names."""
    return list(NAMES)


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [f"a photo of the digit {name}" for name in NAMES]


def read(config: Dataset) -> Iterator[Example]:
    """Yield the digits in scikit-learn's order; keys `train-00000`, `test-00000`, ...

    Raises:
        ValueError: if scikit-learn's data are not those of `SHA256`.
    """
    from sklearn.datasets import load_digits  # here, because it costs a second

    bunch = load_digits()
    pixels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    found = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    if found != SHA256:
        raise ValueError(f"dataset.source: digits: scikit-learn's have SHA-256 {found}, expected {SHA256}")
    grey = np.rint(pixels * (255 / 16)).astype(np.uint8)
    texts = captions(config)
    for i, (image, label) in enumerate(zip(grey, labels.tolist(), strict=True)):
        split, number = ("train", i) if i < TRAIN else ("test", i - TRAIN)
        yield Example(f"{split}-{number:05d}", to_png(Image.fromarray(image)), split, label, texts[label])
