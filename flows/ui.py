"""`make ui`: the Prefect server, a worker that runs what is due, and the MLflow UI, until Ctrl-C.

All on the loopback address. Ports: PREFECT_SERVER_API_PORT (4200) and MLFLOW_PORT (5000). Logs:
.winnow/logs/. While it runs, the other commands of this room find the servers by themselves.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows import environment
from flows.processes import Children

HOST = "127.0.0.1"
START_SECONDS = (
    120.0  # 12 s each on two idle cores; a fresh database and a busy machine take several times that
)
DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")


@dataclass
class Server:
    """One server to keep running."""

    name: str
    port_variable: str
    port: int
    health: str
    command: list[str]

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.port}"


def servers() -> list[Server]:
    """Both servers, by the environment. Raises ValueError for a port that is no number or in use."""
    prefect_port, mlflow_port = _port("PREFECT_SERVER_API_PORT", 4200), _port("MLFLOW_PORT", 5000)
    tracking = os.environ["MLFLOW_TRACKING_URI"]
    if not tracking.startswith(DATABASES):
        tracking = environment.defaults(environment.root())["MLFLOW_TRACKING_URI"]
    mlflow = ["mlflow", "server", "--backend-store-uri", tracking, "--host", HOST, "--port", str(mlflow_port)]
    return [
        Server(
            "Prefect", "PREFECT_SERVER_API_PORT", prefect_port, "/api/health", ["prefect", "server", "start"]
        ),
        Server("MLflow", "MLFLOW_PORT", mlflow_port, "/health", [*mlflow, "--workers", "1"]),
    ]


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{variable}={text} is not a port number")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, int(text)))
        except OSError:
            raise ValueError(
                f"port {text} is in use: set {variable} to a free one, such as {int(text) + 1}"
            ) from None
    return int(text)


def _surroundings(prefect: Server) -> dict[str, str]:
    """Prefect's browser code takes the API's address from these variables; a `--port` alone would leave it at
    4200.
    """
    api = f"{prefect.address}/api"
    return {
        **os.environ,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(prefect.port),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,
    }


@contextmanager
def running(root: Path, wanted: list[Server]) -> Iterator[list["subprocess.Popen[str]"]]:
    """The servers, up and healthy; stopped at the end. Raises RuntimeError if one does not come up."""
    logs = root / ".winnow" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    children = Children(root, _surroundings(wanted[0]))
    notes = {environment.server_note(root): f"{wanted[0].address}/api"}
    notes |= {environment.mlflow_note(root): server.address for server in wanted[1:]}
    started = []
    try:
        for server in wanted:
            started.append(_start(children, server.command, _log(logs, server.name)))
        for server, child in zip(wanted, started, strict=True):
            _await(server, child, _log(logs, server.name))
        for note, address in notes.items():
            note.write_text(address, encoding="utf-8")
        yield started
    finally:
        for note in notes:
            note.unlink(missing_ok=True)
        children.stop()


@contextmanager
def nightly(root: Path, prefect: Server) -> Iterator["subprocess.Popen[str]"]:
    """The deployments of prefect.yaml, created or updated, and a worker that runs them; its end is the
    worker's. Raises RuntimeError if Prefect refuses the deployments.
    """
    logs, children = root / ".winnow" / "logs", Children(root, _surroundings(prefect))
    lines = ["no reason given"]
    try:
        if children.run([sys.executable, "-m", "flows.deployments"], lines.append):
            raise RuntimeError(f"the nightly run was not deployed: {lines[-1]}")
        worker = ["prefect", "worker", "start", "--pool", "local"]
        child = _start(children, worker, _log(logs, "worker"))
        print(f"Nightly {lines[1].split(': ', 1)[1]}, run by a worker for as long as this runs", flush=True)
        yield child
    finally:
        children.stop()


def comparison(root: Path, mlflow: Server) -> str:
    """The address of the arms in MLflow, sorted and drawn; of the server where there are none yet."""
    command = [sys.executable, "-m", "winnow.cli.main", "ui"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return next(iter(done.stdout.split()), mlflow.address)


def _start(children: Children, module: list[str], log: Path) -> "subprocess.Popen[str]":
    with log.open("w", encoding="utf-8") as file:
        return children.start([sys.executable, "-m", *module], file.fileno())


def _log(logs: Path, name: str) -> Path:
    return logs / f"{name.lower()}.log"


def _await(server: Server, child: "subprocess.Popen[str]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < end:
        if environment.answers(server.address, server.health):
            return
        time.sleep(0.2)
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or [
        "nothing in its log"
    ]
    raise RuntimeError(f"{server.name} did not start: {last[0].strip()} (see {log})")


def _leave(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def main() -> int:
    """Start both, print where they are, and wait. Exit codes: 0 asked to stop, 1 a server failed, 2 a port is
    taken.
    """
    root = environment.root()
    environment.prepare(root)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        wanted = servers()
        print("Starting Prefect and MLflow, 20-40 s", flush=True)
        with running(root, wanted) as children, ExitStack() as stack:
            named = dict(zip((server.name for server in wanted), children, strict=True))
            print(f"Prefect {wanted[0].address}", flush=True)
            print(f"MLflow  {comparison(root, wanted[1])}", flush=True)
            if (root / "prefect.yaml").is_file():
                named["The worker"] = stack.enter_context(nightly(root, wanted[0]))
            print(f"Logs: {root / '.winnow' / 'logs'}. Stop with Ctrl-C.", flush=True)
            while all(child.poll() is None for child in named.values()):
                time.sleep(0.5)
            dead = next(name for name, child in named.items() if child.poll() is not None)
            raise RuntimeError(f"{dead} ended by itself (see {root / '.winnow' / 'logs'})")
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 0
    except (RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


if __name__ == "__main__":
    sys.exit(main())
