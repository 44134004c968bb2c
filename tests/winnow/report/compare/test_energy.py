"""Energy and time of an arm. Expected values are worked out by hand from the numbers in conftest.py."""

import copy

import pytest

from winnow.report.compare.energy import energy


def test_an_arm_without_a_reference_costs_its_own_stage(world):
    found = energy(world.params, world.workspace, "plain", 0)
    assert found == {"kwh": 0.001, "gco2e": 0.4, "seconds": 10.0, "energy_quality": "estimated"}


def test_an_arm_with_a_reference_pays_its_share_and_has_the_worst_quality(world):
    """200 of 400 reference FLOPs: half of 40 s, 0.004 kWh and 1.6 g on top of 20 s, 0.002 kWh and 0.8 g."""
    found = energy(world.params, world.workspace, "chosen", 200)
    assert found["seconds"] == 40.0
    assert found["kwh"] == pytest.approx(0.004)
    assert found["gco2e"] == pytest.approx(1.6)
    assert found["energy_quality"] == "estimated"  # pretraining had a counter, the reference did not


@pytest.fixture
def refined(world, cost):
    """Params of an arm `plain` on version `small`, made from `large`, which a reference's embeddings made."""
    model = {"path": "results/reference/models/supervised"}
    for name, parent, trained, seconds in (("large", "pool", 100, 4.0), ("small", "large", 0, 20.0)):
        lineage = {"parent": {"name": parent}, "flops": {"embeddings": 10, "model": trained}, "model": model}
        world.write(f"data/versions/{name}/lineage.json", lineage)
        spent = cost(seconds, 0.002, 0.8, "estimated", curate=10 + trained)
        world.write(f"data/versions/{name}/cost.json", spent)
    params = copy.deepcopy(world.params)
    params.arms["plain"].version, params.pretrain.curation_share = "small", 0.5
    return params


def test_an_arm_pays_its_share_of_what_made_its_version(world, refined):
    """Half of 20 s, of 4 s, and of the reference's 40 s, of whose 400 FLOPs 100 made both versions' model."""
    found = energy(refined, world.workspace, "plain", 0)
    assert found["seconds"] == 10.0 + 0.5 * (20.0 + 4.0 + 40.0 * 100 / 400)
    assert found["kwh"] == pytest.approx(0.001 + 0.5 * (0.002 + 0.002 + 0.004 / 4))


def test_an_arms_encoder_that_made_a_version_is_paid_for_whole(world, refined):
    """Half of 20 s, of 4 s, and of the 20 s of pretraining `chosen`."""
    lineage = world.read("data/versions/large/lineage.json")
    lineage["model"]["path"] = "results/pretrain/chosen/model.safetensors"
    world.write("data/versions/large/lineage.json", lineage)
    assert energy(refined, world.workspace, "plain", 0)["seconds"] == 10.0 + 0.5 * (20.0 + 4.0 + 20.0)


def test_what_a_model_from_elsewhere_took_is_unknown(world, refined):
    lineage = {"parent": {"name": "pool"}, "flops": {"model": 1}, "model": {"path": "else/where"}}
    world.write("data/versions/large/lineage.json", lineage)
    found = energy(refined, world.workspace, "plain", 0)
    assert found == {"kwh": None, "gco2e": None, "seconds": None, "energy_quality": "unknown"}


def test_references_of_another_run_left_no_energy(world, refined):
    refined.reference.finished = "elsewhere"
    for arm, charged in (("plain", 0), ("chosen", 200)):
        found = energy(refined, world.workspace, arm, charged)
        assert (found["kwh"], found["seconds"], found["energy_quality"]) == (None, None, "unknown")


def test_a_missing_file_of_a_version_names_what_makes_it(world, refined):
    (world.workspace.version("small") / "lineage.json").unlink()
    with pytest.raises(ValueError, match=r"small/lineage.json.*dvc repro refine@small"):
        energy(refined, world.workspace, "plain", 0)


@pytest.mark.parametrize("stage", ["pretrain/chosen", "reference"])
def test_unknown_energy_is_none_and_never_zero(world, stage):
    path = f"results/{stage}/cost.json"
    world.write(path, {**world.read(path), "kwh": None, "gco2e": None, "energy_quality": "unknown"})
    found = energy(world.params, world.workspace, "chosen", 200)
    assert found == {"kwh": None, "gco2e": None, "seconds": 40.0, "energy_quality": "unknown"}


def test_a_reference_cheaper_than_what_was_charged_is_refused(world):
    cost = world.read("results/reference/cost.json")
    cost["flops"]["reference"] = 100
    world.write("results/reference/cost.json", cost)
    with pytest.raises(ValueError, match=r"100 reference FLOPs.*charged 200.*dvc repro pretrain@chosen"):
        energy(world.params, world.workspace, "chosen", 200)


def test_a_union_pays_for_all_its_parts(world, refined):
    """As of `small` alone above; the pool and the reference versions took no stage of their own."""
    refined.arms["plain"].version = "small+reference"
    found = energy(refined, world.workspace, "plain", 0)
    assert found["seconds"] == 10.0 + 0.5 * (20.0 + 4.0 + 40.0 * 100 / 400)
    refined.arms["plain"].version = "pool+reference"
    assert energy(refined, world.workspace, "plain", 0)["seconds"] == 10.0


def test_the_oracle_is_paid_for_by_its_own_stage(world, refined, cost):
    refined.arms["plain"].version = "clean"
    with pytest.raises(ValueError, match=r"data/versions/clean/lineage.json.*dvc repro oracle@clean"):
        energy(refined, world.workspace, "plain", 0)
    world.write("data/versions/clean/lineage.json", {"parent": {"name": "pool"}, "flops": {}, "model": None})
    world.write("data/versions/clean/cost.json", cost(6.0, 0.002, 0.8, "estimated"))
    assert energy(refined, world.workspace, "plain", 0)["seconds"] == 10.0 + 0.5 * 6.0
