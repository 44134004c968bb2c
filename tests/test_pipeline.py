"""The whole DAG on real DVC, with digits: reproducible bytes, small re-runs, resumed runs, mistakes."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from winnow.config.compose import complete
from winnow.pipeline.attempts import spent_file
from winnow.pipeline.stages import Stages
from winnow.pool import uids as uid_files
from winnow.versions import version

pytestmark = pytest.mark.slow
TWO_ARMS = (
    "dataset=digits",
    "scale=debug",
    "arms=supervised-hard,supervised-learnability",
    "seeds=1",
    "versions.small={parent: pool, model: results/reference/models/supervised, "
    "filters: {semantic_duplicate: {max_similarity: 0.9999}, label_error: {}}}",
    "arms.supervised-learnability.version=small",
)
TIMED = re.compile(r"cost\.json|results/compare")


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
    for path in (
        "compare/report.html",
        "compare/table.json",
        "datasheet/pool/card.html",
        "datasheet/small/card.html",
    ):
        assert (project / "results" / path).stat().st_size > 1000
    for arm in arms:
        assert (project / "results/pretrain" / arm / "metrics.json").exists()
        for task in ("linear_probe", "semi_supervised", "detection"):
            assert (project / "results/tasks" / task / arm / "held_out/metrics.json").exists()


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
    folder = project / "data/versions/small"
    lineage, trained = json.loads((folder / "lineage.json").read_text()), uid_files.load(folder / "uids.npy")
    pool = version.load(project / "data/versions/pool")
    assert lineage["parent"] == {"name": "pool", "digest": pool.digest}
    assert [step["name"] for step in lineage["steps"]] == ["semantic_duplicate", "label_error"]
    dropped = sum(sum(step["dropped"].values()) for step in lineage["steps"])
    assert 0 < dropped == len(pool.uids) - len(trained)
    trace = pq.read_table(project / "results/pretrain/supervised-learnability/trace.parquet")[
        "uid"
    ].to_pylist()
    assert set(trace) <= set(trained) < set(pool.uids)
    reference = json.loads((project / "results/reference/models/supervised/reference.json").read_text())
    model = reference["flops"]["train"]
    rows = {row["arm"]: row for row in json.loads((project / "results/compare/table.json").read_text())}
    assert lineage["flops"]["model"] == model
    assert rows["supervised-learnability"]["flops"]["curate"] == sum(lineage["flops"].values()) > model
    assert rows["supervised-hard"]["flops"]["curate"] == 0
    assert (
        rows["supervised-learnability"]["flops"]["reference"] == reference["flops"]["score"]
    )  # its training is in curate already
    assert "small" in (project / "results/compare/table.md").read_text()


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
    params["policies"]["hard"]["filter_ratio"] = 0.25
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    done = dvc(project, "repro")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    tasks = ("linear_probe", "semi_supervised", "detection")
    assert {stage for stage in ran(done) if "@" in stage} == {
        "pretrain@supervised-hard",
        *(f"{task}@supervised-hard.held_out" for task in tasks),
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
    params["engine"]["checkpoint_seconds"] = 0.0
    params["pretrain"]["budget"] *= 3
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    stage = "pretrain@supervised-learnability"
    whole = dvc(project, "repro", stage)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    weights = project / "results/pretrain/supervised-learnability/model.safetensors"
    expected = weights.read_bytes()

    command = [sys.executable, "-m", "stages.pretrain", "supervised-learnability"]
    saved = project / ".winnow/checkpoints"
    old = set(saved.glob("*.pt"))
    child = subprocess.Popen(command, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not set(saved.glob("*.pt")) - old and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (checkpoint,) = set(saved.glob("*.pt")) - old
    (killed,) = json.loads(spent_file(checkpoint).read_text()).values()
    weights.unlink()
    again = subprocess.run(command, cwd=project, env=ENVIRONMENT, capture_output=True, text=True)
    assert "resuming after step" in again.stdout
    assert weights.read_bytes() == expected
    cost = json.loads(weights.with_name("cost.json").read_text())
    assert cost["earlier"] == {"attempts": 1, "seconds": round(killed["spent"]["seconds"], 3)}
    assert killed["spent"]["seconds"] > 0
    assert cost["seconds"] >= cost["earlier"]["seconds"] + cost["energy"]["measured_seconds"]
    assert cost["energy_quality"] in ("counter", "estimated")  # nothing is unknown for having been killed
    assert not spent_file(checkpoint).exists()
    (project / "params.yaml").write_text(before)


def test_an_arm_trains_on_from_another_and_its_control_is_the_same_bytes(project):
    """`on` starts from supervised-hard, `still` exports it untouched; neither runs its start again."""
    before = (project / "params.yaml").read_text()
    params = yaml.safe_load(before)
    params["backbones"]["started"] = {
        **params["backbones"]["resnet10t"],
        "weights": "results/pretrain/supervised-hard",
    }
    params["pretrain"]["weights_share"] = 0.5
    plain = params["arms"]["supervised-hard"]
    for name, frozen in (("on", False), ("still", True)):
        params["arms"][name] = {**plain, "policy": "uniform", "backbone": "started", "frozen": frozen}
        del params["arms"][name]["dvc"]
    params["methods"]["supervised"] |= {"layer_decay": 0.7, "freeze": 0.25}
    (project / "params.yaml").write_text(yaml.safe_dump(complete(params)))
    done = dvc(project, "repro", "pretrain@on", "pretrain@still")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    ours = {name: project / "results/pretrain" / name for name in ("supervised-hard", "on", "still")}
    read = {name: json.loads((folder / "metrics.json").read_text()) for name, folder in ours.items()}
    bytes_of = {name: (folder / "model.safetensors").read_bytes() for name, folder in ours.items()}
    assert bytes_of["still"] == bytes_of["supervised-hard"] != bytes_of["on"]
    paid = read["supervised-hard"]["flops"]["total"] // 2
    flops = read["still"]["flops"]
    assert (flops["weights"], flops["total"], read["still"]["steps"]) == (paid, paid, 0)
    assert read["on"]["flops"]["weights"] == paid
    assert 0 < read["on"]["flops"]["train"] <= read["on"]["budget"] - paid
    assert read["on"]["weights"]["flops"] == read["supervised-hard"]["flops"]["total"]
    assert read["still"]["val_top1"] == read["supervised-hard"]["val_top1"]
    (project / "params.yaml").write_text(before)
    assert dvc(project, "repro").returncode == 0


def test_a_mistake_is_one_line_and_nothing_is_lost(project):
    before = (project / "params.yaml").read_text()
    report = (project / "results/compare/report.html").read_bytes()
    (project / "params.yaml").write_text(before.replace("budget:", "budgt:"))
    done = dvc(project, "repro")
    (project / "params.yaml").write_text(before)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if "budgt" in line]
    (line,) = said
    assert line.startswith(
        "error: params.yaml: pretrain.budgt: not a key; did you mean budget? Allowed: budget,"
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert dvc(project, "repro").returncode == 0
    assert (project / "results/compare/report.html").read_bytes() == report


def test_curation_and_training_never_open_the_record_of_the_corruption(project):
    """Without corruption.parquet, curation and an arm give the same bytes."""
    before = timeless(project)
    record = project / "data/provenance/digits/corruption.parquet"
    kept = record.read_bytes()
    record.unlink()
    try:
        for command in (["stages.curate"], ["stages.pretrain", "supervised-hard"]):
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=project, env=ENVIRONMENT, capture_output=True
            )
            assert done.returncode == 0, done.stderr
    finally:
        record.write_bytes(kept)
    for path in (
        "results/pretrain/supervised-hard/model.safetensors",
        "results/pretrain/supervised-hard/trace.parquet",
    ):
        assert hashlib.md5((project / path).read_bytes()).hexdigest() == before[path]


# --- only what shapes a result runs it again


def changed(project, change):
    """The stages that DVC would run again with params.yaml changed, those after them included."""
    assert dvc(project, "repro").returncode == 0
    before = (project / "params.yaml").read_text()
    params = yaml.safe_load(before)
    change(params)
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    status = json.loads(dvc(project, "status", "--json").stdout)
    stages = Stages.read(project)
    (project / "params.yaml").write_text(before)
    return {later for stage in status for later in stages.downstream(stage)}


def test_what_changes_no_byte_runs_nothing(project):
    def change(params):
        params["engine"] = {"cluster": None, "cache_gb": 0.5, "checkpoint_seconds": 7.0}

    assert changed(project, change) == set()


def test_what_shapes_bytes_runs_again(project):
    again = changed(project, lambda params: params["run"].update(threads=1))
    assert {
        "reference",
        "pretrain@supervised-hard",
        "detection@supervised-hard.held_out",
        "refine@small",
    } <= again
    assert not again & {"ingest@digits", "curate", "datasheet@pool"}


def test_an_arm_that_uses_no_reference_does_not_run_again_with_it(project):
    again = changed(project, lambda params: params["reference"].update(examples=1408))
    assert {"reference", "pretrain@supervised-learnability"} <= again
    assert not any("supervised-hard" in stage for stage in again)


def test_who_made_a_dataset_is_no_input_of_ingest(project):
    def of(params):
        return params["datasets"]["pool"]["digits"]["about"]

    again = changed(project, lambda params: of(params).update(creator="Somebody"))
    assert "curate" in again, "it writes the Croissant metadata"
    assert "ingest@digits" not in again


def test_a_plugin_that_nobody_chose_runs_nothing(project):
    """A new filter, method, criterion and source: only the stage that looks up plug-ins looks again."""
    new = {
        "winnow/filters/sepia.py": "winnow/filters/blank.py",
        "models/methods/byol.py": "models/methods/simclr.py",
        "models/criteria/bored.py": "models/criteria/hard.py",
        "winnow/sources/attic.py": "winnow/sources/digits.py",
    }
    for name, template in new.items():
        (project / name).write_text((project / template).read_text())
    try:
        done = dvc(project, "repro")
    finally:
        for name in new:
            (project / name).unlink()
    assert done.returncode == 0, done.stderr
    assert ran(done) == ["plugins"]


def test_an_edit_of_the_datasheets_template_makes_datasheets_and_nothing_else(project):
    template = next((project / "winnow/report").rglob("card.html.j2"))
    before = template.read_text()
    template.write_text(before + "<!-- -->\n")
    done = dvc(project, "repro")
    template.write_text(before)
    assert done.returncode == 0, done.stderr
    assert ran(done) == [f"datasheet@{name}" for name in ("pool", "reference", "small")]
    dvc(project, "repro")


TOY = """
from dataclasses import dataclass

