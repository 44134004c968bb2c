"""The section `datasets` of params.yaml: where images come from, and what each dataset is for."""

from dataclasses import dataclass, field
from typing import Any

from winnow.config.bounds import bounded, plugin
from winnow.config.derived import DatasetPaths
from winnow.config.errors import ParamsError


@dataclass
class Corruption:
    """Fractions of the untrusted training examples; winnow/ingest/corruption.py says what each kind does."""

    wrong_label: float = bounded(0.0, 0, 1)
    noise: float = bounded(0.0, 0, 1)
    permuted: float = bounded(0.0, 0, 1)
    blank: float = bounded(0.0, 0, 1)
    exact_duplicate: float = bounded(0.0, 0, 1)
    near_duplicate: float = bounded(0.0, 0, 1)

    def check(self, key: str) -> None:
        junk = self.noise + self.permuted + self.blank
        if junk > 1:
            raise ParamsError(f"{key}: noise + permuted + blank is {junk:g}; allowed: at most 1")


@dataclass
class About:
    """What a source is, in its owner's words: for the Croissant metadata of its versions alone."""

    license: str | None = None
    creator: str | None = None
    url: str | None = None
    date_published: str | None = None
    cite_as: str | None = None


@dataclass
class Dataset:
    """Where images come from. A reference or a task set has either a `source` or `held_out_of`. `labels`
    false leaves the source's labels unread; `trusted` and `corruption` are for pools of laboratory runs.
    """

    source: str | None = plugin("winnow.sources", optional=True)
    about: About = field(default_factory=About)
    path: str | None = None
    limit: int | None = bounded(None, 1)
    max_pixels: int = bounded(100_000_000, 1)
    labels: bool = True
    trusted: float = bounded(0.0, 0, 1)
    corruption: Corruption = field(default_factory=Corruption)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ReferenceSet(Dataset):
    """`held_out_of` names a dataset of the pool: then `examples` of its trusted ones are the reference."""

    held_out_of: str | None = None
    examples: int | None = bounded(None, 1)


@dataclass
class Splits:
    """How many examples each split takes. Of a set with a source of its own, null is the rule of
    winnow/versions/task_splits.py; of a held-out set, none.
    """

    probe: int | None = bounded(None, 0)
    val: int | None = bounded(None, 0)
    test: int | None = bounded(None, 0)


@dataclass
class TaskSet(Dataset):
    """What encoders are evaluated on, by the tasks that `tasks` names. `held_out_of` names a dataset of the
    pool, whose trusted examples and test split it takes.
    """

    held_out_of: str | None = None
    splits: Splits = field(default_factory=Splits)
    tasks: list[str] = field(default_factory=lambda: ["linear_probe"])


@dataclass
class Datasets:
    """By role and name: what is curated, what is trusted, what encoders are evaluated on."""

    pool: dict[str, Dataset] = field(default_factory=dict)
    reference: dict[str, ReferenceSet] = field(default_factory=dict)
    tasks: dict[str, TaskSet] = field(default_factory=dict)
    dvc: DatasetPaths = field(default_factory=DatasetPaths)
