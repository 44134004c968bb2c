"""Where the repository is, and the environment that keeps DVC, Prefect and MLflow quiet, offline and inside
it.

Prefect reads its settings while it is imported, so a command of this room calls `prepare` before it imports
Prefect.
"""

import os
import urllib.error
import urllib.request
from pathlib import Path


def root() -> Path:
    """The DVC repository that the current folder lies in; outside of any, the one that holds this file."""
    here = Path.cwd().resolve()
    return next(
        (folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), Path(__file__).parents[1]
    )


def defaults(repository: Path) -> dict[str, str]:
    """Values for what a user has not set. Paths are absolute: workers have other working folders."""
    return {
        "DO_NOT_TRACK": "true",  # "true", not "1": MLflow accepts nothing else
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(repository / ".dvc" / "tmp" / "site"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # saves 1.1 GB of memory
        "MLFLOW_TRACKING_URI": f"sqlite:///{repository / 'mlflow.db'}",
        "PREFECT_HOME": str(repository / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # 20 s by default; a fresh database takes up to 30
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def prepare(repository: Path) -> str | None:
    """Set what is unset; return the address of the Prefect API: the user's own, or that of a running `make
    ui`.
    """
    for key, value in defaults(repository).items():
        os.environ.setdefault(key, value)
    note = server_note(repository)
    if (
        not os.environ.get("PREFECT_API_URL")
        and note.exists()
        and answers(url := note.read_text(encoding="utf-8"))
    ):
        os.environ["PREFECT_API_URL"] = url
    return os.environ.get("PREFECT_API_URL")


def server_note(repository: Path) -> Path:
    """The file that holds the address of the Prefect API for as long as `make ui` runs."""
    return repository / ".winnow" / "prefect-api-url"


def mlflow_note(repository: Path) -> Path:
    """The same for the address of MLflow; `winnow ui` reads it."""
    return repository / ".winnow" / "mlflow-url"


def answers(api_url: str, path: str = "/health") -> bool:
    """Whether any server answers there; one that refuses (such as a cloud that wants a key) answers too."""
    try:
        with urllib.request.urlopen(api_url + path, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
