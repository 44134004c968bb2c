"""Weights of a timm model, or of an open_clip model, which embeds captions too, from a file on disk."""

from pathlib import Path

import torch
from torch import Tensor

from models import encoders
from winnow.config.errors import ParamsError
from winnow.config.schema import Version
from winnow.embedding.embedder import Embedder, device_of, flops_of, image_embedder, normalise
from winnow.pipeline.files import sha256


def open_pretrained(path: Path, version: Version) -> Embedder:
    """The model of `version.architecture` with the weights of a file.

    Raises:
        ValueError: if there is no such file, the architecture is unknown, or the weights are of another.
    """
    import open_clip
    import timm

    if not path.is_file():
        raise ValueError(
            f"versions.*.model: {version.model!r} is no file; give the weights of {version.architecture}"
        )
    name = str(version.architecture)
    try:
        if timm.is_model(name):
            return _timm(path, name, version.image_size)
        if name in open_clip.list_models():
            return _open_clip(path, name, version.image_size)
    except Exception as error:  # bytes that are no weights make the readers raise anything
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"versions.*.model: {version.model!r} holds no weights of {name}: {type(error).__name__}: {why}"
        ) from None
    raise ParamsError(
        f"versions.*.architecture: {name!r} is known neither to timm nor to open_clip; give a name of theirs"
    )


def _timm(path: Path, name: str, image_size: int | None) -> Embedder:
    import timm
    from timm.data import resolve_data_config

    # timm knows this name
    size = image_size or int(timm.get_pretrained_cfg(name).input_size[-1])  # type: ignore[union-attr]
    encoder = encoders.create(name, size)
    # Not strict, because the file may hold a classifier.
    missing = timm.models.load_checkpoint(encoder, str(path), strict=False).missing_keys
    if missing:
        raise ValueError(f"{len(missing)} of the model's weights are not in it, the first {missing[0]}")
    config = resolve_data_config({}, model=encoder)
    return image_embedder(name, sha256(path), size, encoder.eval(), config["mean"], config["std"])


def _open_clip(path: Path, name: str, image_size: int | None) -> Embedder:
    import open_clip

    forced = {"force_image_size": image_size} if image_size else {}
    model = open_clip.create_model(name, pretrained=str(path), **forced).eval()
    tokenizer = open_clip.get_tokenizer(name)
    config = open_clip.get_model_preprocess_cfg(model)
    side = config["size"]
    size = int(side[0] if isinstance(side, tuple | list) else side)

    def texts(captions: list[str]) -> Tensor:
        return model.encode_text(tokenizer(captions).to(device_of(model)))

    def images(pixels: Tensor) -> Tensor:
        return model.encode_image(normalise(pixels, config["mean"], config["std"]))

    image, tokens = torch.zeros(1, 3, size, size, device="meta"), tokenizer(["a"]).to("meta")
    image_flops = flops_of(model, lambda meta_copy: meta_copy.encode_image(image))
    text_flops = flops_of(model, lambda meta_copy: meta_copy.encode_text(tokens))
    return Embedder(name, sha256(path), size, model, images, texts, image_flops, text_flops)
