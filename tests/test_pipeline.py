"""The whole DAG on real DVC, with scikit-learn's digits: reproducible bytes, small re-runs, resumed runs, one line for a mistake."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import yaml

from stages.data import uids as uid_files
from stages.data import version

pytestmark = pytest.mark.slow
TWO_ARMS = (
    "dataset=digits",
    "scale=debug",
    "~arms.supervised-easy",
    "~arms.simclr-uniform",
    "~arms.simclr-learnability",
    "~arms.supervised-uniform",
    "+versions.clean={parent: pool, model: results/reference/models/supervised, "
    "filters: {semantic_duplicate: {max_similarity: 0.9999}, label_error: {}}}",
    "arms.supervised-learnability.version=clean",
)
TIMED = re.compile(r"cost\.json|results/compare|data/pool$|data/versions$|results/\w+$")


ENVIRONMENT = {**os.environ, "WINNOW_TRACKING": "off", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}


def dvc(project, *args):
    command = [sys.executable, "-m", "dvc", *args]
    return subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True)


def ran(done):
    return re.findall(r"Running stage '(\S+)'", done.stdout)


def timeless(project):
    """path -> md5 of every out that holds no time or energy, from dvc.lock."""
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    outs = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    return {path: md5 for path, md5 in outs.items() if not TIMED.search(path)}


@pytest.fixture(scope="module")
def project(tmp_path_factory, copy_project):
    folder = copy_project(tmp_path_factory.mktemp("pipeline") / "p", *TWO_ARMS)
    done = dvc(folder, "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def test_every_stage_ran_once_and_left_its_outs(project):
    arms = ["supervised-hard", "supervised-learnability"]
    for path in ("results/compare/report.html", "results/compare/table.json", "data/versions/pool/card.html"):
        assert (project / path).stat().st_size > 1000
    for arm in arms:
        for task in ("pretrain", "linear_probe", "semi_supervised", "detection"):
            assert (project / "results" / task / arm / "metrics.json").exists()


def test_the_budget_is_spent_to_within_one_percent_or_one_step(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    for arm in params["arms"]:
        metrics = json.loads((project / f"results/pretrain/{arm}/metrics.json").read_text())
        flops = metrics["flops"]
        assert flops["total"] == flops["curate"] + flops["reference"] + flops["score"] + flops["train"]
        step = (flops["score"] + flops["train"]) / metrics["steps"]
        assert 0 <= metrics["budget"] - flops["total"] < step
        assert metrics["stopped_by"] == "budget"


def test_an_arm_trains_on_its_version_and_pays_for_it(project):
    folder = project / "data/versions/clean"
    lineage, trained = json.loads((folder / "lineage.json").read_text()), uid_files.load(folder / "uids.npy")
    pool = version.load(project / "data/versions/pool")
    assert lineage["parent"] == {"name": "pool", "digest": pool.digest}
    assert [step["name"] for step in lineage["steps"]] == ["semantic_duplicate", "label_error"]
    dropped = sum(sum(step["dropped"].values()) for step in lineage["steps"])
    assert 0 < dropped == len(pool.uids) - len(trained)
    trace = pq.read_table(project / "results/pretrain/supervised-learnability/trace.parquet")["uid"].to_pylist()
    assert set(trace) <= set(trained) < set(pool.uids)
    reference = json.loads((project / "results/reference/models/supervised/reference.json").read_text())
    model = reference["train_flops"]
    rows = {row["arm"]: row for row in json.loads((project / "results/compare/table.json").read_text())}
    assert lineage["flops"]["model"] == model
    assert rows["supervised-learnability"]["flops"]["curate"] == sum(lineage["flops"].values()) > model
    assert rows["supervised-hard"]["flops"]["curate"] == 0
    assert rows["supervised-learnability"]["flops"]["reference"] == reference["score_flops"]  # its training is in curate already
    assert "clean" in (project / "results/compare/table.md").read_text()


def test_nothing_to_do_says_so(project):
    done = dvc(project, "repro")
    assert ran(done) == []
    assert "Data and pipelines are up to date" in done.stdout + done.stderr


def test_a_second_run_from_scratch_has_the_same_bytes(project, tmp_path, copy_project):
    again = copy_project(tmp_path / "again", *TWO_ARMS)
    assert dvc(again, "repro").returncode == 0
    first, second = timeless(project), timeless(again)
    assert len(first) > 20
    assert any("model.safetensors" in path for path in first)
    assert any("trace.parquet" in path for path in first)
    assert {path for path in first if first[path] != second.get(path)} == set()


def test_changing_one_policy_runs_only_its_arms_and_back_is_cached(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    before = (project / "params.yaml").read_text()
    params["policies"]["hard"]["ratio"] = 0.25
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = dvc(project, "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert {stage for stage in ran(done) if "@" in stage} == {
        f"{task}@supervised-hard" for task in ("pretrain", "linear_probe", "semi_supervised", "detection")
    }
    assert set(ran(done)) - {"compare"} == {stage for stage in ran(done) if "@" in stage}
    (project / "params.yaml").write_text(before)
    back = dvc(project, "repro")
    assert ran(back) == []
    assert "is cached - skipping run" in back.stdout


def test_a_killed_pretraining_resumes_and_ends_with_the_same_weights(project):
    """SIGKILL in the middle, then `dvc repro`: same bytes as the run that was never killed."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    before = (project / "params.yaml").read_text()
    params["run"]["checkpoint_seconds"] = 0.0
    params["pretrain"]["budget"] *= 6
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    stage = "pretrain@supervised-learnability"
    whole = dvc(project, "repro", stage)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    weights = project / "results/pretrain/supervised-learnability/model.safetensors"
    expected = weights.read_bytes()

    command = [sys.executable, "-m", "stages.pretrain", "--arm", "supervised-learnability"]
    saved = project / ".winnow/checkpoints"
    old = set(saved.glob("*.pt"))
    child = subprocess.Popen(command, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not set(saved.glob("*.pt")) - old and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert set(saved.glob("*.pt")) - old, "killed before the first checkpoint"
    weights.unlink()
    again = subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True)
    assert "resuming after step" in again.stdout
    assert weights.read_bytes() == expected
    (project / "params.yaml").write_text(before)


def test_a_mistake_is_one_line_and_nothing_is_lost(project):
    before = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(before.replace("budget:", "budgt:"))
    done = dvc(project, "repro")
    (project / "params.yaml").write_text(before)
    assert done.returncode != 0
    assert (project / "results/compare/report.html").exists() or "budgt" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_curation_and_training_never_open_the_dirt(project):
    """Without dirt.parquet, curation and an arm give the same bytes."""
    before = timeless(project)
    dirt = project / "data/pool/dirt.parquet"
    kept = dirt.read_bytes()
    dirt.unlink()
    try:
        for command in (["stages.curate"], ["stages.pretrain", "--arm", "supervised-hard"]):
            done = subprocess.run([sys.executable, "-m", *command], cwd=project, env=ENVIRONMENT, capture_output=True)
            assert done.returncode == 0, done.stderr
    finally:
        dirt.write_bytes(kept)
    for path in ("results/pretrain/supervised-hard/model.safetensors", "results/pretrain/supervised-hard/trace.parquet"):
        assert hashlib.md5((project / path).read_bytes()).hexdigest() == before[path]
