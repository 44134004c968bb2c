"""Prompts by hand, with a text tower of three words."""

import pytest
import torch

from models.text import tokenize
from winnow.evaluation.prompts import class_embeddings, words


def test_names_become_words():
    given = {"n02084071": "Dog"}
    assert words(["Golden_Retriever", "n02084071"], given) == ["golden retriever", "Dog"]
    with pytest.raises(ValueError, match="'cat' is no class; the classes are dog, bird"):
        words(["dog", "bird"], {"cat": "a cat"})


def test_a_class_is_the_mean_of_its_prompts_of_norm_one():
    """Of templates `{}` and `a {}`, embedded on two axes: the mean lies between them."""
    axes = {"dog": [1.0, 0.0], "a dog": [0.0, 1.0], "cat": [1.0, 0.0], "a cat": [1.0, 0.0]}
    known = {tuple(tokenize([text], 8)[0].tolist()): axis for text, axis in axes.items()}

    def texts(tokens):
        return torch.tensor([known[tuple(row.tolist())] for row in tokens])

    found = class_embeddings(["dog", "cat"], ["{}", "a {}"], 8, texts)
    torch.testing.assert_close(found, torch.tensor([[0.5**0.5, 0.5**0.5], [1.0, 0.0]]))
