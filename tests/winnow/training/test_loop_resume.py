"""A resumed run ends in the same state, bit for bit: weights, buffers, optimisers, trace."""

from dataclasses import replace

import pytest
import torch

from tests.loops import JOINT, LEARNABILITY, ONLINE, PROXY, SMALL, embedded, state
from winnow.config.schema import Backbone, Policy
from winnow.selection.policy import UNIFORM
from winnow.training.checkpoint import Checkpoint

STEPS = 6
SOFTMAX = Policy("learnability", "softmax", 0.5)
RUNS = {
    "supervised": (SOFTMAX, "supervised", "test_resnet"),
    "supervised, gradient norm": (Policy("gradient_norm", "top_k", 0.5), "supervised", "test_resnet"),
    "dino": (Policy("hard", "top_k", 0.5), "dino", "test_resnet"),
    "simclr": (LEARNABILITY, "simclr", "test_resnet"),
    "simclr, joint": (JOINT, "simclr", "test_resnet"),
    "siglip, joint, proxy": (replace(JOINT, scorer="proxy", proxy=SMALL), "siglip", "test_resnet"),
    "siglip, joint, online": (replace(JOINT, online=SMALL), "siglip", "test_resnet"),
    "clip": (LEARNABILITY, "clip", "test_resnet"),
    "proxy": (PROXY, "supervised", "test_resnet"),
    "online": (ONLINE, "supervised", "test_resnet"),
    "dropped paths": (PROXY, "supervised", "dropping"),
    "channels last": (UNIFORM, "dino", "large"),
    "two resolutions": (replace(LEARNABILITY, resolution=16, multi_resolution=True), "dino", "test_resnet"),
}


class Killed(Exception):
    pass


def begin(start, policy, method, backbone):
    """A loop at its first step, with everything built anew."""
    start.params.backbones["dropping"] = Backbone("test_vit", 32, {"patch_size": 4, "drop_path_rate": 0.2})
    start.params.backbones["large"] = Backbone("test_resnet", 64)
    reference = None
    if method in ("simclr", "siglip", "clip") and not policy.online:
        reference = embedded(start(method=method, seed=3))
    return start(policy, method, STEPS, reference, backbone)


@pytest.mark.slow
@pytest.mark.parametrize("killed_in", [1, 4])
@pytest.mark.parametrize("run", RUNS)
def test_a_resumed_run_ends_in_the_same_state(run, killed_in, start, tmp_path):
    whole = begin(start, *RUNS[run])
    whole.run()

    def kill(state):
        if state.step == killed_in + 1:  # before this step is saved
            raise Killed

    broken = begin(start, *RUNS[run])
    with pytest.raises(Killed):
        broken.run(kill, checkpoint=Checkpoint(tmp_path, "run", 0.0))
    resumed = begin(start, *RUNS[run])
    steps = []
    resumed.run(lambda state: steps.append(state.step), checkpoint=Checkpoint(tmp_path, "run", 1e9))
    assert steps == list(range(killed_in + 1, STEPS + 1))
    expected, found = state(whole), state(resumed)
    for each in (expected, found):
        del each[".pixels.read"]  # of what was decoded ahead, some was decoded again
    assert [key for key in expected if found.get(key) != expected[key]] == []
    assert set(found) == set(expected)


@pytest.mark.slow
def test_the_state_holds_what_each_method_and_policy_carries_along(start):
    """Else the test above would not compare it."""
    dino = begin(start, *RUNS["dino"])
    before = state(dino)
    dino.run()
    after = state(dino)
    for key in ("centre", "temperature", "teacher.head.prototypes", "student.head.prototypes"):
        assert before[f".objective.{key}"] != after[f".objective.{key}"]
    for run, part in (("siglip, joint, proxy", ".selector.scorer"), ("online", ".selector.reference")):
        keys = set(state(begin(start, *RUNS[run])))
        assert any(key.startswith(f"{part}.objective") for key in keys)
        assert any(key.startswith(f"{part}.optimizer") for key in keys)


@pytest.mark.parametrize("lost", ["centre", "teacher.head.prototypes"])
def test_a_checkpoint_without_a_buffer_does_not_resume(lost, start, tmp_path):
    loop = begin(start, *RUNS["dino"])
    saved = loop.saved()
    del saved["objective"][lost]
    checkpoint = Checkpoint(tmp_path, "run", 0.0)
    checkpoint.save(saved)
    with pytest.raises(RuntimeError, match=lost):
        begin(start, *RUNS["dino"]).run(checkpoint=checkpoint)


def test_a_finished_run_is_not_trained_again(start, tmp_path):
    first = begin(start, *RUNS["supervised"])
    checkpoint = Checkpoint(tmp_path, "run", 1e9)
    first.run(checkpoint=checkpoint)
    checkpoint.save(first.saved())
    second = begin(start, *RUNS["supervised"])
    second.run(lambda state: pytest.fail("a step was trained"), checkpoint=checkpoint)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.objective.parameters(), second.objective.parameters(), strict=True)
    )
