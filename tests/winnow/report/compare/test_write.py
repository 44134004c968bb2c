"""The comparison as a whole, its files and its page, over the world of conftest.py."""

import copy
import dataclasses
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from winnow.report.compare import table
from winnow.report.compare.write import write

FILES = ["curves.csv", "intervals.json", "plots", "report.html", "table.json", "table.md"]


@pytest.fixture
def compared(world, tmp_path):
    """A function: write the comparison, and return its folder and the headline numbers."""

    def run(params=None, name: str = "compare"):
        out = tmp_path / name
        out.mkdir()
        return out, write(params or world.params, world.workspace, out)

    return run


@pytest.fixture
def words(compared, page):
    """A function: the text of the page, whatever the world is by then."""
    return lambda params=None: page((compared(params)[0] / "report.html").read_text()).words


@pytest.mark.slow
def test_writes_every_file_and_the_headline_numbers(compared, world):
    out, metrics = compared()
    assert sorted(p.name for p in out.iterdir()) == FILES
    assert json.loads((out / "table.json").read_text()) == table.rows(world.params, world.workspace)
    assert metrics["plain"] == {
        "held_out_linear_probe_top1": 0.5,
        "held_out_semi_supervised_top1_1pct": 0.4,
        "held_out_semi_supervised_top1_10pct": 0.6,
        "corrupted_share": 0.25,
        "flops": 1000,
    }
    assert metrics["chosen"]["held_out_detection_box_ap50"] == 0.25


@pytest.mark.slow
def test_equal_results_are_equal_bytes(compared):
    (first, _), (again, _) = compared(), compared(name="again")
    for path in (p for p in first.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(first)).read_bytes(), path.name


@pytest.mark.slow
def test_page_is_whole_and_refers_to_nothing_outside(compared, page):
    parsed = page((compared()[0] / "report.html").read_text())
    assert parsed.images == 9 + 2 + 2 + 4  # pictures; highest, lowest and most often of `chosen`
    assert "http" not in " ".join(parsed.references)


@pytest.mark.slow
def test_page_has_its_parts_in_order(words):
    parts = [
        "What each policy bought for 1.00 kFLOPs",
        "Every arm spent the same",
        "The numbers",
        "Accuracy against cost",
        "Corruption",
        "What the policies chose",
        "How each task was measured",
        "How cost was counted",
        "Settings",
    ]
    text = words()
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.slow
def test_page_says_protocol_quality_budget_and_how_cost_was_counted(words):
    text = words()
    for expected in (
        "a <linear> protocol",
        "estimated",
        "stopped by",
        "1 multiply-accumulate = 2 FLOPs",
        "400 gCO2e/kWh (a test)",
        "WORLD",
        "PUE : 1 ",
        "dogs & <co>",
        "reference_share: 1.0",
    ):
        assert expected in text, expected


@pytest.mark.slow
def test_unknown_energy_is_said_and_is_not_zero(world, words):
    unknown = {
        "kwh": None,
        "gco2e": None,
        "energy_quality": "unknown",
        "energy": {"country": "WORLD", "pue": 1.0},
    }
    for arm in world.params.arms:
        name = f"results/pretrain/{arm}/cost.json"
        world.write(name, world.read(name) | unknown)
    text = words()
    assert "The energy of every arm is unknown" in text
    assert "unknown unknown unknown" in text  # CO2e, energy and their quality
    assert "0 g" not in text
    assert "Carbon intensity : unknown" in text


@pytest.mark.slow
def test_a_clean_pool_is_reported(world, words):
    path = world.record("corruption")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert "No corruption was planted in this pool" in words()


def test_a_missing_file_stops_the_comparison_with_its_name(world, compared):
    (world.workspace.arm("plain") / "curve.csv").unlink()
    with pytest.raises(ValueError, match=r"plain/curve.csv.*dvc repro pretrain@plain"):
        compared()


@pytest.mark.slow
def test_comparing_imports_no_torch():
    heavy = {"torch", "timm", "sklearn", "mlflow", "pandas", "faiss"}
    code = f"import sys, stages.compare; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.slow
def test_versions_are_told_apart_and_paid_for(world, cost, words):
    """Arm `plain` on a version of its own, which took a quarter of its FLOPs: it is no longer the control."""
    params = copy.deepcopy(world.params)
    params.arms["plain"].version = "small"
    metrics = world.read("results/pretrain/plain/metrics.json")
    metrics["flops"] |= {"curate": 250, "train": 750}
    world.write("results/pretrain/plain/metrics.json", metrics)
    lineage = {"parent": {"name": "pool"}, "flops": {"embeddings": 250}, "model": None}
    world.write("data/versions/small/lineage.json", lineage)
    world.write("data/versions/small/cost.json", cost(1.0, 0.001, 0.4, "estimated", curate=250))
    text = words(params)
    assert "plain small supervised" in text
    assert "curate + reference + score + train" in text
    assert "there is no control to compare with" in text
    assert "25 + 0 + 0 + 75 %" in text.replace("\u00a0", " ")


@pytest.mark.slow
def test_a_debug_run_is_marked_as_wiring_in_table_and_page(compared, world):
    out, _ = compared(dataclasses.replace(world.params, scale="debug"))
    for name in ("table.md", "report.html"):
        assert "Wiring, not results: scale=debug" in (out / name).read_text()
    assert "Wiring" not in (compared(name="real")[0] / "report.html").read_text()
