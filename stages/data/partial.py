"""Where long work is kept until it is whole: a folder that outlives a kill, named by all that decides what goes into it.

The work folder of a stage is emptied at each start (stages/stage.py); this one lies beside it. Ingest keeps its pool in one, for one
source, seed and code; refine what its filters have found so far.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

from stages.params import ROOT, Dataset

FOLDER = ROOT / ".winnow" / "partial"
DATA = ("images", "intake", "parts", "pollution", "pool", "pool_writer", "shards", "tail", "uids")
LIBRARIES = ("imagehash", "numpy", "pillow", "pyarrow", "scipy")  # what the stored bytes depend on


def claim(dataset: Dataset, seed: int) -> Path:
    """The folder for the pool of this source, with what a run that was stopped left in it; those of other params or code go."""
    return place("ingest", _key(dataset, seed))


def place(work: str, key: str) -> Path:
    """The folder of this work for this key, which is hexadecimal; those that it had for other keys go."""
    folder = FOLDER / f"{work}-{key}"
    for other in FOLDER.glob(f"{work}-{'[0-9a-f]' * len(key)}"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def deliver(folder: Path, target: Path) -> None:
    """Move a whole pool file by file into a folder on the same disk."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        final = target / path.relative_to(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, final)
    shutil.rmtree(folder)


def _key(dataset: Dataset, seed: int) -> str:
    """The source's own files are not asked: whoever goes on reads them again, and compares (stages/ingest.py)."""
    stages = ROOT / "stages"
    names = [stages / "ingest.py", *(stages / "data" / f"{name}.py" for name in DATA)]
    names += [stages / "sources" / f"{dataset.source}.py", *sorted((stages / "sources").glob("_*.py"))]
    told = [seed, dataclasses.asdict(dataset), {name: version(name) for name in LIBRARIES}]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for path in names:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
