"""Encoders on disk, as `timm.create_model("local-dir:FOLDER", pretrained=True)` reads them."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import encoders
from models.heads import described, from_description
from models.methods import Objective
from winnow.config.schema import Backbone
from winnow.pipeline.files import read_json, write_json

WEIGHTS, CONFIG = "model.safetensors", "config.json"
HEADS = "heads.safetensors"  # what a method has beside its encoders
PROJECTION = "projection"  # key of its metadata: the layers of the projection head, and their tensors' names
MEND = "make it again with: dvc repro -f pretrain"


def save_encoder(folder: Path, encoder: nn.Module, backbone: Backbone) -> None:
    """Write model.safetensors and config.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(encoder, folder / WEIGHTS, {"format": "pt"})
    mean, std = encoders.normalisation(encoder)
    config: dict[str, Any] = {
        "architecture": backbone.name,
        "num_classes": 0,
        "num_features": encoders.width(encoder),
        "model_args": backbone.kwargs,
        "pretrained_cfg": {
            "input_size": [3, backbone.image_size, backbone.image_size],
            "mean": list(mean),
            "std": list(std),
            "num_classes": 0,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
        },
    }
    write_json(folder / CONFIG, config)


def load_encoder(folder: Path) -> tuple[nn.Module, int]:
    """The encoder that `save_encoder` wrote, in eval mode, and the image size it was trained at.

    Raises:
        ValueError: naming the file and the mend, if one is missing, damaged, or does not fit the other.
    """
    try:
        config = read_json(folder / CONFIG, MEND)
    except FileNotFoundError:
        raise ValueError(f"{folder / CONFIG}: no encoder there; make it with: dvc repro pretrain") from None
    try:
        described = config["pretrained_cfg"]
        size = int(described["input_size"][1])
        encoder = encoders.create(config["architecture"], size, **config["model_args"])
        mean, std = (tuple(map(float, described[name])) for name in ("mean", "std"))
    except KeyError as error:
        raise ValueError(f"{folder / CONFIG}: lacks the key {error}; {MEND}") from None
    except (IndexError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / CONFIG}: describes no encoder ({reason}); {MEND}") from None
    if (mean, std) != encoders.OWN:
        encoder.normalisation = encoders.Normalisation(mean, std)  # type: ignore[arg-type,assignment]
    load_weights(encoder, folder / WEIGHTS, MEND)
    return encoder.eval(), size


def heads(objective: Objective) -> dict[str, Tensor]:
    """All parameters and buffers of a method that are not those of an encoder, by their names in its state:
    classifier, projection heads, text tower, centre; none where it has no others.
    """
    encoders_ = (objective.exported(), objective.trained())
    of_encoders = {id(value) for one in encoders_ for value in one.state_dict(keep_vars=True).values()}
    state = objective.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if id(value) not in of_encoders}


def save_heads(folder: Path, objective: Objective) -> None:
    """Write heads.safetensors into `folder`: the tensors, and which of them are the projection head."""
    found = heads(objective)
    projection = objective.projection()
    layers = None
    if projection is not None:
        names = {id(value): name for name, value in found.items()}
        own = projection.state_dict(keep_vars=True)
        tensors = {name: names[id(value)] for name, value in own.items()}
        layers = {"layers": described(projection), "tensors": tensors}
    plain = {name: value.detach().cpu().contiguous() for name, value in found.items()}
    save_file(plain, folder / HEADS, {PROJECTION: json.dumps(layers, sort_keys=True)})


def load_heads(objective: Objective, path: Path) -> None:
    """Load what `save_heads` wrote into the same method with the same settings; encoders stay as they are.

    Raises:
        ValueError: naming the file and the mend, if it is missing, damaged, without tensors, or of another
            method or other settings.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: no readable heads ({error}); {MEND}") from None
    if not found:
        raise ValueError(f"{path}: empty, for its method has no heads; take another arm")
    shapes = {name: tuple(value.shape) for name, value in heads(objective).items()}
    theirs = {name: tuple(value.shape) for name, value in found.items()}
    if other := sorted(name for name in shapes | theirs if shapes.get(name) != theirs.get(name)):
        first = f"{other[0]} is {theirs.get(other[0], 'absent')}, and here {shapes.get(other[0], 'absent')}"
        raise ValueError(f"{path}: heads of another model ({first}); {MEND}")
    objective.load_state_dict(found, strict=False)


def load_projection(folder: Path) -> nn.Sequential | None:
    """The projection head of what `save_heads` wrote, or None where the method has none.

    Raises:
        ValueError: naming the file and the mend, if it is missing or damaged.
    """
    path = folder / HEADS
    try:
        with safe_open(path, framework="pt") as file:
            described_ = json.loads(file.metadata()[PROJECTION])
            if described_ is None:
                return None
            tensors = {name: file.get_tensor(own) for name, own in described_["tensors"].items()}
        head = from_description(described_["layers"])
        head.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: no readable projection head ({reason}); {MEND}") from None
    return head


def save_weights(module: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write all parameters and buffers of a module as safetensors."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, path, metadata)


def load_weights(module: nn.Module, path: Path, mend: str) -> None:
    """Load what `save_weights` wrote into a module of the same architecture.

    Raises:
        ValueError: naming the file and the mend, if it is missing, damaged, or of another architecture.
    """
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: no readable weights ({error}); {mend}") from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: weights of another model ({reason}); {mend}") from None
