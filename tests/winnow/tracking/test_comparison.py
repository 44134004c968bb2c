"""The arms of a comparison in a real SQLite tracking store: one run each, the same results once."""

import base64
import json
import zlib

import pytest
import yaml
from click.testing import CliRunner

from winnow.cli.main import main
from winnow.report.compare.columns import Column
from winnow.tracking import comparison
from winnow.tracking.arm_run import names
from winnow.tracking.runs import Runs

pytestmark = pytest.mark.slow


def state(runs):
    """What the shared view holds, read as MLflow's browser code reads it."""
    tags = runs.mlflow.get_experiment(runs.experiment()).tags
    packed = json.loads(tags[f"mlflow.sharedViewState.{runs.name}"])["state"].removeprefix("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def current(runs):
    found = runs.find(winnow__current="true", winnow__workspace=runs.name)
    return {run.info.run_name: run.info.run_id for run in found}


def test_an_arm_is_one_run_with_what_it_chose_cost_and_scored(results, published):
    assert set(published) == set(results.rows)
    run = published["supervised-easy"]
    assert run.info.status == "FINISHED"
    assert "mlflow.parentRunId" not in run.data.tags
    params = run.data.params
    first = {"policy": "easy", "method": "supervised", "version": "pool", "seed": "0"}
    assert {key: params[key] for key in first} == first
    assert params["version_digest"] == results._lineage()["digest"][:12]
    assert params["settings.pretrain.evaluations"] == "2"  # conf/scale/debug.yaml
    assert not any(".dvc." in key for key in params)
    row, metrics = results.rows["supervised-easy"], run.data.metrics
    assert metrics["accuracy/held_out/linear_probe"] == 100 * row["tasks"]["held_out"]["linear_probe.top1"]
    assert metrics["cost/tflops"] == row["flops"]["total"] / 1e12
    assert metrics["cost/gco2e"] == row["gco2e"]
    assert metrics["curve/loss"] == 1.5  # the last reading
    note = run.data.tags["mlflow.note.content"]
    assert "linear top-1 85.3 % [84.3, 86.3]" in note
    assert "4 TFLOPs, 0.4 gCO2e (estimated)" in note


def test_its_model_knows_what_it_was_trained_and_measured_on(runs, published):
    run = published["supervised-hard"]
    given = {one.dataset.name: one.dataset for one in run.inputs.dataset_inputs}
    assert set(given) == {"pool version", "held_out test"}
    (output,) = run.outputs.model_outputs
    model = runs.mlflow.get_logged_model(output.model_id)
    assert (model.name, model.source_run_id, str(model.status)) == (
        "supervised-hard",
        run.info.run_id,
        "READY",
    )
    (score,) = [one for one in model.metrics if one.key == "accuracy/held_out/linear_probe"]
    assert (score.dataset_name, score.dataset_digest) == ("held_out test", given["held_out test"].digest)
    found = {one.path for one in runs.mlflow.list_logged_model_artifacts(model.model_id)}
    assert found == {"config.json", "model.safetensors"}


def test_the_report_and_its_plots_are_artifacts_of_every_arm(runs, published):
    for run in published.values():
        found = {one.path for one in runs.mlflow.list_artifacts(run.info.run_id)}
        assert {"report.html", "table.json", "plots"} <= found


def test_the_same_results_again_add_nothing(results, runs, published):
    """Nor do settings that were edited and not run: dvc.lock says what the arms ran with."""
    params = results.workspace.params
    text = params.read_text()
    edited = yaml.safe_load(text)
    edited["pretrain"]["evaluations"] += 1
    tags = runs.mlflow.get_experiment(runs.experiment()).tags
    try:
        params.write_text(yaml.safe_dump(edited))
        assert comparison.publish(runs) == []
    finally:
        params.write_text(text)
    mine = runs.find(winnow__workspace=runs.name)
    assert {run.info.run_id for run in mine} == {run.info.run_id for run in published.values()}
    assert runs.mlflow.get_experiment(runs.experiment()).tags == tags


def test_an_arm_that_changed_gets_a_new_run_and_yesterdays_stays(results, runs, published):
    row = results.rows["supervised-easy"]
    old = published["supervised-easy"].info.run_id
    row["tasks"]["held_out"]["linear_probe.top1"] += 0.01
    results.write()
    assert comparison.publish(runs) == ["supervised-easy"]
    shown = {
        run.info.run_name: run.info.run_id
        for run in runs.find(winnow__current="true", winnow__workspace=runs.name)
    }
    assert set(shown) == set(results.rows)
    assert shown["supervised-easy"] != old
    assert [run.info.run_id for run in runs.find(winnow__current="false")] == [old]
    # and back, as when DVC restores the results of earlier params from its cache
    row["tasks"]["held_out"]["linear_probe.top1"] = (
        published["supervised-easy"].data.metrics["accuracy/held_out/linear_probe"] / 100
    )
    results.write()
    assert comparison.publish(runs) == []
    shown = {
        run.info.run_name: run.info.run_id
        for run in runs.find(winnow__current="true", winnow__workspace=runs.name)
    }
    assert shown["supervised-easy"] == old


def test_the_view_filters_the_current_arms_and_sorts_by_what_they_score(runs, published):
    found = state(runs)
    assert {
        run.info.run_name for run in runs.mlflow.search_runs([runs.experiment()], found["searchFilter"])
    } == set(published)
    assert found["orderByKey"] == "metrics.`accuracy/held_out/linear_probe`"
    assert found["groupBy"] is None


def test_arms_with_several_seeds_are_runs_that_the_view_averages(
    runs, published, make_results, tmp_path, monkeypatch
):
    """In a store that two workspaces share: each has its own current arms and its own view."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", runs.uri)
    results = make_results(
        tmp_path / "seeds", ["dataset=digits", "scale=debug", "arms=uniform,easy", "seeds=2"]
    )
    mine = Runs(results.workspace)
    assert len(comparison.publish(mine)) == 4
    assert state(mine)["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "arm"}]
    found = mine.find(winnow__workspace=mine.name)
    arms = [(run.data.params["arm"], run.data.params["seed"]) for run in found]
    assert sorted(arms) == [(f"supervised-{name}", seed) for name in ("easy", "uniform") for seed in "01"]
    assert len(runs.find(winnow__workspace=runs.name, winnow__current="true")) == len(published)


def test_the_link_needs_a_comparison(winnow, published, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = winnow("ui")
    assert found.stdout == "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning\n"
    assert "no comparison there yet" in found.stderr


def test_names_of_scores():
    """Tasks by their names; what would be the same twice is told apart."""
    metrics = ["linear_probe.top1", "semi_supervised.top1_1pct", "pretrain.test_zero_shot_top1"]
    columns = [Column(("a",), metric, "") for metric in [*metrics, "zero_shot.top1", "detection.box_ap50"]]
    found = names([*columns, Column(("a", "b"), "linear_probe.top1", "")])
    assert list(found) == [
        "accuracy/a/linear_probe",
        "accuracy/a/semi_supervised_1pct",
        "accuracy/a/zero_shot",
        "accuracy/a/zero_shot_top1",
        "accuracy/a/detection_box_ap50",
        "accuracy/mean/linear_probe",
    ]


@pytest.fixture
def winnow(monkeypatch, results):
    monkeypatch.chdir(results.workspace.root)
    return lambda *words: CliRunner().invoke(main, list(words))
