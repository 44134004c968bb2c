"""How many images and classes there are, as far as files of ingest and curate say; else bounds.

No image is opened: the counts are in the headers of index.parquet and of files of uids. Those are of the last
run; after a change of the datasets they are of what was there before.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from winnow.config.datasets import Dataset
from winnow.config.derive import roles
from winnow.config.schema import CLEAN, POOL, REFERENCE, TASKS, Params
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EITHER, MOST, UNKNOWN, Amount, at_most, total

CLASSES = 10  # assumed of a set that is not ingested yet


class Known:
    """What is known of the datasets of a workspace.

    Args:
        images: how many images the version `pool` shall be taken to hold; None for what files say.
    """

    def __init__(self, params: Params, workspace: Workspace, images: int | None = None) -> None:
        self.params, self.workspace, self.images = params, workspace, images

    def version(self, name: str) -> Amount:
        """The images of a dataset version: exact once it was made, else at most those that it is made of."""
        if name == POOL and self.images is not None:
            return Amount(self.images)
        if (count := _uids(self.workspace.uids(name))) is not None:
            return Amount(count)
        datasets = self.params.datasets
        if name == REFERENCE:
            return total([self._reference(name) for name in datasets.reference])
        if name == POOL:
            return total([self._dataset(POOL, name) for name in datasets.pool])
        parent = POOL if name == CLEAN else self.params.versions[name].parent
        return at_most(self.version(parent))

    def union(self, names: Iterable[str]) -> Amount:
        """The images of several versions, where an image of two of them is there once."""
        several = [self.version(name) for name in names]
        return several[0] if len(several) == 1 else at_most(total(several))

    def split(self, task_set: str, name: str) -> Amount:
        """The images of a split of a task set: test, probe, val, or labels-FRACTION."""
        if (count := _uids(self.workspace.split(task_set, name))) is not None:
            return Amount(count)
        if name.startswith("labels-"):  # of each class, a share
            probe = self.split(task_set, "probe")
            return probe if probe.unknown else Amount(round(probe.value * float(name[7:])), EITHER)
        one = self.params.datasets.tasks[task_set]
        given = getattr(one.splits, name)
        if given is None:
            return Amount(0) if one.held_out_of else at_most(self._dataset(TASKS, task_set))
        return Amount(given)

    def classes(self, *datasets: str) -> tuple[int, bool]:
        """The classes of some datasets together, and whether they are known; else `CLASSES`."""
        every, names = roles(self.params), []
        for name in datasets:
            path = self.workspace.dataset(every[name][0], name) / "classes.json"
            if not path.is_file():
                return CLASSES, False
            names += json.loads(path.read_text(encoding="utf-8"))
        return max(1, len(set(names))), True

    def pool_classes(self) -> tuple[int, bool]:
        """Those that a learner is trained on."""
        return self.classes(*self.params.datasets.dvc.names)

    def set_classes(self, task_set: str) -> tuple[int, bool]:
        """Those of a task set."""
        return self.classes(self.params.datasets.tasks[task_set].held_out_of or task_set)

    def _reference(self, name: str) -> Amount:
        one = self.params.datasets.reference[name]
        if one.examples is not None:
            return Amount(one.examples, "" if one.held_out_of else MOST)
        return self._dataset(POOL if one.held_out_of else REFERENCE, one.held_out_of or name)

    def _dataset(self, role: str, name: str) -> Amount:
        """At most so many images of a dataset get into a version or a split."""
        index = self.workspace.dataset(role, name) / "index.parquet"
        if index.is_file():
            return Amount(pq.read_metadata(index).num_rows, MOST)
        dataset: Dataset = roles(self.params)[name][1]
        if dataset.limit is None:
            return UNKNOWN
        added = dataset.corruption.exact_duplicate, dataset.corruption.near_duplicate
        # A limit holds for the train and for the test split each; an image gets one copy of a kind at most.
        return Amount(2 * dataset.limit * (1 + sum(map(bool, added))), MOST)


def _uids(path: Path) -> int | None:
    """How many uids a file holds; None where there is no file."""
    return len(np.load(path, mmap_mode="r")) if path.is_file() else None
