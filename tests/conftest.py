"""What many tests share: the repository's root, and a copy of the project that a test may run and change."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("conf", "flows", "models", "stages", "winnow")


def copy(target: Path, *overrides: str) -> Path:
    """Copy the project's sources into an empty folder and compose its params.yaml there."""
    target.mkdir(parents=True, exist_ok=True)
    for room in ROOMS:
        shutil.copytree(ROOT / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / ".dvc", target / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local")
    )
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, target / name)
    (target / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    if overrides:
        subprocess.run(
            [sys.executable, "-m", "winnow.cli.main", "compose", *overrides], cwd=target, check=True
        )
    return target


@pytest.fixture(scope="session")
def copy_project():
    """`copy` above."""
    return copy
