"""Open the model that a version's `model` names.

    results/reference/models/METHOD            a reference; with two towers (clip, siglip) it embeds captions
                                               too, in the same space
    results/pretrain/ARM[/model.safetensors]   an arm's encoder
    FILE, and `architecture`                   weights of a timm or open_clip model (pretrained.py)

Nothing is downloaded. Images are resized and cut to the model's square as in training
(winnow/loading/pixels.py).
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.encoders import OWN, normalisation
from models.flops import count
from models.text import TwoTowers, tokenize
from winnow.config.schema import Version
from winnow.embedding.embedder import Embedder, device_of, flops_of, image_embedder, normalise
from winnow.embedding.pretrained import open_pretrained
from winnow.pipeline.files import read_json, sha256
from winnow.selection.reference_record import RECORD, TRAIN, WHOLE, Record, open_objective
from winnow.training.weights import WEIGHTS, load_encoder


def open_embedder(root: Path, version: Version) -> Embedder:
    """The model that a version's `model` names.

    Args:
        root: the folder that the path is relative to.

    Raises:
        ValueError: if it is not there, or cannot be read.
    """
    path = root / str(version.model)
    if version.architecture is not None:
        return open_pretrained(path, version)
    folder = path.parent if path.name == WEIGHTS else path
    if (folder / RECORD).is_file():
        return _reference(folder)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"versions.*.model: {version.model!r} holds no {WEIGHTS}; give results/reference/models/METHOD, "
            "results/pretrain/ARM, or a file of weights with its architecture"
        )
    metrics = folder / "metrics.json"
    trained = int(read_json(metrics)["flops"]["total"]) if metrics.is_file() else 0
    return replace(_encoder(folder), train_flops=trained)


def _reference(folder: Path) -> Embedder:
    """A reference, as its record describes it: with two towers both of them, else its encoder."""
    record = Record.read(folder)
    objective = open_objective(folder, record).eval()
    if isinstance(objective, TwoTowers):
        embedder = _two_towers(folder, objective, int(record.backbone["image_size"]))
    else:
        embedder = _encoder(folder)
    plugins = (f"models.methods.{record.method}",)
    return replace(embedder, train_flops=record.flops[TRAIN], plugins=plugins)


def _encoder(folder: Path) -> Embedder:
    encoder, size = load_encoder(folder)
    by = normalisation(encoder)
    embedder = image_embedder(folder.name, sha256(folder / WEIGHTS), size, encoder, *by)
    return replace(embedder, normalisation=by)


def _two_towers(folder: Path, objective: TwoTowers, size: int) -> Embedder:
    context = objective.config.context
    tokens = torch.zeros(1, context, dtype=torch.long, device="meta")

    def texts(captions: list[str]) -> Tensor:
        return objective.text(tokenize(captions, context).to(device_of(objective)))

    def images(pixels: Tensor) -> Tensor:
        return objective.head(objective.encoder(normalise(pixels, *OWN)))

    image_flops = count(nn.Sequential(objective.encoder, objective.head), (3, size, size)).forward
    text_flops = flops_of(objective, lambda meta_copy: meta_copy.text(tokens))
    weights = sha256(folder / WHOLE)
    return Embedder(folder.name, weights, size, objective, images, texts, image_flops, text_flops)