from winnow.config.bounds import bounded
from winnow.pipeline.stage import Stage, main
from winnow.training.weights import load_encoder


@dataclass
class Config:
    power: int = bounded(2, 1)


def toy(stage: Stage) -> None:
    \"\"\"The size of the encoder, to a power.\"\"\"
    encoder, _ = load_encoder(stage.workspace.arm(stage.arm))
    size = sum(weight.numel() for weight in encoder.parameters())
    stage.metrics.update(size=size ** stage.settings(Config).power, protocol="counted")


if __name__ == "__main__":
    main(toy)
"""
TOY_DVC = """
  toy:
    foreach: ${cells.toy}
    do:
      cmd: ${python} -m stages.toy ${key}
      deps:
        - stages/toy.py
        - results/pretrain/${item.arm}/model.safetensors
        - results/pretrain/${item.arm}/config.json
      params: [tasks.toy]
      metrics:
        - results/tasks/toy/${item.arm}/${item.set}/metrics.json
        - results/tasks/toy/${item.arm}/${item.set}/cost.json
"""


def test_a_task_is_added_by_its_module_its_block_in_conf_and_its_block_in_dvc_yaml(project):
    """And is then in params.yaml, in the DAG, in the comparison and its table."""
    kept = {
        name: (project / name).read_text()
        for name in ("conf/tasks.yaml", "dvc.yaml", "params.yaml", "dvc.lock")
    }
    (project / "stages/toy.py").write_text(TOY)
    (project / "conf/tasks.yaml").write_text(kept["conf/tasks.yaml"] + "  toy: {}\n")
    (project / "dvc.yaml").write_text(kept["dvc.yaml"] + TOY_DVC)
    try:
        named = "dataset.tasks=[linear_probe,semi_supervised,detection,toy]"
        compose = [sys.executable, "-m", "winnow.cli.main", "compose", *TWO_ARMS, named]
        subprocess.run(compose, cwd=project, check=True, env=ENVIRONMENT)
        assert yaml.safe_load((project / "params.yaml").read_text())["tasks"]["toy"] == {"power": 2}
        done = dvc(project, "repro")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert {stage.split("@")[0] for stage in ran(done)} == {"toy", "compare"}
        rows = json.loads((project / "results/compare/table.json").read_text())
        assert all(row["tasks"]["held_out"]["toy.size"] > 0 for row in rows)
        assert "toy.size" in (project / "results/compare/report.html").read_text()
    finally:
        (project / "stages/toy.py").unlink()
        for name, text in kept.items():
            (project / name).write_text(text)
    assert dvc(project, "repro").returncode == 0


# --- how a stage is run


def test_dvc_finds_the_environment_that_is_not_on_path(project):
    """`.venv/bin/dvc repro` in a plain shell: else the stage's outs are deleted, and then it fails."""
    (project / ".venv").symlink_to(Path(sys.executable).parent.parent)
    weights = project / "results/pretrain/supervised-hard/config.json"
    before = weights.read_bytes()
    environment = {**ENVIRONMENT, "PATH": "/usr/bin:/bin"}
    command = [project / ".venv/bin/python", "-m", "dvc", "repro", "-f", "-s", "pretrain@supervised-hard"]
    try:
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    finally:
        (project / ".venv").unlink()
    assert done.returncode == 0, done.stderr
    assert weights.read_bytes() == before


def test_a_stage_ends_with_the_dvc_that_started_it_and_the_next_one_resumes(project):
    """kill -9 on dvc alone leaves its children running: the trainer must notice, and never run twice."""
    before = (project / "params.yaml").read_text()
    params = yaml.safe_load(before)
    params["engine"]["checkpoint_seconds"] = 0.0
    params["pretrain"]["budget"] *= 40
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    stage = "pretrain@supervised-hard"
    command = [sys.executable, "-m", "dvc", "repro", "-s", stage]
    saved = project / ".winnow/checkpoints"
    old = set(saved.glob("*.pt"))
    parent = subprocess.Popen(
        command, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: set(saved.glob("*.pt")) - old)
        trainers = [
            p for p in psutil.Process(parent.pid).children(recursive=True) if "stages.pretrain" in p.cmdline()
        ]
        assert trainers
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs(trainers, timeout=20)
        assert not alive, "the trainer outlived dvc"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        (project / "params.yaml").write_text(before)
    assert dvc(project, "repro").returncode == 0


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
