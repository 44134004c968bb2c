"""Criteria: each file's formula, in both shapes, and what it depends on."""

import importlib

import pytest
import torch

from winnow.config.plugins import plugins

EXPECTED = {  # by hand for learner loss 3, reference loss 1
    "uniform": 0.0,
    "hard": 3.0,
    "easy": -1.0,
    "learnability": 2.0,
    "rho": 2.0,
    "gradient_norm": 3.0,  # the selector passes the bound in place of the learner's loss
}


def test_every_criterion_is_listed():
    assert set(EXPECTED) == set(plugins("models.criteria"))


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("shape", [(4,), (4, 4)])
def test_formula_and_shape(name, shape):
    module = importlib.import_module(f"models.criteria.{name}")
    learner, reference = torch.full(shape, 3.0), torch.full(shape, 1.0)
    assert torch.equal(module.score(learner, reference), torch.full(shape, EXPECTED[name]))


@pytest.mark.parametrize("name", EXPECTED)
def test_needs_tells_what_the_score_depends_on(name):
    module = importlib.import_module(f"models.criteria.{name}")
    a, b, c = torch.rand(3, 5)
    assert ("learner" in module.NEEDS) == (not torch.equal(module.score(a, b), module.score(c, b)))
    assert ("reference" in module.NEEDS) == (not torch.equal(module.score(a, b), module.score(a, c)))
