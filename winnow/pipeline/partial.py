"""Where long work is kept until it is whole: a folder that outlives a kill, named by all that decides what
goes into it.

The work folder of a stage is emptied at each start (winnow/pipeline/stage.py); this one lies beside it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from winnow.pipeline.code import digest


def partial_folder(root: Path, work: str, inputs: Any, *modules: str) -> Path:
    """The folder of this work for these inputs and this code; those that it had for others are deleted, with
    the files beside them.

    Args:
        root: `Workspace.partial`.
        work: a name, such as `ingest`.
        inputs: all that decides the result beside the code, as JSON would have it.
        modules: the modules that do the work, plug-ins included; their closure is part of the key.
    """
    told = json.dumps([inputs, digest(*modules)], sort_keys=True, default=str)
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    folder = root / f"{work}-{key}"
    for other in root.glob(f"{work}-{'[0-9a-f]' * len(key)}*"):
        if other.name.startswith(folder.name):
            continue
        if other.is_file():
            other.unlink(missing_ok=True)
        else:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def deliver(folder: Path, target: Path, place: Callable[[Path], Path] = Path) -> None:
    """Move a whole result file by file into a folder on the same disk.

    Args:
        place: from a file's path in `folder` to its path in `target`; by default the same.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        final = target / place(path.relative_to(folder))
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, final)
    shutil.rmtree(folder)
