"""The `winnow` command in a workspace of its own: the digits pool, and two versions of it."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from winnow.cli.main import main
from winnow.config.plugins import CODE
from winnow.pipeline.workspace import Workspace
from winnow.versions.version import write

EXPOSURE = {"name": "exposure", "parameters": {"darkest": 10.0}, "code": "c" * 64, "rows_in": 9}
LINEAGE = {"parent": None, "model": None, "seed": 0}


@pytest.fixture
def workspace(tmp_path, digits_pool, digits_params):
    """Version `whole` holds every row, version `part` all but the first three, which a filter found dark."""
    found = Workspace(tmp_path)
    shutil.copy(CODE / "dvc.yaml", tmp_path)
    found.params.write_text(yaml.safe_dump(dataclasses.asdict(digits_params)))
    folder = found.dataset("pool", "digits")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(digits_pool.folder)
    rows = np.arange(len(digits_pool))
    dark = np.full(len(rows), "dark", object)
    for name, first in (("whole", 0), ("part", 3)):
        steps = [{**EXPOSURE, "dropped": {"dark": first} if first else {}}]
        write(found.version(name), name, digits_pool, rows >= first, dark, {**LINEAGE, "steps": steps})
    return found


@pytest.fixture
def winnow(workspace):
    """A function: run a command inside the workspace."""

    def run(*arguments: str):
        with contextlib.chdir(workspace.root):
            return CliRunner().invoke(main, list(arguments))

    return run
