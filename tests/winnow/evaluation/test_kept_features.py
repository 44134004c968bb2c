"""Features are computed once, are read by all, and deleting them changes nothing."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.winnow.evaluation.conftest import ARM, SET, SIZES
from winnow.evaluation import kept_features
from winnow.evaluation.features import features, open_split
from winnow.evaluation.kept_features import FrozenEncoder
from winnow.training.weights import WEIGHTS


@pytest.fixture
def computed(monkeypatch):
    """The sizes of the splits whose features are computed, not read."""
    sizes = []

    def counting(encoder, data, fabric):
        sizes.append(len(data))
        return features(encoder, data, fabric)

    monkeypatch.setattr(kept_features, "features", counting)
    return sizes


def opened(measured):
    return FrozenEncoder(*measured, ARM, SET)


def path(measured, split="probe"):
    return measured[0].features / ARM / SET / f"{split}.safetensors"


def test_the_second_task_reads_what_the_first_computed_and_pays_the_same(measured, computed):
    first, second = opened(measured), opened(measured)
    fresh, kept = first.split("probe"), second.split("probe")
    assert computed == [SIZES["probe"]]
    data = open_split(measured[0], first.pool, SET, "probe", first.size, measured[1])
    expected = features(first.encoder, data, first.fabric)
    assert torch.equal(fresh.features, expected)
    assert torch.equal(kept.features, expected)
    assert torch.equal(kept.labels, data.labels)
    assert first.flops == second.flops == SIZES["probe"] * first.forward
    path(measured).unlink()
    assert torch.equal(opened(measured).split("probe").features, expected)
    assert len(computed) == 2


def test_other_weights_images_or_settings_are_computed_anew(measured, computed):
    workspace, params = measured
    opened(measured).split("probe")
    weights = workspace.arm(ARM) / WEIGHTS
    save_file({name: value * 2 for name, value in load_file(weights).items()}, weights)
    opened(measured).split("probe")
    workspace.split(SET, "val").replace(workspace.split(SET, "probe"))
    opened(measured).split("probe")
    other = replace(params, run=replace(params.run, precision="bf16-mixed"))
    FrozenEncoder(workspace, other, ARM, SET).split("probe")
    assert computed == [SIZES["probe"]] * 2 + [SIZES["val"]] * 2
    assert len(list(workspace.features.rglob("*"))) == 3, "the folders of arm and set, and one file"


def test_a_damaged_file_is_computed_anew(measured, computed):
    opened(measured).split("val")
    content = path(measured, "val").read_bytes()
    path(measured, "val").write_bytes(content[: len(content) // 2])
    opened(measured).split("val")
    assert len(computed) == 2
    assert path(measured, "val").read_bytes() == content


def test_features_that_are_not_finite_are_one_line_and_not_kept(measured):
    workspace, _ = measured
    weights = workspace.arm(ARM) / WEIGHTS
    save_file({name: value * torch.nan for name, value in load_file(weights).items()}, weights)
    says = (
        r"model.safetensors: the features of 30 of 30 images are not finite \(first uid [0-9a-f]{32}\); its"
    )
    with pytest.raises(ValueError, match=says) as caught:
        opened(measured).split("test")
    assert "\n" not in str(caught.value)
    assert not path(measured, "test").exists()
