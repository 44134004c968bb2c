"""Finished references: what one run trained scores for another."""

import dataclasses
import json

import pytest
import torch

from stages import reference
from stages.params import ParamsError, Policy, Run, parse
from stages.training.device import launch
from stages.training.scorers import reference_method


@pytest.fixture
def trained(digits, digits_params, tmp_path):
    """Parameters that name a folder with a finished reference of `supervised`, and the reference itself."""
    settings = dataclasses.replace(digits_params.reference, backbone="test_resnet", examples=256, after=str(tmp_path))
    params = dataclasses.replace(digits_params, reference=settings)
    loop, spent = reference.train(params, launch(Run(accelerator="cpu", threads=1)), "supervised", digits())
    (tmp_path / "supervised").mkdir()
    reference._save(loop.objective, tmp_path / "supervised" / reference.FILES["reference"])
    (tmp_path / "supervised" / "reference.json").write_text(json.dumps({"train_flops": spent}))
    return params, loop, spent


def test_a_finished_reference_is_taken_with_its_price(trained, digits):
    params, loop, spent = trained
    taken, price = reference.finished(params, loop.fabric, "supervised", digits().classes, "reference")
    assert price == spent > 0
    first, *_ = reference.score(params, loop.fabric, loop.objective, digits(), "supervised")
    second, *_ = reference.score(params, loop.fabric, taken, digits(), "supervised")
    assert torch.equal(first, second)


def test_a_reference_that_is_missing_or_does_not_fit_is_one_line(trained, digits):
    params, loop, _ = trained
    with pytest.raises(ValueError, match=r"reference.after: .*twin.safetensors is no finished twin") as caught:
        reference.finished(params, loop.fabric, "supervised", digits().classes, "twin")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="reference.after: .* fits neither this backbone, method nor number of classes") as caught:
        reference.finished(params, loop.fabric, "supervised", 37, "reference")
    assert "\n" not in str(caught.value)


def test_losses_that_are_not_finite_are_named(trained, digits, tmp_path, monkeypatch):
    params, loop, _ = trained
    monkeypatch.setattr(reference.unfinite, "FOLDER", tmp_path / "kept")
    with torch.no_grad():
        loop.objective.head.bias.fill_(float("inf"))
    says = f"reference of supervised: {len(digits())} losses are not finite, uids .*; lower methods.supervised.lr"
    with pytest.raises(ValueError, match=says):
        reference.score(params, loop.fabric, loop.objective, digits(), "supervised")


def test_the_last_chunk_of_a_contrastive_reference_is_as_large_as_the_others(digits, digits_params, monkeypatch):
    """NT-Xent among fewer is less: the last examples would look easier. Expected: their losses in a chunk with those before them."""
    monkeypatch.setattr(reference, "CHUNK", 64)
    settings = dataclasses.replace(digits_params.reference, backbone="test_resnet", examples=128)
    params = dataclasses.replace(digits_params, reference=settings)
    fabric, data = launch(Run(accelerator="cpu", threads=1)), digits("simclr")
    objective = reference.train(params, fabric, "simclr", data)[0].objective
    losses, (first, _), _ = reference.score(params, fabric, objective, data, "simclr")
    assert len(losses) == len(first) == len(data)
    rest = len(data) % 64
    assert 0 < rest < 32
    assert losses[-rest:].mean() == pytest.approx(float(losses[:-rest].mean()), abs=0.5)


def test_an_arm_reads_the_pair_of_the_method_that_its_after_names(digits_params):
    raw = dataclasses.asdict(digits_params)
    raw["policies"]["easy"] = dataclasses.asdict(Policy("easy", ratio=0.5, scorer="frozen"))
    raw["arms"]["simclr-easy"] = {**raw["arms"]["simclr-uniform"], "policy": "easy", "after": "results/reference/models/supervised"}
    arms = parse(raw).arms
    assert reference_method(arms["simclr-easy"]) == "supervised"
    assert reference_method(arms["simclr-uniform"]) == "simclr"
    raw["arms"]["simclr-easy"]["after"] = "results/reference/models/dino"
    with pytest.raises(ParamsError, match="arms.simclr-easy.after: 'results/reference/models/dino' is unknown; allowed: .*supervised"):
        parse(raw)
