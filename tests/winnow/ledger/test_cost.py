"""cost.json: FLOPs by purpose, and what was not measured."""

import pytest

from winnow.ledger.cost import UNMEASURED, cost_record
from winnow.ledger.energy import Energy

ENERGY = Energy(1.0, 0.5, 200.0, "counter", {})


def test_flops_add_up():
    record = cost_record("pretrain@a", "today", {"score": 3, "train": 4}, ENERGY, {})
    assert record["flops"] == {"curate": 0, "reference": 0, "score": 3, "train": 4, "evaluate": 0, "total": 7}
    assert (record["stage"], record["execution"]) == ("pretrain@a", "today")


def test_an_unknown_purpose_is_refused():
    with pytest.raises(
        ValueError, match="'scoring' is unknown; allowed: curate, reference, score, train, evaluate"
    ):
        cost_record("x", "today", {"scoring": 1}, ENERGY, {})


def test_a_stage_that_did_not_measure_all_its_work_has_no_energy():
    record = cost_record("refine@a", "today", {}, ENERGY, {**UNMEASURED, "embeddings_reused": 8})
    assert (record["kwh"], record["gco2e"], record["energy_quality"]) == (None, None, "unknown")
    assert (record["seconds"], record["embeddings_reused"]) == (1.0, 8)
