"""What params.yaml may hold: one dataclass a section, with the range or choices of each key beside it.

conf/ explains the keys to people. A default here is for keys that a file of conf/ or an override leaves out;
it reaches params.yaml when that is composed, so that DVC sees it change.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from winnow.config.bounds import REQUIRED, bounded, known, one_of, plugin
from winnow.config.errors import ParamsError

NOTHING = "conf/nothing"  # an empty file: what DVC depends on where there is nothing to depend on
POOL, REFERENCE = "pool", "reference"  # the versions that curate makes from the index alone
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
    source: str = plugin("winnow.sources")
    about: About = field(default_factory=About)
    path: str | None = None
    limit: int | None = bounded(None, 1)
    max_pixels: int = bounded(100_000_000, 1)
    trusted: float = bounded(0.0, 0, 1)
    corruption: Corruption = field(default_factory=Corruption)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Splits:
    """How many examples each takes; 0 only as a default that a dataset must replace."""

    reference: int = bounded(0, 1)
    probe: int = bounded(0, 1)
    val: int = bounded(0, 1)
    test: int = bounded(0, 1)


@dataclass
class Curate:
    filters: dict[str, Any] = field(default_factory=dict)
    splits: Splits = field(default_factory=Splits)
    label_fractions: list[float] = bounded([0.01, 0.1], 1e-6, 1)


@dataclass
class VersionPaths:
    """Derived: what dvc.yaml must know of a version. `winnow compose` writes it."""

    model: str = NOTHING  # what makes its embeddings
    method: str = NOTHING  # the code of that model's method, where it is a reference


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
    name: str = REQUIRED
    image_size: int = bounded(28, 8)
    kwargs: dict[str, Any] = field(default_factory=dict)

    def check(self, key: str) -> None:
        side = self.kwargs.get("img_size")
        if side not in (None, self.image_size):
            given = f"{key}.kwargs.img_size: {side}, but {key}.image_size is {self.image_size}"
            raise ParamsError(f"{given}; leave img_size out")


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
class ArmPaths:
    """Derived: what dvc.yaml must know of an arm. `winnow compose` writes it."""

    criterion: str = "uniform"
    reference: str = NOTHING  # the folder of the reference that the arm reads
    reference_code: str = NOTHING  # the code of that reference's method
    trace: str = NOTHING  # the trace that it replays


@dataclass
class Arm:
    """One column of a comparison. `replay_from` names the arm whose trace a replay policy trains on;
    `reference_method` the method whose reference chooses, null for the arm's own.
    """

    policy: str = REQUIRED
    method: str = REQUIRED
    backbone: str = REQUIRED
    seed: int = bounded(0, 0, SEED)
    version: str = POOL
    replay_from: str | None = None
    reference_method: str | None = None
    dvc: ArmPaths = field(default_factory=ArmPaths)


@dataclass
class ReferencePaths:
    """Derived: what dvc.yaml must know of the references. `winnow compose` writes it."""

    finished: str = NOTHING


@dataclass
class Reference:
    """The small models that curate. `finished` is a folder of them from another run, null to train them here;
    `pool_model` trains one on the pool too.
    """

    methods: list[str] = field(default_factory=list)
    backbone: str = REQUIRED
    examples: int = bounded(0, 1)
    pool_model: bool = False
    finished: str | None = None
    dvc: ReferencePaths = field(default_factory=ReferencePaths)


@dataclass
class Pretrain:
    budget: float = bounded(0.0, above=0)
    reference_share: float = bounded(1.0, 0, 1)
    curation_share: float = bounded(1.0, 0, 1)
    evaluations: int = bounded(10, 1)


@dataclass
class Params:
    """`tasks` holds a block for each task, which is a stage of its own: stages/NAME.py has its `Config`.

    `datasheets` is derived: all versions. `scale` names the file of conf/scale: figures made by `debug` are
    shown as wiring, not as results.
    """

    seed: int = bounded(0, 0, SEED)
    scale: str = "default"
    run: Run = field(default_factory=Run)
    engine: Engine = field(default_factory=Engine)
    carbon: Carbon = field(default_factory=Carbon)
    dataset: Dataset = field(default_factory=Dataset)
    curate: Curate = field(default_factory=Curate)
    versions: dict[str, Version] = field(default_factory=dict)
    datasheets: list[str] = field(default_factory=lambda: [POOL, REFERENCE])
    backbones: dict[str, Backbone] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    reference: Reference = field(default_factory=Reference)
    arms: dict[str, Arm] = field(default_factory=dict)
    pretrain: Pretrain = field(default_factory=Pretrain)
    tasks: dict[str, Any] = field(default_factory=dict)


SECTIONS = [f.name for f in dataclasses.fields(Params) if f.name not in ("seed", "scale")]
