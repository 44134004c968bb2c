"""The nightly deployment on a real server, made by the command that users type, and run by a real worker."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def client(server: str) -> Iterator[Any]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as found:
        yield found


def deploy(root: Path, **extra: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows.deployments"]
    return subprocess.run(command, cwd=root, env={**os.environ, **extra}, capture_output=True, text=True)


@pytest.mark.slow
def test_without_a_server_it_says_what_to_do(toy: Path) -> None:
    done = deploy(toy, PREFECT_API_URL="http://127.0.0.1:1/api", PREFECT_HOME=str(toy / ".prefect"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "No Prefect server answers: run `make ui` first, or set PREFECT_API_URL"
    ]


@pytest.mark.slow
def test_deploying_again_changes_nothing_and_wakes_nothing(toy: Path, server: str, client: Any) -> None:
    first = deploy(toy)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "pipeline/nightly: 0 3 * * * UTC"
    assert f"PREFECT_API_URL={server} " in first.stdout

    deployment = client.read_deployment_by_name("pipeline/nightly")
    (schedule,) = deployment.schedules
    assert (schedule.slug, schedule.active, schedule.schedule.cron) == ("nightly", True, "0 3 * * *")
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert deployment.work_pool_name == "local"
    (step,) = deployment.pull_steps
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(toy)}}
    assert str(toy) not in (toy / "prefect.yaml").read_text()

    client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    second = deploy(toy)
    assert second.stdout.splitlines()[0] == "pipeline/nightly: 0 3 * * * UTC, paused"
    (again,) = client.read_deployments()
    assert again.id == deployment.id
    assert [(s.slug, s.active) for s in again.schedules] == [("nightly", False)]


@pytest.mark.slow
def test_a_worker_runs_it_in_the_repository_and_a_cancel_reaches_the_stage(
    toy: Path, client: Any, tmp_path: Path
) -> None:
    from prefect.states import Cancelling

    (toy / "side.sh").write_text("echo $$ > pid.txt\nsleep 300\n")
    assert deploy(toy).returncode == 0
    deployment = client.read_deployment_by_name("pipeline/nightly")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"targets": ["side"]})
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "local"]
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: (toy / "pid.txt").exists() and (toy / "pid.txt").read_text().strip())
        stage = int((toy / "pid.txt").read_text())
        client.set_flow_run_state(run.id, Cancelling())
        wait_until(lambda: client.read_flow_run(run.id).state.name == "Cancelled")
        assert not Path(f"/proc/{stage}").exists()
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(timeout=60)
        except (
            subprocess.TimeoutExpired
        ):  # Prefect's worker, not ours: its observer of cancellations has failed with NoEventLoopError
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(timeout=60)


def wait_until(condition: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
