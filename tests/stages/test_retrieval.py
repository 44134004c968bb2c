"""Recall on matrices small enough to read, and the readings of a real method on real pictures."""

import pytest
import torch

from stages import compose
from stages.params import Run, parse
from stages.training.build import build, open_for
from stages.training.device import launch
from stages.training.retrieval import recall, retrieval


def test_recall_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.3, 0.2, 0.1]])
    own = torch.eye(3, dtype=torch.bool)
    assert recall(similarity, own, 1) == pytest.approx(1 / 3, abs=1e-6)  # only the first finds its own first
    assert recall(similarity, own, 2) == pytest.approx(1 / 3, abs=1e-6)
    assert recall(similarity, own, 3) == 1.0
    same = own.clone()
    same[1, 2] = same[2, 1] = True  # the second and the third have the same words
    assert recall(similarity, same, 1) == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("method", ["siglip", "clip"])
def test_readings_are_shares_and_change_nothing(digits, method):
    added = ["+method@methods.clip=clip"] if method == "clip" else []
    params = parse(compose.composed(["dataset=digits", "scale=debug", "experiment=methods", *added]))
    data = open_for(params, method, "test_resnet", digits().pixels.pool, digits(n=60).uids)
    objective = build(params, method, "test_resnet", data.classes, 0).train()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    found = retrieval(objective, data, digits().pixels.pool.classes, launch(Run(accelerator="cpu", threads=1)))
    assert set(found) == {"i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5", "zero_shot_top1"}
    assert all(0 <= value <= 1 for value in found.values())
    assert found["i2t_r1"] <= found["i2t_r5"]
    assert objective.training
    assert all(torch.equal(before[name], value) for name, value in objective.state_dict().items())
