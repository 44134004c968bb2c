"""What dvc.yaml must know of a choice in params.yaml and cannot work out: blocks that nobody writes.

`winnow/config/derive.py` fills them in.
"""

from dataclasses import dataclass, field

NOTHING = "conf/nothing"  # an empty file: what DVC depends on where there is nothing to depend on


@dataclass
class DatasetPaths:
    """What dvc.yaml must know of the datasets."""

    reference: str = NOTHING  # the folder of the references that were ingested
    names: list[str] = field(default_factory=list)  # what one pool is made of, in this order


@dataclass
class Ingest:
    """The role and the source of a dataset that is ingested."""

    role: str
    source: str


@dataclass
class Held:
    """What curation must know of a task set: where its images come from and how many each split takes."""

    held_out_of: str | None
    probe: int | None
    val: int | None
    test: int | None


@dataclass
class Cell:
    """An arm that a task measures on a set, whose images lie in the folder `data`; `method` is the arm's.
    `lists` is the folder of label lists that the task reads for it, `names` the file with its images' names.
    """

    arm: str
    set: str
    data: str
    method: str
    lists: str = NOTHING
    names: str = NOTHING


@dataclass
class VersionPaths:
    """What dvc.yaml must know of a version."""

    model: str = NOTHING  # what makes its embeddings
    method: str = NOTHING  # the code of that model's method, where it is a reference


@dataclass
class ArmPaths:
    """What dvc.yaml must know of an arm."""

    criterion: str = "uniform"
    version: str = "pool"  # of a union the first part
    other_uids: str = NOTHING  # of a union those of the second part
    other_flops: str = NOTHING
    reference: str = NOTHING  # the folder of the reference that the arm reads
    reference_code: str = NOTHING  # the code of that reference's method
    trace: str = NOTHING  # the trace that it replays
    weights: str = NOTHING  # the file that its encoder starts from
    weights_config: str = NOTHING  # what is beside it and says how inputs are normalised
    weights_record: str = NOTHING  # the metrics of the arm that trained them


@dataclass
class ReferencePaths:
    """What dvc.yaml must know of the references."""

    finished: str = NOTHING
    settings: str = "reference"  # the key of the references' backbone, where they have one


@dataclass
class ReadingPaths:
    """The task set that is read during training."""

    set: str | None = None
    data: str = NOTHING
    splits: str = NOTHING


@dataclass
class Comparison:
    """The folders that `compare` reads; `conf/nothing` for one that no stage makes."""

    pretrain: str = NOTHING
    tasks: str = NOTHING
