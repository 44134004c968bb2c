"""The only reader of params.yaml: a dataclass schema, and one clear line for each mistake.

`load()` validates what `dvc repro` is about to use; `winnow compose` and the tests validate what conf/ composes to with the
same `parse()`. Importing this module costs no torch: plug-ins are checked by the presence of their file, and their own
`Config` dataclass is checked when `plugin_config` is called by the stage that uses it.
"""

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

ROOT = Path(__file__).resolve().parent.parent
# What `arms.*.after` names where an arm's policy reads no other arm's files: DVC wants a path, and this one is read anyway.
NOTHING = "data/splits"
UNTRAINED = "data/versions/reference/uids.npy"  # the same for `reference.after`
POOL = "pool"  # the version that curate makes from the index alone; every other version descends from it
MODELS = "results/reference/models"  # a folder for each method that a reference was trained by


@dataclass
class Run:
    accelerator: str = "auto"
    precision: str = "32-true"
    threads: int = 2
    cache_gb: float = 2.0
    fast_decode: bool = False
    checkpoint_seconds: float = 120.0


@dataclass
class Carbon:
    country: str = "WORLD"
    intensity: float | None = None
    pue: float = 1.0


@dataclass
class Pollution:
    """Fractions of the untrusted training examples; stages/data/pollution.py says what each kind does."""

    wrong_label: float = 0.0
    noise: float = 0.0
    permuted: float = 0.0
    blank: float = 0.0
    exact_duplicate: float = 0.0
    near_duplicate: float = 0.0


@dataclass
class About:
    """What a source is, in its owner's words: for the Croissant metadata of its versions, and for nothing else."""

    license: str | None = None
    creator: str | None = None
    url: str | None = None
    date_published: str | None = None
    cite_as: str | None = None


@dataclass
class Dataset:
    source: str = "???"
    about: About = field(default_factory=About)
    path: str | None = None
    limit: int | None = None
    max_pixels: int = 100_000_000
    trusted: float = 0.0
    pollution: Pollution = field(default_factory=Pollution)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Splits:
    reference: int = 0
    probe: int = 0
    val: int = 0
    test: int = 0


@dataclass
class Curate:
    filters: dict[str, Any] = field(default_factory=dict)
    splits: Splits = field(default_factory=Splits)


@dataclass
class Version:
    """A version made from another by filters that may look at embeddings; conf/versions.yaml explains each key."""

    parent: str = POOL
    model: str = NOTHING
    architecture: str | None = None
    image_size: int | None = None
    filters: dict[str, Any] = field(default_factory=dict)


@dataclass
class Engine:
    """Where work is done that goes shard by shard; it changes no byte of what comes out, so no stage depends on it."""

    cluster: str | None = None


@dataclass
class Backbone:
    name: str = "???"
    image_size: int = 28
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class View:
    """How one kind of view is cut from an image; sizes in pixels, scales in fractions of the area, the rest probabilities."""

    count: int = 1
    size: int | None = None
    scale: list[float] | None = None
    flip: float = 0.0
    jitter: list[float] | None = None
    grey: float = 0.0
    blur: float = 0.0
    solarise: float = 0.0


@dataclass
class Method:
    batch_size: int = 128
    optimiser: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    views: dict[str, View] = field(default_factory=dict)
    score_views: dict[str, View] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Policy:
    """What is trained on; conf/policy/ explains each key. `resolution` and `patch` are in pixels.

    `proxy` and `online` are whole backbones, not names, so that a policy says by itself all that its arm depends on.
    """

    criterion: str = "???"
    sampler: str = "top_k"
    ratio: float = 0.0
    scorer: str = "learner"
    resolution: int | None = None
    patch: int | None = None
    coarse: bool = False
    online: Backbone | None = None
    chunks: int = 16
    gain: float = 1.0
    proxy: Backbone | None = None


@dataclass
class Arm:
    policy: str = "???"
    method: str = "???"
    backbone: str = "???"
    seed: int = 0
    after: str = NOTHING
    version: str = POOL


@dataclass
class Reference:
    methods: list[str] = field(default_factory=list)
    backbone: str = "???"
    examples: int = 0
    twin: bool = False
    after: str = UNTRAINED


@dataclass
class Pretrain:
    budget: float = 0.0
    reference_share: float = 1.0
    curation_share: float = 1.0
    evaluations: int = 10


