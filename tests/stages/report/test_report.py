"""The comparison as a whole: its files, the page, the grids and the verdict, over the world of conftest.py."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest

from stages import compare
from stages.report import accounting, dirt, files, grids, table
from stages.report.verdict import verdict


@pytest.fixture
def written(world, tmp_path):
    out = tmp_path / "compare"
    out.mkdir()
    return out, compare.write(world.params, world.root, out)


def test_writes_every_file_and_the_headline_numbers(written, world):
    out, metrics = written
    assert sorted(p.name for p in out.iterdir()) == ["plots", "report.html", "table.json", "table.md"]
    assert json.loads((out / "table.json").read_text()) == table.rows(world.params, world.root)
    assert metrics["plain"] == {
        "linear_probe_top1": 0.5, "semi_supervised_top1_1pct": 0.4, "semi_supervised_top1_10pct": 0.6, "dirt_trained_on": 0.25,
        "flops": 1000,
    }  # fmt: skip
    assert metrics["chosen"]["detection_box_ap50"] == 0.25


def test_equal_results_are_equal_bytes(written, world, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    compare.write(world.params, world.root, again)
    for path in (p for p in written[0].rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(written[0])).read_bytes(), path.name


def test_page_is_whole_and_refers_to_nothing_outside(written, page):
    text = (written[0] / "report.html").read_text()
    parsed = page(text)
    assert parsed.images == 7 + 2 + 2 + 4  # pictures; highest, lowest and most often of `chosen`
    assert "http" not in " ".join(parsed.references)


def test_page_has_its_parts_in_order(written, page):
    words = page((written[0] / "report.html").read_text()).words
    parts = [
        "What each policy bought for 1.00 kFLOPs", "Every arm spent the same", "The numbers", "Accuracy against cost", "Dirt",
        "What the policies chose", "How each task was measured", "How cost was counted", "Settings",
    ]  # fmt: skip
    places = [words.index(part) for part in parts]
    assert places == sorted(places)


def test_page_says_protocol_quality_budget_and_how_cost_was_counted(written, page):
    words = page((written[0] / "report.html").read_text()).words
    for expected in (
        "a <linear> protocol", "estimated", "stopped by", "1 multiply-accumulate = 2 FLOPs", "400 gCO2e/kWh (a test)", "WORLD",
        "PUE : 1 ",
        "dogs & <co>", "reference_share: 1.0",
    ):  # fmt: skip
        assert expected in words, expected


def test_unknown_energy_is_said_and_is_not_zero(world, tmp_path, page):
    for arm in world.params.arms:
        name = f"results/pretrain/{arm}/cost.json"
        cost = files.read_json(world.root / name)
        world.write(name, {**cost, "kwh": None, "gco2e": None, "energy_quality": "unknown", "energy": {"country": "WORLD", "pue": 1.0}})
    compare.write(world.params, world.root, tmp_path)
    words = page((tmp_path / "report.html").read_text()).words
    assert "The energy of every arm is unknown here" in words
    assert "unknown unknown unknown" in words  # CO2e, energy and their quality
    assert "0 g" not in words
    assert "Carbon intensity : unknown" in words


def test_a_pool_without_pollution_is_reported(world, tmp_path, page):
    import pyarrow.parquet as pq

    path = world.root / "data/pool/dirt.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    compare.write(world.params, world.root, tmp_path)
    assert "No dirt was put into this pool" in page((tmp_path / "report.html").read_text()).words


def test_a_missing_file_stops_the_comparison_with_its_name(world, tmp_path):
    (world.root / "results/pretrain/plain/curve.csv").unlink()
    with pytest.raises(ValueError, match=r"plain/curve.csv.*dvc repro pretrain@plain"):
        compare.write(world.params, world.root, tmp_path)


def test_comparing_imports_no_torch():
    code = "import sys, stages.compare; sys.exit(bool({'torch', 'timm', 'sklearn', 'mlflow', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_uncharged_flops_are_readings_and_tasks(world):
    """7 for each arm's readings, 50 for each of its three tasks."""
    assert accounting.read(world.params, world.root).uncharged == 2 * (7 + 3 * 50)


def test_grids_of_a_trace(world):
    """In the second half of training `chosen` took rows 1 (score 0.5) and 4 (2.0); it trained on four rows once each."""
    what = files.trace(world.root, "chosen")
    kinds = dirt.kinds_of_rows(world.pool)
    high, low, often = grids.of_trace(world.pool, what, kinds)
    assert [(t.label, t.note) for t in high.tiles] == [("cat", "2.00"), ("dogs & <co>", "0.500")]
    assert [t.note for t in low.tiles] == ["0.500", "2.00"]
    assert [(t.note, t.dirt) for t in often.tiles] == [("1 ×", None), ("1 ×", "wrong_label"), ("1 ×", None), ("1 ×", None)]
    assert not grids.scored(files.trace(world.root, "plain"))


