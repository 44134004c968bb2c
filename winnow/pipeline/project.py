"""A project of one's own beside the clone: its settings, data and results; the code stays in the clone.

`dvc.yaml` is copied as it is, and names code by paths such as `winnow/pool`. So the project links to the
clone's folders of code: `python -m stages.NAME` finds them, DVC hashes what they hold, and an update of the
clone reruns what it changes. Paths like `${code}/winnow/pool` would make another dvc.yaml, and absolute ones
another dvc.lock, on every machine. The links are not for git; they are made again by `winnow init --link`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from winnow.config.plugins import CODE

COPIED = ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots", "conf")
ROOMS = ("flows", "models", "stages", "winnow")


def start(folder: Path, code: Path = CODE) -> None:
    """Make a project in a new or empty folder.

    Args:
        code: the clone.

    Raises:
        ValueError: for a folder that is not empty or lies in the clone, or where Winnow is no clone.
    """
    if not (code / "dvc.yaml").is_file():
        raise ValueError(f"{code} has no dvc.yaml; run `winnow init` of a clone (pip install -e CLONE)")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty; give a new folder")
    if folder.resolve().is_relative_to(code):
        raise ValueError(f"{folder} lies in the clone {code}; give a folder outside of it")
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (code / name).is_dir():
            shutil.copytree(code / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(code / name, folder / name)
    ignored = (code / ".gitignore").read_text(encoding="utf-8")
    ignored = "".join(line for line in ignored.splitlines(keepends=True) if line.strip() != ".venv/")
    links = "".join(f"/{name}\n" for name in (*ROOMS, ".venv"))
    (folder / ".gitignore").write_text(f"{ignored}# links to the clone: winnow init --link\n{links}")
    link(folder, code)
    _begin_history(folder)


def link(folder: Path, code: Path = CODE) -> None:
    """Make the links to the clone's code, those that are there anew.

    Raises:
        ValueError: for a folder without dvc.yaml, or where something else has a link's name.
    """
    if not (folder / "dvc.yaml").is_file():
        raise ValueError(
            f"{folder} has no dvc.yaml, so it is no project; make one with: winnow init {folder}"
        )
    # So that dvc.yaml's `$PWD/.venv/bin` finds the interpreter that has everything.
    targets = {**{name: code / name for name in ROOMS}, ".venv": Path(sys.prefix)}
    for name, target in targets.items():
        path = folder / name
        if path.exists() and not path.is_symlink():
            raise ValueError(f"{path} is there and no link; move it away")
        path.unlink(missing_ok=True)
        path.symlink_to(target, target_is_directory=True)


def _begin_history(folder: Path) -> None:
    """A git repository, which DVC works in; where there is no git, DVC is told so."""
    inside = ["git", "-C", str(folder), "rev-parse", "--is-inside-work-tree"]
    try:
        if subprocess.run(inside, capture_output=True).returncode:
            subprocess.run(["git", "init", "--quiet", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
