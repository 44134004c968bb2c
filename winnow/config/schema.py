"""What params.yaml may hold: one dataclass a section, with the range or choices of each key beside it.

conf/ explains the keys to people. A default here is for keys that a file of conf/ or an override leaves out;
it reaches params.yaml when that is composed, so that DVC sees it change.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from winnow.config.bounds import REQUIRED, RULE, bounded, known, one_of, plugin
from winnow.config.budget import as_numbers, check_budget
from winnow.config.datasets import Datasets
from winnow.config.derived import (
    ArmPaths,
    Cell,
    Comparison,
    Held,
    Ingest,
    ReadingPaths,
    ReferencePaths,
    VersionPaths,
)
from winnow.config.errors import ParamsError

POOL, REFERENCE = "pool", "reference"  # the versions that curate makes from the index alone
CLEAN = "clean"  # the uncorrupted part of the pool, for reports: the stage `oracle` makes it
TASKS = "tasks"
SEED = 2**31 - 1


@dataclass
class Run:
    """What shapes the last bits of a result. conf/run.yaml explains each key."""

    accelerator: str = one_of("auto", "cpu", "cuda")
    precision: str = one_of("32-true", "bf16-mixed")
    threads: int = bounded(2, 1)
    fast_decode: bool = False


@dataclass
class Engine:
    """How the work is done: it changes no byte of what comes out, so no stage depends on it."""

    cluster: str | None = None
    cache_gb: float = bounded(2.0, 0)
    checkpoint_seconds: float = bounded(120.0, 0)


@dataclass
class Carbon:
    country: str = "WORLD"
    intensity: float | None = bounded(None, 0)
    pue: float = bounded(1.0, 1)

    def check(self, key: str) -> None:
        if self.country != "WORLD":
            from codecarbon.input import DataSource

            known(
                f"{key}.country", self.country, ["WORLD", *sorted(DataSource().get_global_energy_mix_data())]
            )


@dataclass
class Curate:
    filters: dict[str, Any] = field(default_factory=dict)
    guard: dict[str, Any] = field(default_factory=dict)  # winnow/leakage/config.py
    label_fractions: list[float] = bounded([0.01, 0.1], 1e-6, 1)


@dataclass
class Version:
    """A version made from another by filters that may look at embeddings; see conf/versions.yaml."""

    parent: str = POOL
    model: str | None = None
    architecture: str | None = None
    image_size: int | None = bounded(None, 8)
    filters: dict[str, Any] = field(default_factory=dict)
    dvc: VersionPaths = field(default_factory=VersionPaths)


@dataclass
class Backbone:
    """`weights` is what it starts from: a file, a Hugging Face folder, or results/pretrain/ARM; null: from
    scratch. `mean` and `std` are the three channels' of pixels in [0, 1], null for those of the weights.
    """

    name: str = REQUIRED
    image_size: int = bounded(28, 8)
    kwargs: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    mean: list[float] | None = bounded(None, 0, 1)
    std: list[float] | None = bounded(None, above=0)

    def check(self, key: str) -> None:
        side = self.kwargs.get("img_size")
        if side not in (None, self.image_size):
            given = f"{key}.kwargs.img_size: {side}, but {key}.image_size is {self.image_size}"
            raise ParamsError(f"{given}; leave img_size out")
        for name in ("mean", "std"):
            given = getattr(self, name)
            if given is not None and self.weights is None:
                raise ParamsError(f"{key}.{name}: {given}, but {key}.weights is null; set it to null")
            if given is not None and len(given) != 3:
                raise ParamsError(f"{key}.{name}: {given} is wrong; allowed: three numbers, red, green, blue")


@dataclass
class View:
    """How one kind of view is cut from an image: sizes in pixels, scales in shares of the area, the rest
    probabilities.
    """

    count: int = bounded(1, 1)
    size: int | None = bounded(None, 4)
    scale: list[float] | None = None
    flip: float = bounded(0.0, 0, 1)
    jitter: list[float] | None = bounded(None, 0, 1)
    grey: float = bounded(0.0, 0, 1)
    blur: float = bounded(0.0, 0, 1)
    solarise: float = bounded(0.0, 0, 1)

    def check(self, key: str) -> None:
        if self.scale is not None and not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 1):
            allowed = "[least, most] with 0 < least <= most <= 1"
            raise ParamsError(f"{key}.scale: {self.scale} is out of range; allowed: {allowed}")
        if self.jitter is not None and len(self.jitter) != 4:
            allowed = "[brightness, contrast, saturation, hue] in [0, 1]"
            raise ParamsError(f"{key}.jitter: {self.jitter} is wrong; allowed: {allowed}")


@dataclass
class Method:
    batch_size: int = bounded(128, 2)
    optimiser: str = "adamw"
    lr: float = bounded(1e-3, 0)
    weight_decay: float = bounded(0.05, 0)
    warmup: float = bounded(0.1, 0, below=1)
    layer_decay: float | None = bounded(None, above=0, high=1)
    freeze: float = bounded(0.0, 0, below=1)
    views: dict[str, View] = field(default_factory=dict)
    score_views: dict[str, View] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Policy:
    """What is trained on; conf/policy/learnability.yaml explains each key. `resolution` and `patch_size` are
    in pixels.

    `proxy` and `online` are whole backbones, not names, so that a policy says by itself all that it depends
    on.
    """

    criterion: str = plugin("models.criteria")
    sampler: str = one_of("top_k", "softmax", "joint")
    filter_ratio: float = bounded(0.0, 0, below=1)
    scorer: str = one_of("learner", "proxy", "frozen", "replay")
    resolution: int | None = bounded(None, 8)
    patch_size: int | None = bounded(None, 1)
    multi_resolution: bool = False
    online: Backbone | None = None
    per_class: bool = False
    chunks: int = bounded(16, 1)
    inverse_temperature: float = bounded(1.0, 0)
    proxy: Backbone | None = None

    def check(self, key: str) -> None:
        if self.multi_resolution and self.resolution is None and self.patch_size is None:
            raise ParamsError(
                f"{key}.multi_resolution: true, but {key}.resolution and {key}.patch_size are null; give "
                f"one, "
                "in pixels"
            )
        if (self.scorer == "proxy") != (self.proxy is not None):
            given = "null" if self.proxy is None else self.proxy.name
            raise ParamsError(
                f"{key}.proxy: {given}, but the scorer is {self.scorer}; give a backbone where it is proxy, "
                "else null"
            )


@dataclass
class Arm:
    """One column of a comparison. `version` is a version or a union of two, such as `pool+reference`;
    `mixture` the share of each part in a batch, null for the parts' sizes; `selects_from` the part that the
    policy selects from, where the others are trained on whole. `replay_from` names the arm whose
    trace a replay policy trains on; `reference_method` the method whose reference chooses, null for the
    arm's own. `budget_share` is the arm's budget as a share of `pretrain.budget`. A `frozen` arm trains
    nothing: its encoder is measured as it starts, which without weights is the floor of every comparison.
    """

    policy: str = REQUIRED
    method: str = REQUIRED
    backbone: str = REQUIRED
    seed: int = bounded(0, 0, SEED)
    version: str = POOL
    mixture: list[float] | None = bounded(None, above=0, below=1)
    selects_from: str | None = None
    replay_from: str | None = None
    reference_method: str | None = None
    budget_share: float = bounded(1.0, above=0)
    frozen: bool = False
    dvc: ArmPaths = field(default_factory=ArmPaths)


@dataclass
class Reference:
    """The small models that curate. `finished` is a folder of them from another run, null to train them here;
    `pool_model` trains one on the pool too. `pool_share` is the share of the pool's examples in a batch of
    the reference's own training, the rest of which is trusted.
    """

    methods: list[str] = field(default_factory=list)
    backbone: str | None = None
    examples: int = bounded(0, 0)
    pool_share: float = bounded(0.0, 0, below=1)
    pool_model: bool = False
    finished: str | None = None
    dvc: ReferencePaths = field(default_factory=ReferencePaths)


@dataclass
class Pretrain:
    """`budget` is FLOPs, or a mapping of units to amounts (winnow/config/budget.py). `readings` names the
    task set that a learner is read on while it trains: `first` of all, `none` (its loss alone), or a name.
    """

    budget: Any = field(default=0.0, metadata={RULE: check_budget})
    reference_share: float = bounded(1.0, 0, 1)
    curation_share: float = bounded(1.0, 0, 1)
    weights_share: float = bounded(1.0, 0, 1)
    evaluations: int = bounded(10, 1)
    readings: str = "first"
    dvc: ReadingPaths = field(default_factory=ReadingPaths)

    def __post_init__(self) -> None:
        self.budget = as_numbers(self.budget)


@dataclass
class Params:
    """`tasks` holds a block for each task, which is a stage of its own: stages/NAME.py has its `Config`.

    `scale` names the file of conf/scale: figures made by `debug` are shown as wiring, not as results.
    Derived: `ingests`, every dataset that has a source; `task_sets`, what curation must know of them;
    `datasheets`, all versions; `oracles`, the version `clean` where an arm trains on it; `cells`, for each
    task what it measures; `comparison`, the folders that exist.
    """

    seed: int = bounded(0, 0, SEED)
    scale: str = "default"
    run: Run = field(default_factory=Run)
    engine: Engine = field(default_factory=Engine)
    carbon: Carbon = field(default_factory=Carbon)
    datasets: Datasets = field(default_factory=Datasets)
    ingests: dict[str, Ingest] = field(default_factory=dict)
    task_sets: dict[str, Held] = field(default_factory=dict)
    curate: Curate = field(default_factory=Curate)
    versions: dict[str, Version] = field(default_factory=dict)
    datasheets: list[str] = field(default_factory=lambda: [POOL, REFERENCE])
    oracles: list[str] = field(default_factory=list)
    backbones: dict[str, Backbone] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    reference: Reference = field(default_factory=Reference)
    arms: dict[str, Arm] = field(default_factory=dict)
    pretrain: Pretrain = field(default_factory=Pretrain)
    tasks: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    comparison: Comparison = field(default_factory=Comparison)


SECTIONS = [f.name for f in dataclasses.fields(Params) if f.name not in ("seed", "scale")]
