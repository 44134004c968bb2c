"""A toy DVC repository with the shape of the real one, and one real Prefect server for all tests of this
room.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows import environment, ui

REPOSITORY = Path(__file__).resolve().parents[2]

DVC_YAML = """
stages:
  source:
    cmd: echo ${value} > source.txt
    params: [value]
    outs: [source.txt]
  part:
    foreach: ${arms}
    do:
      cmd: cat source.txt > part-${key}.txt && echo ${item.size} >> part-${key}.txt
      deps: [source.txt]
      params: ["arms.${key}"]
      outs: ["part-${key}.txt"]
  join:
    cmd: cat part-a.txt part-b.txt > join.txt
    deps: [part-a.txt, part-b.txt]
    outs: [join.txt]
  side:
    cmd: sh side.sh
    deps: [side.sh]
    outs: [side.txt]
  after:
    cmd: cp side.txt after.txt
    deps: [side.txt]
    outs: [after.txt]
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "toy"
    (root / "stages").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "prefect.yaml", root)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text("value: 1\narms:\n  a: {size: 1}\n  b: {size: 2}\n")
    (root / "side.sh").write_text("echo side > side.txt\n")
    # Stands where the real `winnow publish` and `winnow ui` stand, so that no test writes to the real MLflow
    # database.
    (root / "winnow/cli").mkdir(parents=True)
    for package in ("stages", "winnow", "winnow/cli"):
        (root / package / "__init__.py").touch()
    publish = "print(sys.argv[1], os.environ.get('WINNOW_EXECUTION'), file=open('published.txt', 'a'))"
    link = "print('http://mlflow/arms')"
    (root / "winnow/cli/main.py").write_text(
        f"import os, sys\nif sys.argv[1] == 'ui':\n    {link}\nelse:\n    {publish}\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True, env=_surroundings(root))
    return root


@pytest.fixture
def toy(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the toy repository, and the current folder."""
    root = tmp_path / "toy"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The address of the API of a real Prefect server, which this process and its children use."""
    root, port = tmp_path_factory.mktemp("prefect"), _free_port()
    only = ui.Server(
        "Prefect", "PREFECT_SERVER_API_PORT", port, "/api/health", ["prefect", "server", "start"]
    )
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.defaults(root).items():
            if key.startswith(("PREFECT_", "DO_NOT")):
                patch.setenv(key, value)
        patch.setenv("PREFECT_API_URL", f"{only.address}/api")
        with ui.running(root, [only]):
            yield f"{only.address}/api"


@dataclass
class Outcome:
    """One flow run, as the server tells it."""

    state: Any
    rows: dict[str, dict[str, Any]]
    artifacts: dict[str, Any]

    @property
    def states(self) -> dict[str, str]:
        return {stage: row["state"] for stage, row in self.rows.items()}


@pytest.fixture
def run(toy: Path, server: str) -> Any:
    """Run the flow in this process, in the toy repository."""

    def call(**parameters: Any) -> Outcome:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        from flows.pipeline import pipeline

        with temporary_settings({PREFECT_API_URL: server}):
            state = pipeline(**parameters, return_state=True)
            return _outcome(state)

    return call


def _outcome(state: Any) -> Outcome:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact.data for artifact in client.read_artifacts(artifact_filter=mine)}
    rows = {row["stage"]: row for row in json.loads(found.get("stages", "[]"))}
    return Outcome(state, rows, found)


def _surroundings(root: Path) -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "WINNOW_", "DVC_"))
    }
    return {**kept, **environment.defaults(root)}


@pytest.fixture
def surroundings(toy: Path) -> dict[str, str]:
    """The environment without what configures the three tools, and with their homes in the toy repository."""
    return _surroundings(toy)


@pytest.fixture
def free_ports() -> list[int]:
    """Two ports of the loopback address that nobody listens on."""
    return [_free_port(), _free_port()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
