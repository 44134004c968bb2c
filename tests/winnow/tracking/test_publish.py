"""MLflow as a view: real SQLite tracking, live and late, restored and unreachable."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.slow


def environment(**changes):
    inherited = dict(os.environ)
    for name in ("WINNOW_EXECUTION", "MLFLOW_TRACKING_URI"):
        inherited.pop(name, None)
    return {**inherited, "MLFLOW_DISABLE_TELEMETRY": "true", "WINNOW_TRACKING": "on", **changes}


def run(project, *command, **env):
    command = [sys.executable, "-m", *command]
    return subprocess.run(command, cwd=project, env=environment(**env), capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory, copy_project):
    folder = copy_project(tmp_path_factory.mktemp("publish") / "p", "dataset=digits", "scale=debug")
    done = run(folder, "stages.ingest", "digits", WINNOW_EXECUTION="one")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    return folder


def runs(project):
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("winnow stages").experiment_id
    return client, client.search_runs([experiment], max_results=1000)


def test_a_stage_has_its_run_and_nothing_else_has(project):
    client, (child,) = runs(project)
    assert child.info.run_name == child.data.tags["dvc.stage"] == "ingest@digits"
    assert child.data.tags["winnow.execution"] == "one"
    assert child.info.status == "FINISHED"
    metrics = json.loads((project / "data/ingest/digits/metrics.json").read_text())
    cost = json.loads((project / "data/ingest/digits/cost.json").read_text())
    assert child.data.metrics["result/found"] == metrics["found"]
    assert child.data.metrics["cost/kwh"] == pytest.approx(cost["kwh"])
    assert child.data.metrics["cost/flops_total"] == 0
    names = {a.path for a in client.list_artifacts(child.info.run_id)}
    assert {"metrics.json", "cost.json", "files.json"} <= names


def test_what_did_not_change_adds_nothing(project):
    """Not even in a later execution, for which DVC ran nothing or used its cache."""
    before = len(runs(project)[1])
    done = run(project, "winnow.cli.main", "publish", WINNOW_EXECUTION="two")
    assert done.stdout == "published 0 stages and 0 arms to MLflow\n"
    assert len(runs(project)[1]) == before


def test_mlflow_out_of_reach_is_one_warning_and_can_be_made_up_for(project):
    nowhere = "http://127.0.0.1:9"  # the discard port: nothing listens
    done = run(project, "stages.curate", WINNOW_EXECUTION="three", MLFLOW_TRACKING_URI=nowhere)
    assert done.returncode == 0
    (warning,) = [line for line in (done.stdout + done.stderr).splitlines() if "warning" in line]
    assert "curate is not in MLflow" in warning
    assert warning.endswith("log it later with: winnow publish")
    assert (project / "data/versions/pool/uids.npy").exists()
    late = run(project, "winnow.cli.main", "publish")
    assert "published 1 stages and 0 arms" in late.stdout
    _, found = runs(project)
    (child,) = [run for run in found if run.data.tags.get("dvc.stage") == "curate"]
    assert child.data.tags["winnow.execution"] == "three"
    assert child.data.tags["winnow.late"] == "true"


def test_versions_are_logged_by_the_digest_of_their_lineage(project):
    """curate makes them, from the pool alone."""
    client, found = runs(project)
    (child,) = [run for run in found if run.data.tags.get("dvc.stage") == "curate"]
    made = {given.dataset.name: given for given in child.inputs.dataset_inputs}
    assert set(made) == {"pool version", "reference version"}
    for name in ("pool", "reference"):
        lineage = json.loads((project / "data/versions" / name / "lineage.json").read_text())
        given = made[f"{name} version"]
        assert given.dataset.digest == lineage["digest"][:36]
        source = {"path": f"data/versions/{name}", "sha256": lineage["digest"]}
        assert json.loads(given.dataset.source) == source
        tags = {tag.key: tag.value for tag in given.tags}
        assert tags["mlflow.data.context"] == "made"
        assert tags["winnow.dataset.digits"] == lineage["datasets"]["digits"]["digest"]
        assert child.data.tags[f"winnow.version.{name}"] == lineage["digest"]
    cost = json.loads((project / "data/versions/cost.json").read_text())
    assert set(cost["requested"]) == {"by", "at"}
    paths = {artifact.path for artifact in client.list_artifacts(child.info.run_id, "versions/pool")}
    assert {"versions/pool/croissant.json", "versions/pool/lineage.json"} <= paths


def test_a_stage_that_reads_a_version_has_it_as_its_input(project):
    """And a stage that runs for an item of a list, as datasheet does, is published like the others."""
    done = run(project, "stages.datasheet", "reference", WINNOW_EXECUTION="three")
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 60  # the follower logs its last lines after the stage has ended
    child = None
    while time.monotonic() < deadline and not (child and child.info.status == "FINISHED"):
        time.sleep(0.5)
        client, found = runs(project)
        child = next((r for r in found if r.data.tags.get("dvc.stage") == "datasheet@reference"), None)
    assert child.info.status == "FINISHED"
    (given,) = child.inputs.dataset_inputs
    assert given.dataset.name == "reference version"
    assert {tag.key: tag.value for tag in given.tags}["mlflow.data.context"] == "datasheet"
    assert "card.html" in {artifact.path for artifact in client.list_artifacts(child.info.run_id)}


def test_publish_without_a_server_says_so_in_one_line(project):
    done = run(project, "winnow.cli.main", "publish", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "nothing is lost" in done.stderr


def test_a_killed_stage_is_marked_and_leaves_no_half_written_out(project):
    params = project / "params.yaml"  # so long a training that it cannot end before it is killed
    params.write_text(params.read_text().replace("examples: 1280", "examples: 1000000"))
    command = [sys.executable, "-m", "stages.reference"]
    child = subprocess.Popen(
        command, cwd=project, env=environment(WINNOW_EXECUTION="four"), stdout=subprocess.DEVNULL
    )
    client, state = MlflowClient(f"sqlite:///{project}/mlflow.db"), []
    deadline = time.monotonic() + 90
    while not state and time.monotonic() < deadline:
        time.sleep(0.5)
        state = [run for run in runs(project)[1] if run.data.tags.get("dvc.stage") == "reference"]
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 60
    while client.get_run(state[0].info.run_id).info.status == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.5)
    assert client.get_run(state[0].info.run_id).info.status == "KILLED"
    assert not (project / "results/reference/models").exists()


def test_children_that_create_the_database_at_once_do_not_fail(tmp_path):
    """Two of three did (`table experiments already exists`): the client makes the tables when it is made."""
    code = (
        "import sys, time; from pathlib import Path; from winnow.pipeline.workspace import Workspace\n"
        "from winnow.tracking.runs import Runs\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "Runs(Workspace(Path(sys.argv[1]))).start('stages', 'one', {'winnow.kind': 'stage'})"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, env=environment(), **pipes) for _ in range(3)]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    ends = [(child.communicate()[1], child.returncode) for child in children]
    assert [code for _, code in ends] == [0, 0, 0], ends
    kinds = [run.data.tags["winnow.kind"] for run in runs(tmp_path)[1]]
    assert sorted(kinds) == ["stage", "stage", "stage"]
