"""Encoders on disk, as `timm.create_model("local-dir:FOLDER", pretrained=True)` reads them."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from models import encoders
from models.heads import described, from_description
from winnow.config.schema import Backbone
from winnow.pipeline.files import read_json, write_json

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PROJECTION, LAYERS = "projection.safetensors", "layers"
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


def save_projection(folder: Path, head: nn.Sequential | None) -> None:
    """Write projection.safetensors into `folder`: weights and layers of a projection head, or that there is
    none.
    """
    layers = json.dumps(None if head is None else described(head))
    save_weights(nn.Sequential() if head is None else head, folder / PROJECTION, {LAYERS: layers})


def load_projection(folder: Path) -> nn.Sequential | None:
    """The head that `save_projection` wrote, or None.

    Raises:
        ValueError: naming the file and the mend, if it is missing or damaged.
    """
    path = folder / PROJECTION
    try:
        with safe_open(path, framework="pt") as file:
            layers = json.loads(file.metadata()[LAYERS])
        head = None if layers is None else from_description(layers)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no readable projection head ({error}); {MEND}") from None
    if head is not None:
        load_weights(head, path, MEND)
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
