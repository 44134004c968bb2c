"""Where everything lies: the one place that knows a path of the project."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from winnow.config.plugins import CODE


@dataclass(frozen=True)
class Workspace:
    """A folder with a dvc.yaml, and what is found where below it. Making one touches no file.

    `data/` and `results/` are DVC's outs; `.winnow/` holds what outlives a kill or a run, and may be deleted.
    """

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """The workspace that a folder, by default the current one, lies in; outside of any, that of this
        code.
        """
        here = (start or Path.cwd()).resolve()
        found = (folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file())
        return cls(next(found, CODE))

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def conf(self) -> Path:
        return self.root / "conf"

    def dataset(self, role: str, name: str) -> Path:
        """The folder of an ingested dataset: its shards, index and classes."""
        return self.root / "data/datasets" / role / name

    def provenance(self, name: str) -> Path:
        """The folder of what only reports may know of an ingested dataset: drops, corruption, source keys."""
        return self.root / "data/provenance" / name

    def version(self, name: str) -> Path:
        """The folder of a dataset version."""
        return self.root / "data/versions" / name

    def uids(self, version: str) -> Path:
        """The uids of a version."""
        return self.version(version) / "uids.npy"

    def split(self, task_set: str, name: str) -> Path:
        """The uids of a split of a task set: test, probe, val, or labels-FRACTION."""
        return self.root / "data/splits" / task_set / f"{name}.npy"

    @property
    def references(self) -> Path:
        """The folder that the stage `reference` writes to."""
        return self.root / "results/reference"

    def reference(self, method: str) -> Path:
        """The folder of the reference that was trained by a method."""
        return self.references / "models" / method

    def arm(self, name: str) -> Path:
        """The folder of an arm's encoder, trace and curve."""
        return self.root / "results/pretrain" / name

    def task(self, task: str, arm: str, task_set: str) -> Path:
        """The folder of what a task measured on an arm's encoder with a task set."""
        return self.root / "results/tasks" / task / arm / task_set

    @property
    def comparison(self) -> Path:
        return self.root / "results/compare"

    def datasheet(self, version: str) -> Path:
        return self.root / "results/datasheet" / version / "card.html"

    @property
    def hidden(self) -> Path:
        return self.root / ".winnow"

    def work(self, address: str) -> Path:
        """Where a stage's outs are made before they are moved; on the same disk as the outs."""
        return self.hidden / "work" / address

    @property
    def checkpoints(self) -> Path:
        return self.hidden / "checkpoints"

    @property
    def partial(self) -> Path:
        """What long work left that was interrupted: winnow/pipeline/partial.py."""
        return self.hidden / "partial"

    @property
    def embeddings(self) -> Path:
        return self.hidden / "embeddings"

    @property
    def features(self) -> Path:
        """Features of frozen encoders: winnow/evaluation/kept_features.py."""
        return self.hidden / "features"

    @property
    def index_cache(self) -> Path:
        """The indexes of large pools as arrays: winnow/pool/index.py."""
        return self.hidden / "index"

    @property
    def nonfinite(self) -> Path:
        """Tables of the examples whose losses were not finite."""
        return self.hidden / "nonfinite"

    @property
    def downloads(self) -> Path:
        return self.hidden / "downloads"

    @property
    def logs(self) -> Path:
        return self.hidden / "logs"
