"""The rows of table.json. Expected values are worked out by hand from the numbers in conftest.py."""

import copy
import json
import shutil

import pytest

from stages.report import files, numbers, table

CONTRACT = [
    "arm",
    "policy",
    "method",
    "backbone",
    "seed",
    "version",
    "flops",
    "kwh",
    "gco2e",
    "energy_quality",
    "seconds",
    "examples_seen",
    "tasks",
    "budget",
    "stopped_by",
]


def test_row_has_exactly_the_keys_of_the_contract(world):
    for row in table.rows(world.params, world.root):
        assert list(table.KEYS) == CONTRACT
        assert sorted(row) == sorted(CONTRACT)
        assert sorted(row["flops"]) == sorted(("curate", "reference", "score", "train", "total"))
        assert row["energy_quality"] in ("counter", "estimated", "unknown")
        json.dumps(row, allow_nan=False)


def test_an_arm_without_a_reference_costs_its_own_stage(world):
    row = table.rows(world.params, world.root)[0]
    assert row["arm"] == "plain"
    assert row["flops"] == {"curate": 0, "reference": 0, "score": 0, "train": 1000, "total": 1000}
    assert (row["kwh"], row["gco2e"], row["seconds"], row["energy_quality"]) == (0.001, 0.4, 10.0, "estimated")
    assert (row["budget"], row["stopped_by"], row["examples_seen"]) == (1000.0, "budget", 8)


def test_an_arm_with_a_reference_pays_its_share_and_the_worst_quality(world):
    """200 of 400 reference FLOPs: half of 40 s, 0.004 kWh and 1.6 g on top of 20 s, 0.002 kWh and 0.8 g."""
    row = table.rows(world.params, world.root)[1]
    assert row["flops"] == {"curate": 0, "reference": 200, "score": 300, "train": 500, "total": 1000}
    assert row["seconds"] == 40.0
    assert row["kwh"] == pytest.approx(0.004)
    assert row["gco2e"] == pytest.approx(1.6)
    assert row["energy_quality"] == "estimated"  # the pretrain stage had a counter, the reference had not


def test_curation_is_part_of_the_total(world):
    metrics = files.read_json(world.root / "results/pretrain/plain/metrics.json")
    metrics["flops"]["curate"] = 25
    world.write("results/pretrain/plain/metrics.json", metrics)
    assert table.rows(world.params, world.root)[0]["flops"]["total"] == 1025


def test_an_arm_pays_its_share_of_what_its_version_took(world, cost):
    """Version `small` of `large` of the pool: half of 20 s, of 4 s, and of the reference's 40 s, of whose 400 FLOPs 100 made both."""
    model = {"path": "results/reference/models/supervised"}
    for name, parent, trained, seconds in (("large", "pool", 100, 4.0), ("small", "large", 0, 20.0)):
        lineage = {"parent": {"name": parent}, "flops": {"embeddings": 10, "model": trained}, "model": model}
        world.write(f"data/versions/{name}/lineage.json", lineage)
        world.write(f"data/versions/{name}/cost.json", cost(seconds, 0.002, 0.8, "estimated", curate=10 + trained))
    params = copy.deepcopy(world.params)
    params.arms["plain"].version, params.pretrain.curation_share = "small", 0.5
    row = table.rows(params, world.root)[0]
    assert row["seconds"] == 10.0 + 0.5 * (20.0 + 4.0 + 40.0 * 100 / 400)
    assert row["kwh"] == pytest.approx(0.001 + 0.5 * (0.002 + 0.002 + 0.004 / 4))
    assert row["version"] == "small"
    text = table.markdown(table.rows(params, world.root))
    assert "| version |" in " ".join(text.split())
    assert "curate + ref + score + train" in text
    foreign = {"parent": {"name": "pool"}, "flops": {"model": 1}, "model": {"path": "else/where"}}
    world.write("data/versions/large/lineage.json", foreign)
    assert table.rows(params, world.root)[0]["kwh"] is None  # nobody knows what that model's training took
    (world.root / "data/versions/small/lineage.json").unlink()
    with pytest.raises(ValueError, match="dvc repro refine@small"):
        table.rows(params, world.root)


@pytest.mark.parametrize("stage", ["pretrain/chosen", "reference"])
def test_unknown_energy_is_none_and_never_zero(world, stage):
    path = f"results/{stage}/cost.json"
    cost = files.read_json(world.root / path)
    world.write(path, {**cost, "kwh": None, "gco2e": None, "energy_quality": "unknown"})
    row = table.rows(world.params, world.root)[1]
    assert (row["kwh"], row["gco2e"], row["energy_quality"]) == (None, None, "unknown")
    assert row["seconds"] == 40.0
    assert " unknown " in table.markdown([row])


def test_tasks_hold_numbers_only(world):
    assert table.rows(world.params, world.root)[0]["tasks"] == {
        "linear_probe.top1": 0.5,
        "linear_probe.top5": 0.9,
        "pretrain.val_top1": 0.5,
        "linear_probe.l2": 0.01,
        "semi_supervised.top1_1pct": 0.4,
        "semi_supervised.top1_10pct": 0.6,
    }  # detection.box_ap50 is null: undefined, not 0