@dataclass
class LinearProbe:
    l2: list[float] = field(default_factory=lambda: [1e-3])
    iterations: int = 100


@dataclass
class SemiSupervised:
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1])
    steps: list[int] = field(default_factory=lambda: [100, 200])
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05


@dataclass
class Detection:
    canvas: int = 64
    objects: list[int] = field(default_factory=lambda: [1, 4])
    train_scenes: int = 400
    test_scenes: int = 100
    steps: int = 200
    batch_size: int = 4
    lr: float = 2e-3


@dataclass
class Params:
    seed: int = 0
    run: Run = field(default_factory=Run)
    carbon: Carbon = field(default_factory=Carbon)
    dataset: Dataset = field(default_factory=Dataset)
    curate: Curate = field(default_factory=Curate)
    versions: dict[str, Version] = field(default_factory=dict)
    engine: Engine = field(default_factory=Engine)
    backbones: dict[str, Backbone] = field(default_factory=dict)
    methods: dict[str, Method] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    arms: dict[str, Arm] = field(default_factory=dict)
    reference: Reference = field(default_factory=Reference)
    pretrain: Pretrain = field(default_factory=Pretrain)
    linear_probe: LinearProbe = field(default_factory=LinearProbe)
    semi_supervised: SemiSupervised = field(default_factory=SemiSupervised)
    detection: Detection = field(default_factory=Detection)
    typical_seconds: dict[str, float] = field(default_factory=dict)


class ParamsError(ValueError):
    """A mistake in params.yaml or an override; its text is the one line that the user sees."""


def load(path: Path | str = ROOT / "params.yaml") -> Params:
    """Read and validate params.yaml.

    Raises:
        ParamsError: naming the key, the value and what is allowed.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; write it with: winnow compose") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{Path(path).name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ParamsError(f"{Path(path).name}: a mapping of sections is wanted, got {type(raw).__name__}")
    return parse(raw)


def parse(raw: dict[str, Any]) -> Params:
    """Turn plain data into `Params`, or raise a `ParamsError` of one line."""
    try:
        given = OmegaConf.create(raw)
        _refuse_shapeless(given)
        config = OmegaConf.merge(OmegaConf.structured(Params), given)
        missing = sorted(OmegaConf.missing_keys(given) | OmegaConf.missing_keys(config))
        if missing:
            raise ParamsError(f"{missing[0]}: has no value (???); give it one")
        params = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ParamsError(_one_line(error)) from None
    assert isinstance(params, Params)
    from stages import params_check  # here, because the checks need the classes above

    params_check.check(params)
    return params


def _refuse_shapeless(given: Any) -> None:
    """A number where a section belongs would make OmegaConf merge nothing, and say nothing."""
    sections = {f.name for f in dataclasses.fields(Params) if f.name != "seed"}
    for name in sections & set(given):
        if not isinstance(given[name], DictConfig):
            raise ParamsError(f"{name}: {given[name]!r} is no section; allowed: a mapping of keys to values")


def plugins(package: str) -> list[str]:
    """The plug-ins of a package, such as `models.criteria`: its module names, sorted."""
    folder = ROOT.joinpath(*package.split("."))
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def plugin_config(cls: type, key: str, values: dict[str, Any] | None) -> Any:
    """Build a plug-in's own `Config` from the block under `key`, with the same errors as `parse`."""
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(values or {})))
    except OmegaConfBaseException as error:
        raise ParamsError(_one_line(error, prefix=key)) from None
    except ValueError as error:
        raise ParamsError(f"{key}: {error}") from None


def _one_line(error: OmegaConfBaseException, prefix: str = "") -> str:
    key = ".".join(part for part in (prefix, error.full_key or "") if part)
    if isinstance(error, ConfigKeyError):
        allowed = _allowed(error)
        near = difflib.get_close_matches(str(error.key), allowed, n=1)
        hint = f"; did you mean {near[0]}? Allowed" if near else "; allowed"
        return f"{key}: not a key{hint}: {', '.join(allowed)}"
    reason = str(error.msg or error).splitlines()[0]
    return f"{key}: {reason}"


def _allowed(error: OmegaConfBaseException) -> list[str]:
    if dataclasses.is_dataclass(error.object_type):
        return [f.name for f in dataclasses.fields(error.object_type)]
    if isinstance(error.parent_node, DictConfig):
        return sorted(str(k) for k in error.parent_node)
    return []
