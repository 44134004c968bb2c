"""`make ui` with the real servers on free ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows import environment, ui


def start(root: Path, surroundings: dict[str, str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "flows.ui"]
    return subprocess.Popen(
        command, cwd=root, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def read(url: str, body: dict[str, str] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def with_ports(surroundings: dict[str, str], ports: list[int]) -> dict[str, str]:
    return {**surroundings, "PREFECT_SERVER_API_PORT": str(ports[0]), "MLFLOW_PORT": str(ports[1])}


@pytest.mark.slow
def test_servers_and_a_worker_on_loopback_and_sigterm_leaves_nothing(
    toy: Path, surroundings: dict[str, str], free_ports: list[int]
) -> None:
    prefect, mlflow = (f"http://127.0.0.1:{port}" for port in free_ports)
    command = start(toy, with_ports(surroundings, free_ports))
    note = toy / ".winnow" / "prefect-api-url"
    try:
        end = time.monotonic() + 150
        while not note.exists():
            assert command.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)
        assert json.loads(read(f"{prefect}/api/health")) is True
        assert read(f"{mlflow}/health") == "OK"
        # Prefect's trap: started by `--port` alone, its browser code would ask port 4200
        assert json.loads(read(f"{prefect}/ui-settings"))["api_url"] == f"{prefect}/api"
        assert note.read_text() == f"{prefect}/api"
        assert (toy / ".winnow/mlflow-url").read_text() == mlflow
        # a worker polls the pool that the nightly run is deployed to, which nothing did before
        pool = f"{prefect}/api/work_pools/local/workers/filter"
        while not (json.loads(read(pool, {})) if (toy / ".winnow/logs/worker.log").exists() else []):
            assert command.poll() is None
            assert time.monotonic() < end
            time.sleep(0.5)
        deployed = json.loads(read(f"{prefect}/api/deployments/name/pipeline/nightly"))
        assert [one["active"] for one in deployed["schedules"]] == [True]
        tree = psutil.Process(command.pid).children(recursive=True)
        assert len(tree) >= 3
        listening = {c.laddr.ip for p in tree for c in p.net_connections("inet") if c.status == "LISTEN"}
        assert listening == {"127.0.0.1"}
    finally:
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 0
    assert output.splitlines()[1:4] == [
        f"Prefect {prefect}",
        "MLflow  http://mlflow/arms",
        "Nightly 0 3 * * * UTC, run by a worker for as long as this runs",
    ]
    assert not psutil.wait_procs(tree, timeout=5)[1]
    assert not note.exists()
    logs = {log.name for log in (toy / ".winnow" / "logs").iterdir()}
    assert logs == {"prefect.log", "mlflow.log", "worker.log"}


def test_a_port_in_use_is_named_with_its_variable(
    toy: Path, surroundings: dict[str, str], free_ports: list[int]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_ports[1]))
        taken.listen()
        command = start(toy, with_ports(surroundings, free_ports))
        output, _ = command.communicate(timeout=60)
    assert command.returncode == 2
    assert output.startswith(f"port {free_ports[1]} is in use: set MLFLOW_PORT to a free one")
    assert len(output.splitlines()) == 1


def test_the_mlflow_ui_reads_the_users_database(
    toy: Path, monkeypatch: pytest.MonkeyPatch, free_ports: list[int]
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(free_ports[0]))
    monkeypatch.setenv("MLFLOW_PORT", str(free_ports[1]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://user@host/runs")
    assert "postgresql://user@host/runs" in ui.servers()[1].command
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    assert f"sqlite:///{toy / 'mlflow.db'}" in ui.servers()[1].command
    monkeypatch.setenv("MLFLOW_PORT", "many")
    with pytest.raises(ValueError, match="MLFLOW_PORT=many is not a port number"):
        ui.servers()


def test_what_the_user_has_set_stays(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in environment.defaults(toy):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere.db")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert environment.prepare(toy) is None
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:////elsewhere.db"
    assert os.environ["PREFECT_HOME"] == str(toy / ".prefect")


def test_the_address_of_a_server_that_died_is_not_used(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"})
    environment.server_note(toy).parent.mkdir()
    environment.server_note(toy).write_text("http://127.0.0.1:1/api")
    assert environment.prepare(toy) is None


def test_the_root_is_the_dvc_repository_around(
    toy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(toy / "stages")
    assert environment.root() == toy.resolve()
    monkeypatch.chdir(tmp_path)
    assert environment.root() == Path(environment.__file__).parents[1]
