"""Randomness by name, and devices that are not there."""

import pytest
import torch

from winnow.config.schema import Run
from winnow.training.device import generator, launch, reseed


def test_a_generator_depends_on_its_name_alone():
    def draw(*name):
        return torch.rand(4, generator=generator(*name)).tolist()

    first = draw(3, "views", 7)
    torch.rand(10)
    assert draw(3, "views", 7) == first
    others = [draw(3, "views", 8), draw(3, "score", 7), draw(37, "views"), draw("3", "views", 7)]
    assert first not in others
    assert len({tuple(numbers) for numbers in others}) == len(others)


def test_the_global_generator_is_seeded_by_name_too():
    reseed(3, "train", 1)
    first = torch.rand(4)
    reseed(3, "train", 2)
    assert not torch.equal(torch.rand(4), first)
    reseed(3, "train", 1)
    assert torch.equal(torch.rand(4), first)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(
        ValueError, match="run.accelerator: 'cuda', but torch sees no GPU; set it to auto or cpu"
    ):
        launch(Run(accelerator="cuda"))
    assert launch(Run(accelerator="auto")).device.type == "cpu"
