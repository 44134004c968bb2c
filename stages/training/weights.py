"""Encoders on disk, in the layout that `timm.create_model("local-dir:FOLDER", pretrained=True)` reads: safetensors and config."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from models import encoders
from stages.data.views import MEAN, STD
from stages.params import Backbone
from stages.stage import write_json


def save_encoder(folder: Path, encoder: nn.Module, backbone: Backbone) -> None:
    """Write model.safetensors and config.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = {
        "architecture": backbone.name,
        "num_classes": 0,
        "num_features": encoders.width(encoder),
        "model_args": backbone.kwargs,
        "pretrained_cfg": {
            "input_size": [3, backbone.image_size, backbone.image_size],
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
            "num_classes": 0,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
        },
    }
    write_json(folder / "config.json", config)


def load_encoder(folder: Path) -> tuple[nn.Module, int]:
    """The encoder that `save_encoder` wrote, in eval mode, and the image size it was trained at.

    Raises:
        ValueError: if the files are missing, or do not fit each other.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except FileNotFoundError as error:
        raise ValueError(f"{error.filename}: no encoder there; run: dvc repro pretrain") from None
    size = int(config["pretrained_cfg"]["input_size"][1])
    encoder = encoders.create(config["architecture"], size, **config["model_args"])
    encoder.load_state_dict(weights)
    return encoder.eval(), size
