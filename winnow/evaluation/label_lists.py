"""Which few labelled images a classifier learns from: the lists of curation, further draws, or public lists.

A list of one's own is a file of uids, or a text with the name of a source file in each line, as SimCLR's of
ImageNet (1percent.txt, 10percent.txt; arXiv 2002.05709). Its images must be in the set's probe or val split:
then none is in test, and none of a pool's has a label that was planted wrong.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from torch import Tensor

from winnow.pipeline.files import sha256
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool

MISSING = 0.01  # of the names in a public list may be of images that ingest dropped, or the source lacks


@dataclass(frozen=True)
class LabelList:
    """Sorted uids, and what they are known by: the SHA-256 of their file, or of the uids that were drawn."""

    uids: list[str]
    sha256: str
    absent: int = 0  # names in the list that are no image of the set

    @classmethod
    def drawn(
        cls, workspace: Workspace, pool: Pool, task_set: str, fraction: float, draw: int
    ) -> "LabelList":
        """Draw 0 is the list of curation, data/splits/SET/labels-FRACTION.npy; any other one takes as many of
        each class from the probe split, by a hash of uid and draw.
        """
        path = workspace.split(task_set, f"labels-{fraction:g}")
        if not draw:
            return cls(uid_files.load(path), sha256(path))
        probe = uid_files.load(workspace.split(task_set, "probe"))
        labels = pool.index.label[pool.rows(probe)]
        order = np.argsort([uid_files.fraction("labels", draw, uid) for uid in probe], kind="stable")
        chosen = []
        for label in np.unique(labels):
            of_class = order[labels[order] == label]
            chosen += of_class[: math.ceil(round(fraction * len(of_class), 9))].tolist()
        uids = sorted(probe[row] for row in chosen)
        return cls(uids, hashlib.sha256("".join(uids).encode()).hexdigest())

    @classmethod
    def read(
        cls, workspace: Workspace, pool: Pool, task_set: str, folder: str, fraction: float, draw: int
    ) -> "LabelList":
        """The list of a fraction in a folder: 0.01.npy, 0.01.txt or 1percent.txt; of a further draw
        0.01-1.npy and so on.

        Raises:
            ValueError: if there is none, or its images are not those of the set's probe and val splits.
        """
        more = f"-{draw}" if draw else ""
        names = [f"{fraction:g}{more}.npy", f"{fraction:g}{more}.txt", f"{100 * fraction:g}percent{more}.txt"]
        path = next((one for name in names if (one := workspace.root / folder / name).is_file()), None)
        if path is None:
            given = f"tasks.semi_supervised.lists.{task_set}: {folder} has none of {', '.join(names)}"
            raise ValueError(f"{given}; add one, or change curate.label_fractions or draws")
        held = {uid for split in ("probe", "val") for uid in uid_files.load(workspace.split(task_set, split))}
        if path.suffix == ".npy":
            uids = uid_files.load(path)
            if others := [uid for uid in uids if uid not in held]:
                what = f"{len(others)} of {len(uids)} uids, the first {others[0]}, are"
                raise ValueError(
                    f"{path}: {what} not in the splits probe and val of {task_set}; leave them out"
                )
            return cls(uids, sha256(path))
        wanted = path.read_text(encoding="utf-8").split("\n")
        uids, absent = _by_name([name.strip() for name in wanted if name.strip()], pool, held)
        if not uids or absent > MISSING * (len(uids) + absent):
            what = f"{absent} of {len(uids) + absent} names are of no image in the splits probe and val"
            raise ValueError(
                f"{path}: {what} of {task_set}; raise its splits and limit, or give another list"
            )
        return cls(uids, sha256(path), absent)


def _by_name(wanted: list[str], pool: Pool, held: set[str]) -> tuple[list[str], int]:
    """The uids of source files by name, path and ending left aside, and how many names have none.

    Raises:
        ValueError: if two images go by a name.
    """
    table = pool.records("sources", ["uid", "source"])
    found: dict[str, set[str]] = {}
    for uid, source in zip(table["uid"].to_pylist(), table["source"].to_pylist(), strict=True):
        if uid in held:
            found.setdefault(PurePosixPath(source).stem, set()).add(uid)
    stems = [PurePosixPath(name).stem for name in wanted]
    if twice := next((stem for stem in stems if len(found.get(stem, ())) > 1), None):
        raise ValueError(
            f"{pool.folder}: {len(found[twice])} images are called {twice!r}; give a list of uids"
        )
    uids = {uid for stem in stems for uid in found.get(stem, ())}
    return sorted(uids), sum(stem not in found for stem in stems)


def refuse_few(labels: Tensor, where: str) -> None:
    """Refuse labels (n,) that no classifier can be trained on.

    Raises:
        ValueError: if they are of fewer than two classes.
    """
    counts = Counter(labels.tolist())
    if len(counts) < 2:
        given = f"{where}: {len(labels)} labels of {len(counts)} classes"
        raise ValueError(f"{given}; a classifier needs two classes: give more labelled images")


def unlabelled(labels: Tensor, test: Tensor, what: str) -> str:
    """In words, the classes of test (m,) without any of the labels (n,), whose images count as wrong; or
    nothing.
    """
    without = sorted(set(test.unique().tolist()) - set(labels.unique().tolist()))
    if not without:
        return ""
    images = int(torch.isin(test, torch.tensor(without)).sum())
    return f"; {len(without)} classes have no {what} label, and their {images} test images count as wrong"