def test_an_image_counts_once_with_its_extreme_score(world):
    world.trace("chosen", [0, 1, 2, 2, 3], [0, 0, 1, 2, 2], [9.0, 9.0, 1.0, 5.0, 0.0])
    high, low, often = grids.of_trace(world.pool, files.trace(world.root, "chosen"), np.full(8, None, dtype=object), count=1)
    assert [t.note for t in high.tiles] == ["5.00"]
    assert [t.note for t in low.tiles] == ["0"]
    assert [t.note for t in often.tiles] == ["2 ×"]


def rows_of(world, **top1):
    """The world's rows with other accuracies, the policies given by name; each at the same spending."""
    plain = table.rows(world.params, world.root)[0]
    return [{**plain, "policy": policy, "tasks": {**plain["tasks"], "linear_probe.top1": value}} for policy, value in top1.items()]


@pytest.mark.parametrize(
    ("top1", "expected"),
    [
        ({"uniform": 0.5, "hard": 0.7}, "hard won: 70.0 % linear-probe top-1 against 50.0 % for uniform, 20.0 points more"),
        # two standard errors at 50.5 % on 1,000 images: 2 sqrt(0.505 * 0.495 * 2 / 1000) = 4.47 points
        ({"uniform": 0.5, "hard": 0.505}, "With supervised there is no difference to speak of: hard has 50.5 % linear-probe top-1"),
        ({"uniform": 0.5, "hard": 0.505}, "against 50.0 % for uniform, and 1,000 test images resolve 4.5 points"),
        ({"uniform": 0.5, "hard": 0.3}, "no policy beat uniform: it reached 50.0 % linear-probe top-1"),
        (
            {"uniform": 0.5, "hard": 0.3},
            "the next, hard, 30.0 % (20.0 points less); hard trained on 8 images (25.0 % dirt), uniform on 8",
        ),
        ({"uniform": 0.5, "hard": 0.49}, "hard, 49.0 % (1.0 points less, less than the test set resolves)"),
        ({"uniform": 0.5, "hard": 0.7, "easy": 0.2}, "Uniform beat easy (20.0 %)."),
        ({"easy": 0.5, "hard": 0.7}, "hard is best at 70.0 %; there is no uniform arm to compare with."),
        ({"uniform": 0.5}, "only uniform was run"),
    ],
)
def test_verdict(world, top1, expected):
    found = dirt.read(world.params, world.pool, world.root)
    text = " ".join(verdict(rows_of(world, **top1), 1000, found))
    assert expected in text
    assert text.startswith("Every arm spent the same: 1.00 kFLOPs")
    assert "n = 1" in text
    assert "no statistical significance can be claimed" in text


def test_verdict_says_where_uniform_is_ahead(world):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["tasks"]["semi_supervised.top1_1pct"] = 0.1
    text = " ".join(verdict(rows, 1000, dirt.read(world.params, world.pool, world.root)))
    assert "In other tasks uniform is ahead of hard: 1 % labels (40.0 % against 10.0 %)." in text


def test_verdict_at_unequal_spending_says_so(world):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["flops"] = {**rows[1]["flops"], "total": 2000}
    assert (
        "The arms spent unequal amounts, from 1.00 kFLOPs to 2.00 kFLOPs"
        in verdict(rows, 1000, dirt.read(world.params, world.pool, world.root))[0]
    )


def test_verdict_over_seeds_takes_means(world):
    rows = rows_of(world, uniform=0.5, hard=0.7) + [{**row, "seed": 1} for row in rows_of(world, uniform=0.4, hard=0.6)]
    text = " ".join(verdict(rows, 1000, dirt.read(world.params, world.pool, world.root)))
    assert "hard won: 65.0 % linear-probe top-1 against 45.0 %" in text
    assert "Means over at least 2 seeds" in text


def test_versions_are_told_apart_and_paid_for(world, cost, tmp_path, page):
    """Arm `plain` on a version of its own, which took a quarter of its FLOPs: it is no longer the control."""
    params = copy.deepcopy(world.params)
    params.arms["plain"].version = "small"
    metrics = files.read_json(world.root / "results/pretrain/plain/metrics.json")
    metrics["flops"] |= {"curate": 250, "train": 750}
    world.write("results/pretrain/plain/metrics.json", metrics)
    world.write("data/versions/small/lineage.json", {"parent": {"name": "pool"}, "flops": {"embeddings": 250}, "model": None})
    world.write("data/versions/small/cost.json", cost(1.0, 0.001, 0.4, "estimated", curate=250))
    out = tmp_path / "compare"
    out.mkdir()
    compare.write(params, world.root, out)
    words = page((out / "report.html").read_text()).words
    assert "uniform on small" in words
    assert "curate + reference + score + train" in words
    assert "there is no uniform arm to compare with" in words
    assert "25 + 0 + 0 + 75 %" in words.replace("\u00a0", " ")
