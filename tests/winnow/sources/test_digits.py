import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from winnow.config.datasets import Dataset
from winnow.sources import digits


def test_digits_are_those_of_scikit_learn():
    config = Dataset("digits")
    examples = list(digits.read(config))
    assert Counter(example.split for example in examples) == {"train": 1437, "test": 360}
    assert len({example.key for example in examples}) == 1797
    first = examples[0]
    pixels = np.asarray(Image.open(io.BytesIO(first.image)))
    # sklearn.datasets.load_digits().images[0][0] is 0 0 5 13 9 1 0 0; 16 becomes 255
    assert pixels.dtype == np.uint8
    assert pixels[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert (first.key, first.label, first.caption) == ("train-00000", 0, "a photo of the digit zero")
    assert examples[1437].key == "test-00000"
    assert digits.classes(config)[7] == "seven"


def test_other_digits_are_refused(monkeypatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=f"SHA-256 [0-9a-f]{{64}}, expected {'0' * 64}"):
        next(digits.read(Dataset("digits")))
