"""The towers of an arm from its files, and what is refused."""

from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from tests.loops import weights
from winnow.config.schema import Arm, Run
from winnow.evaluation.towers import ArmTowers
from winnow.pipeline.workspace import Workspace
from winnow.training.build import build
from winnow.training.device import launch
from winnow.training.weights import HEADS, WEIGHTS, save_encoder, save_heads


@pytest.fixture
def arm(start, tmp_path):
    """A function: the towers of an arm whose untrained objective was saved, and the objective."""
    params = replace(start.params, arms={"a": Arm("uniform", "siglip", "test_resnet")})
    folder = Workspace(tmp_path).arm("a")
    objective = build(params, "siglip", "test_resnet", 10, 3)
    save_encoder(folder, objective.exported(), params.backbones["test_resnet"])
    save_heads(folder, objective)

    def towers(settings=None):
        if settings:
            siglip = params.methods["siglip"]
            changed = replace(siglip, settings={**siglip.settings, **settings})
            params.methods = {**params.methods, "siglip": changed}
        return ArmTowers(params, Workspace(tmp_path), "a", launch(Run(accelerator="cpu", threads=1)))

    return towers, objective, folder


def test_they_are_those_that_were_saved(arm, start):
    towers, objective, _ = arm
    found = towers()
    assert weights(found.objective) == weights(objective)
    data = start.examples("siglip", 12)
    assert found.texts(data.tokens).equal(objective.eval().text(data.tokens).detach())
    assert found.images(data).norm(dim=1).tolist() == pytest.approx([1] * 12)


def test_embeddings_that_are_not_finite_are_one_line(arm, start):
    towers, _, folder = arm
    for file, says in ((HEADS, "text embeddings of 12 of 12"), (WEIGHTS, "image embeddings of 12 of 12")):
        broken = {name: value * float("nan") for name, value in load_file(folder / file).items()}
        whole = (folder / file).read_bytes()
        save_file(broken, folder / file)
        found, data = towers(), start.examples("siglip", 12)
        with pytest.raises(ValueError, match=f"{says} are not finite; train the arm again"):
            found.texts(data.tokens) if file == HEADS else found.images(data)
        (folder / file).write_bytes(whole)


def test_heads_of_other_settings_are_one_line(arm):
    with pytest.raises(ValueError, match="heads of another model .*; make it again with: dvc repro"):
        arm[0]({"embed": 32})


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_heads_that_are_not_there_are_one_line(arm, damage):
    towers, _, folder = arm
    if damage == "missing":
        (folder / HEADS).unlink()
    elif damage == "empty":
        save_file({}, folder / HEADS)
    else:
        (folder / HEADS).write_bytes((folder / HEADS).read_bytes()[:100])
    says = "empty, for its method has no heads" if damage == "empty" else "no readable heads"
    with pytest.raises(ValueError, match=f"{HEADS}: {says}") as caught:
        towers()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["supervised", "simclr", "dino", "siglip", "clip"])
def test_heads_are_all_that_is_no_encoder(start, tmp_path, method):
    objective = build(start.params, method, "test_resnet", 10, 0)
    save_heads(tmp_path, objective)
    state, found = objective.state_dict(), load_file(tmp_path / HEADS)
    assert found.keys() == {name for name in state if "encoder." not in name}
    assert all(value.equal(state[name]) for name, value in found.items())
