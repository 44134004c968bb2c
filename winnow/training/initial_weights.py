"""The weights that a learner's encoder starts from, as `backbones.NAME.weights` names them.

    results/pretrain/ARM                      an arm's encoder, of this run or of another
    FOLDER with config.json                   a timm model as the Hugging Face hub and timm save it
    FILE.safetensors, .pth, .pt, .bin, ...    a state dict of a timm model, with or without its classifier, or
                                              of an open_clip model, whose visual tower is taken

Keys are converted, and positions and patches resampled to the backbone's size, by timm's own filters. Nothing
is downloaded, and no pickle is run: torch reads tensors alone (`weights_only`).
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models import encoders
from models.encoders import Normalisation
from winnow.config.derived import NOTHING, ArmPaths
from winnow.config.errors import ParamsError
from winnow.config.schema import Backbone
from winnow.pipeline.files import read_json, sha256

OPEN_CLIP, TRUNK = "visual.", "visual.trunk."  # what open_clip's keys begin with; TRUNK: a timm model inside
UNKNOWN = "unknown"  # FLOPs that nobody has counted; never 0
MEND = "give weights of the same architecture and kwargs, or null to train from scratch"
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class InitialWeights:
    """A file of weights for a backbone; `normalisation` is what its inputs must be normalised by, and
    `normalised_by` says who says so.
    """

    backbone: Backbone
    path: Path
    normalisation: Normalisation
    normalised_by: str

    @classmethod
    def open(cls, root: Path, key: str, backbone: Backbone, files: ArmPaths) -> "InitialWeights":
        """The weights of a backbone; the file itself is not read.

        Args:
            root: the folder that the paths of `files` are relative to.
            key: the backbone's in params.yaml, for errors.
            files: the derived paths of an arm with this backbone.

        Raises:
            ParamsError: if a file is missing, or its config describes another model.
        """
        path = root / files.weights
        config = None if files.weights_config == NOTHING else root / files.weights_config
        for one in (path, config):
            if one is not None and not one.is_file():
                raise ParamsError(
                    f"{key}.weights: {backbone.weights!r}: no file {one.name} there; give a file of weights, "
                    "a folder with model.safetensors and config.json, or results/pretrain/ARM"
                )
        described = {} if config is None else _described(key, config, backbone)
        return cls(backbone, path, *_normalisation(backbone, path, described))

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)

    def load(self, encoder: nn.Module) -> None:
        """Load the weights into a new encoder of the backbone, and tell it how its inputs are normalised.

        Raises:
            ValueError: as `problem` says.
        """
        weights = _fitted(_read(self.path, "cpu"), encoder)
        if problem := _problem(weights, encoder):
            raise ValueError(f"{self.path}: {problem}; {MEND}")
        encoder.load_state_dict(dict(weights), strict=False)
        if self.normalisation != encoders.OWN:
            encoder.normalisation = self.normalisation  # type: ignore[assignment]

    def problem(self) -> str | None:
        """Why the weights are not those of the backbone, in words; None if they are.

        It is found on the meta device, from names and shapes alone.
        """
        try:
            weights, encoder = _read(self.path, "meta"), _meta_encoder(self.backbone)
            with torch.device("meta"):
                return _problem(_fitted(weights, encoder), encoder)
        except ValueError as error:
            return str(error)

    def resampled(self) -> list[str]:
        """What timm resamples to the backbone's image or patch size, such as `pos_embed 1 x 197 x 192 to 1 x
        65 x 192`.
        """
        before, encoder = _stripped(_read(self.path, "meta")), _meta_encoder(self.backbone)
        after = encoder.state_dict()
        names = {
            "pos_embed": ("pos_embed", "visual.positional_embedding"),
            "patch_embed.proj.weight": ("patch_embed.proj.weight", "visual.conv1.weight"),
        }
        found = {name: before[key] for name, keys in names.items() for key in keys if key in before}
        return [
            f"{name} {_shape(old)} to {_shape(after[name])}"
            for name, old in found.items()
            if name in after and old.shape[-2:] != after[name].shape[-2:]
        ]

    def text(self) -> str:
        """One line: where they are from, how inputs are normalised, and what is resampled."""
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in self.normalisation)
        line = f"starts from {self.backbone.weights}; mean {mean}, std {std} by {self.normalised_by}"
        resized = self.resampled()
        return f"{line}; resampled: {', '.join(resized)}" if resized else line

    def record(self, root: Path, files: ArmPaths) -> dict[str, Any]:
        """What to keep of them. `flops` is what the arm that trained them was charged in all, and `unknown`
        where that cannot be known: of weights from elsewhere, and of what was trained from such.
        """
        trained: dict[str, Any] = {}
        if files.weights_record != NOTHING:
            trained = read_json(root / files.weights_record, "make it again with: dvc repro -f pretrain")
        before = trained.get("weights", {}).get("flops")
        flops = trained["flops"]["total"] if trained and before != UNKNOWN else UNKNOWN
        mean, std = map(list, self.normalisation)
        given = {"path": self.backbone.weights, "sha256": self.digest, "mean": mean, "std": std}
        return {**given, "flops": flops}


def mismatch(theirs: Backbone, ours: Backbone) -> str | None:
    """Why an encoder of one backbone, not trained yet, cannot start one of the other; None if it can."""
    encoder = _meta_encoder(ours)
    try:
        with torch.device("meta"):
            return _problem(_fitted(_meta_encoder(theirs).state_dict(), encoder), encoder)
    except ValueError as error:
        return str(error)


def _described(key: str, path: Path, backbone: Backbone) -> dict[str, Any]:
    """What a config.json of timm, or an open_clip_config.json, says of preprocessing."""
    try:
        config = read_json(path, MEND)
    except ValueError as error:
        raise ParamsError(f"{key}.weights: {error}") from None
    architecture = str(config.get("architecture", backbone.name))
    if architecture.partition(".")[0] != backbone.name.partition(".")[0]:
        given = f"{key}.name: {backbone.name}, but {path} describes a {architecture}"
        raise ParamsError(f"{given}; give that name, or other weights")
    inner = config.get("preprocess_cfg") or config.get("pretrained_cfg") or config
    return dict(inner) if isinstance(inner, dict) else {}


def _normalisation(backbone: Backbone, path: Path, described: Mapping[str, Any]) -> tuple[Normalisation, str]:
    """Mean and std, and who says so: params, the config beside the weights, or the library that made them."""
    cfg = timm.get_pretrained_cfg(backbone.name)
    mean, std, by = cfg.mean, cfg.std, f"timm's default_cfg of {backbone.name}"  # type: ignore[union-attr]
    if described.get("mean") and described.get("std"):
        mean, std, by = described["mean"], described["std"], "the config beside the weights"
    elif "clip" not in backbone.name and _is_open_clip(path):
        from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

        mean, std, by = OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, "open_clip's default"
    given = [name for name in ("mean", "std") if getattr(backbone, name) is not None]
    mean, std = backbone.mean or mean, backbone.std or std
    by = f"backbones.*.{' and '.join(given)}" if given else by
    return Normalisation(*(tuple(map(float, values)) for values in (mean, std))), by  # type: ignore[arg-type]


def _is_open_clip(path: Path) -> bool:
    try:
        return any(name.startswith(OPEN_CLIP) for name in _read(path, "meta"))
    except ValueError:
        return False  # `problem` says what is wrong with the file


def _read(path: Path, device: str) -> Weights:
    """The tensors of a file by name; on `meta` their shapes alone, which costs no time.

    Raises:
        ValueError: if it holds no state dict, or more than tensors.
    """
    try:
        if path.suffix == ".safetensors" and device == "meta":
            with safe_open(path, "pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            weights: Any = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        else:
            weights = timm.models.load_state_dict(str(path), device=device, weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, KeyError, AttributeError) as error:
        raise ValueError(f"no readable weights ({_reason(error)})") from None
    except Exception as error:  # bytes that are no weights make the unpickler raise anything
        raise ValueError(f"no readable weights ({type(error).__name__})") from None
    weights = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not weights:
        raise ValueError("no state dict: it holds no tensors by name")
    return timm.models.clean_state_dict(weights)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "weights_only" in text:  # torch's advice is to run the pickle
        listed = re.search(r"Unsupported globals: (.*?)\. ", text)
        named = f", {min(listed[1].split(', '))}" if listed else ""
        return f"it holds pickled objects{named}, which are never run; save its state dict alone"
    return f"{type(error).__name__}: {text[:200]}"


def _stripped(weights: Weights) -> Weights:
    """Without the prefix of a timm tower in an open_clip model, and without that model's text tower."""
    if any(name.startswith(TRUNK) for name in weights):
        return {name.removeprefix(TRUNK): one for name, one in weights.items() if name.startswith(TRUNK)}
    return weights


def _fitted(weights: Weights, encoder: nn.Module) -> Weights:
    """The weights under timm's names and at the encoder's size, without a classifier."""
    weights = _stripped(weights)
    # timm converts foreign keys and resamples positions and patches by a function of the model's module.
    convert = getattr(sys.modules[type(encoder).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            weights = convert(dict(weights), encoder)
        except (RuntimeError, AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"weights of another model ({' '.join(str(error).split())[:200]})") from None
    described: Any = getattr(encoder, "pretrained_cfg", None) or {}
    heads = described.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    ours = encoder.state_dict()
    dropped = tuple(f"{head}." for head in heads)
    return {name: one for name, one in weights.items() if name in ours or not name.startswith(dropped)}


def _problem(weights: Weights, encoder: nn.Module) -> str | None:
    """How the weights differ from what the encoder needs, in words; None where they do not."""
    ours = {
        name: one for name, one in encoder.state_dict().items() if not name.endswith("num_batches_tracked")
    }
    for name, one in weights.items():
        if name in ours and one.shape != ours[name].shape:
            return _difference(name, one, ours[name])
    if missing := [name for name in ours if name not in weights]:
        return f"{len(missing)} of the model's {len(ours)} tensors are missing, the first {missing[0]}"
    known = encoder.state_dict()
    if more := [name for name in weights if name not in known]:
        return f"{len(more)} tensors are not of this model, the first {more[0]}"
    return None


def _difference(name: str, theirs: Tensor, ours: Tensor) -> str:
    stem = theirs.ndim == ours.ndim == 4 and theirs.shape[0] == ours.shape[0]
    if stem and ours.shape[1] == 3 and theirs.shape[1] != 3:
        return f"{name} takes {theirs.shape[1]} channels, and images here have 3"
    return f"weights of another model ({name} is {_shape(theirs)}, and the backbone's {_shape(ours)})"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _meta_encoder(backbone: Backbone) -> nn.Module:
    with torch.device("meta"):
        return encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
