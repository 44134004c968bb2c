"""Randomness by name, memory formats, and devices that are not there."""

import copy
import resource
import sys

import numpy as np
import pytest
import torch

from models.encoders import create
from winnow.config.schema import Run
from winnow.training.device import arrange, generator, launch, reseed


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


@pytest.mark.parametrize(
    ("name", "side", "last"), [("test_resnet", 64, True), ("test_resnet", 63, False), ("test_vit", 64, False)]
)
def test_large_convolutional_networks_train_in_channels_last(name, side, last):
    """Expected: the very network in the usual format, after a step of the fused optimiser on each."""
    torch.manual_seed(0)
    usual = create(name, side)
    arranged, images = copy.deepcopy(usual), torch.randn(4, 3, side, side)
    arrange(arranged, side)
    weight = max(arranged.parameters(), key=lambda one: one.ndim * one.numel())
    assert not last or weight.is_contiguous(memory_format=torch.channels_last)
    for network in (usual, arranged):
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        network(images).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(usual.eval()(images), arranged.eval()(images), atol=1e-2, rtol=1e-2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's memory")
def test_freed_memory_is_reused_without_the_kernel():
    """64 MB are 15,625 pages, which would else be cleared anew."""
    launch(Run(accelerator="cpu", threads=1))
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.empty(64_000_000, np.uint8).fill(1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 4000