def test_every_task_of_dvc_yaml_is_compared(tmp_path):
    (tmp_path / "dvc.yaml").write_text(
        "stages: {ingest: {cmd: a}, pretrain: {foreach: '${arms}', do: {}}, probe: {foreach: '${arms}', do: {}}}"
    )
    assert table.task_names(tmp_path / "dvc.yaml") == ["probe"]
    assert {"linear_probe", "semi_supervised", "detection"} <= set(table.task_names())


def test_protocols_are_kept_beside_the_arms(world):
    protocols = table.protocols(world.params, world.root)
    assert protocols["linear_probe"] == {"a <linear> protocol": ["plain", "chosen"]}


def test_arms_left_over_on_disk_are_not_seen(world):
    before = table.rows(world.params, world.root)
    for stage in ("pretrain", "linear_probe", "semi_supervised", "detection"):
        shutil.copytree(world.root / "results" / stage / "plain", world.root / "results" / stage / "ghost")
    assert table.rows(world.params, world.root) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("results/pretrain/chosen/metrics.json", "dvc repro pretrain@chosen"),
        ("results/detection/plain/metrics.json", "dvc repro detection@plain"),
        ("results/reference/cost.json", "dvc repro reference"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(world, name, command):
    (world.root / name).unlink()
    with pytest.raises(ValueError, match=f"{name}.*{command}"):
        table.rows(world.params, world.root)


def test_a_broken_file_is_named(world):
    (world.root / "results/pretrain/plain/metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"plain/metrics.json: not valid JSON.*dvc repro"):
        table.rows(world.params, world.root)


def test_a_reference_cheaper_than_its_share_is_refused(world):
    cost = files.read_json(world.root / "results/reference/cost.json")
    cost["flops"]["reference"] = 100
    world.write("results/reference/cost.json", cost)
    with pytest.raises(ValueError, match=r"100 reference FLOPs.*charged 200"):
        table.rows(world.params, world.root)


def test_ranked_keeps_the_order_of_methods_and_puts_the_best_first():
    rows = [{"arm": a, "method": m, "tasks": {table.MAIN: v}} for a, m, v in [("a", "z", 0.1), ("b", "b", 0.9), ("c", "z", 0.2)]]
    assert [row["arm"] for row in table.ranked(rows)] == ["c", "a", "b"]


def test_headlines_are_in_a_fixed_order(world):
    assert table.headlines(table.rows(world.params, world.root)) == {
        "linear_probe.top1": "linear top-1",
        "semi_supervised.top1_1pct": "1 % labels",
        "semi_supervised.top1_10pct": "10 % labels",
        "detection.box_ap50": "box AP50",
    }


def test_markdown(world):
    lines = table.markdown(table.rows(world.params, world.root), {"plain": 0.25, "chosen": 0.125}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0][3:] == [
        "linear top-1", "1 % labels", "10 % labels", "box AP50", "dirt trained on", "FLOPs total", "ref + score + train",
        "CO2e (estimated)", "time",
    ]  # fmt: skip
    assert cells[2] == [
        "chosen", "learnability", "supervised", "70.0 %", "40.0 %", "60.0 %", "25.0 %", "12.5 %", "1.00 kFLOPs", "20 + 30 + 50 %",
        "1.60 g", "40 s",
    ]  # fmt: skip
    assert cells[3][:4] == ["plain", "uniform", "supervised", "50.0 %"]
    assert cells[3][6] == "–"
    assert len({len(line) for line in lines}) == 1  # so that a terminal shows columns


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.flops(9.998e12), "10.0 TFLOPs"),
        (numbers.flops(999_700), "1.00 MFLOPs"),
        (numbers.flops(12), "12.0 FLOPs"),
        (numbers.flops(None), "unknown"),
        (numbers.grams(0.1744), "0.174 g"),
        (numbers.grams(0.0123), "12.3 mg"),
        (numbers.grams(1500), "1.50 kg"),
        (numbers.grams(None), "unknown"),
        (numbers.energy(0.00037), "0.370 Wh"),
        (numbers.energy(None), "unknown"),
        (numbers.seconds(59.6), "60 s"),
        (numbers.seconds(200), "3 min 20 s"),
        (numbers.seconds(7500), "2 h 05 min"),
        (numbers.seconds(None), "unknown"),
        (numbers.percent(0.8317), "83.2 %"),
        (numbers.percent(None), "–"),
        (numbers.digits(0), "0"),
        (numbers.digits(-1.705), "-1.71"),
    ],
)
def test_numbers_as_people_read_them(shown, expected):
    assert shown == expected


def test_retrieval_on_the_test_split_has_columns_and_a_protocol(world):
    """An arm that read captions says so in pretrain's metrics; the others have no value there, not 0."""
    path = "results/pretrain/chosen/metrics.json"
    found = {"test_i2t_r1": 0.25, "test_i2t_r5": 0.5, "test_t2i_r1": 0.125, "test_zero_shot_top1": 0.75, "i2t_r1": 0.1}
    world.write(path, {**files.read_json(world.root / path), **found, "protocol": "so and so"})
    rows = table.rows(world.params, world.root)
    assert [rows[1]["tasks"][f"pretrain.{name}"] for name in found] == list(found.values())
    assert list(table.headlines(rows).values())[:3] == ["image to text R@1", "text to image R@1", "zero-shot"]
    plain = next(line for line in table.markdown(rows).splitlines() if line.startswith("| plain"))
    assert "25.0 %" not in plain
    assert table.protocols(world.params, world.root)["pretrain"] == {"so and so": ["chosen"]}
