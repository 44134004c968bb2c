"""A finished model as a maker of embeddings: one that this project trained, or timm's or open_clip's weights from a file.

    results/reference/models/METHOD       a reference; with two towers (clip, siglip) it embeds captions too, in the same space
    results/pretrain/ARM[/model.safetensors]   an arm's encoder
    FILE, and `architecture`              weights on disk of a timm model, or of an open_clip model, which embeds captions too

Nothing is downloaded. Pictures are resized and cut to the model's square as in training (stages/data/loader.py).
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models import encoders
from models.flops import count, measure, on_meta
from models.text import TwoTowers, tokenize
from stages.data.views import MEAN, STD
from stages.params import ROOT, Params, ParamsError, Version
from stages.training.build import build
from stages.training.weights import load_encoder

WHOLE = "method.safetensors"  # a reference with its heads; stages/reference.py
ENCODER = "model.safetensors"


@dataclass(frozen=True)
class Embedder:
    """`images` maps uint8 (B, 3, size, size) to (B, D), `texts` captions to (B, D) where the model knows them; `key` tells two models
    apart; `image_flops` and `text_flops` are what one example costs, `train_flops` what training the model did, 0 where nobody knows.
    """

    name: str
    key: str
    size: int
    module: nn.Module
    images: Callable[[Tensor], Tensor]
    texts: Callable[[list[str]], Tensor] | None
    image_flops: int
    text_flops: int = 0
    train_flops: int = 0


def open_embedder(version: Version, params: Params, classes: int) -> Embedder:
    """The model that `versions.*.model` names.

    Raises:
        ValueError: if it is not there, or does not fit what params say of it.
    """
    path = ROOT / version.model
    if version.architecture is not None:
        return _foreign(path, version)
    folder = path.parent if path.name == ENCODER else path
    if (folder / WHOLE).is_file() and folder.name in params.methods:
        objective = _reference(folder, params, classes)
        if isinstance(objective, TwoTowers):
            towers = _two_towers(folder, objective, params.backbones[params.reference.backbone].image_size)
            return replace(towers, train_flops=_trained(folder))
    if not (folder / ENCODER).is_file():
        raise ValueError(
            f"versions.*.model: {version.model!r} holds no {ENCODER}; give results/reference/models/METHOD, results/pretrain/ARM, or a "
            "file of weights with its architecture"
        )
    encoder, size = load_encoder(folder)
    alone = _images_alone(folder.name, _digest(folder / ENCODER), size, encoder, MEAN, STD)
    return replace(alone, train_flops=_trained(folder))


def _trained(folder: Path) -> int:
    """FLOPs of a model's training, from the files that the stages reference and pretrain leave beside it."""
    for name, keys in (("reference.json", ("train_flops",)), ("metrics.json", ("flops", "total"))):
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            for key in keys:
                found = found[key]
            return int(found)
    return 0


def _reference(folder: Path, params: Params, classes: int) -> nn.Module:
    objective = build(params, folder.name, params.reference.backbone, classes, 0)
    try:
        objective.load_state_dict(load_file(folder / WHOLE))
    except (RuntimeError, SafetensorError) as error:
        why = str(error).splitlines()[-1].strip()
        raise ValueError(f"{folder}: fits neither reference.backbone nor methods.{folder.name}: {why}") from None
    return objective.eval()


def _two_towers(folder: Path, objective: TwoTowers, size: int) -> Embedder:
    context = objective.config.context
    tokens = torch.zeros(1, context, dtype=torch.long)

    def texts(captions: list[str]) -> Tensor:
        return objective.text(tokenize(captions, context).to(_device(objective)))

    def images(pixels: Tensor) -> Tensor:
        return objective.head(objective.encoder(_scaled(pixels, MEAN, STD)))  # type: ignore[no-any-return]

    image_flops = count(nn.Sequential(objective.encoder, objective.head), (3, size, size)).forward
    text_flops = _flops(objective, lambda twin: twin.text(tokens.to("meta")))
    return Embedder(folder.name, _digest(folder / WHOLE), size, objective, images, texts, image_flops, text_flops)


def _images_alone(name: str, digest: str, size: int, encoder: nn.Module, mean: Any, std: Any) -> Embedder:
    def images(pixels: Tensor) -> Tensor:
        return encoder(_scaled(pixels, mean, std))  # type: ignore[no-any-return]

    return Embedder(name, digest, size, encoder, images, None, count(encoder, (3, size, size)).forward)


def _foreign(path: Path, version: Version) -> Embedder:
    import open_clip
    import timm

    if not path.is_file():
        raise ValueError(f"versions.*.model: {version.model!r} is no file; give the weights of {version.architecture}")
    name = str(version.architecture)
    try:
        if timm.is_model(name):
            return _timm(path, name, version.image_size)
        if name in open_clip.list_models():
            return _open_clip(path, name, version.image_size)
    except Exception as error:  # bytes that are no weights make the readers raise anything
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"versions.*.model: {version.model!r} holds no weights of {name}: {type(error).__name__}: {why}") from None
    raise ParamsError(f"versions.*.architecture: {name!r} is known neither to timm nor to open_clip; give a name of theirs")


def _timm(path: Path, name: str, wanted: int | None) -> Embedder:
    import timm
    from timm.data import resolve_data_config

    size = wanted or int(timm.get_pretrained_cfg(name).input_size[-1])  # type: ignore[union-attr]  # timm knows this name
    encoder = encoders.create(name, size)
    lost = timm.models.load_checkpoint(encoder, str(path), strict=False).missing_keys  # not strict: the file may hold a classifier
    if lost:
        raise ValueError(f"{len(lost)} of the model's weights are not in it, the first {lost[0]}")
    config = resolve_data_config({}, model=encoder)
    return _images_alone(name, _digest(path), size, encoder.eval(), config["mean"], config["std"])


def _open_clip(path: Path, name: str, wanted: int | None) -> Embedder:
    import open_clip

    more = {"force_image_size": wanted} if wanted else {}
    model = open_clip.create_model(name, pretrained=str(path), **more).eval()
    tokenizer = open_clip.get_tokenizer(name)
    config = open_clip.get_model_preprocess_cfg(model)
    side = config["size"]
    size = int(side[0] if isinstance(side, tuple | list) else side)

    def texts(captions: list[str]) -> Tensor:
        return model.encode_text(tokenizer(captions).to(_device(model)))  # type: ignore[no-any-return]

    def images(pixels: Tensor) -> Tensor:
        return model.encode_image(_scaled(pixels, config["mean"], config["std"]))  # type: ignore[no-any-return]

    tokens = tokenizer(["a"])
    image_flops = _flops(model, lambda twin: twin.encode_image(torch.zeros(1, 3, size, size, device="meta")))
    text_flops = _flops(model, lambda twin: twin.encode_text(tokens.to("meta")))
    return Embedder(name, _digest(path), size, model, images, texts, image_flops, text_flops)


def _flops(module: nn.Module, call: Callable[[Any], Tensor]) -> int:
    twin = on_meta(module).eval()
    with torch.no_grad(), torch.device("meta"):
        return measure(partial(call, twin))


def _scaled(pixels: Tensor, mean: Any, std: Any) -> Tensor:
    """uint8 -> float with the model's own mean (3,) or one number, and the same for the standard deviation, removed."""
    shift, scale = (torch.as_tensor(value, dtype=torch.float32, device=pixels.device).reshape(-1, 1, 1) for value in (mean, std))
    return (pixels.float() / 255 - shift) / scale


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _digest(path: Path) -> str:
    """SHA-256 of the weights' file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
