"""Models of three kinds, opened from what lies in their folder or file; and what is none, as one line."""

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from models.text import tokenize
from winnow.config.schema import Backbone, Version
from winnow.embedding.open_model import open_embedder
from winnow.pipeline.files import write_json
from winnow.selection.reference_record import Judged, Record, write_record


def write_reference(folder, method, settings, image_size):
    """An untrained reference of two classes on one example, as the stage `reference` writes one."""
    backbone = {"name": "test_resnet", "image_size": image_size, "kwargs": {}}
    record = Record(method, settings, backbone, 2, {"train": 12, "score": 3})
    objective = record.build(0).eval()
    write_record(folder, record, objective, ["0" * 32], Judged(torch.zeros(1)))
    return objective


@pytest.mark.slow
def test_a_two_tower_reference_embeds_captions_in_the_space_of_its_images(tmp_path):
    objective = write_reference(tmp_path / "clip", "clip", {}, 32)
    embedder = open_embedder(tmp_path, Version(model="clip"))
    assert (embedder.size, embedder.train_flops) == (32, 12)
    assert embedder.plugins == ("models.methods.clip",)
    pixels, captions = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), ["a dog", "two cats"]
    with torch.no_grad():
        expected = objective.text(tokenize(captions, objective.config.context))
        torch.testing.assert_close(embedder.texts(captions), expected)
        assert embedder.images(pixels).shape == expected.shape
    assert embedder.image_flops > 0
    assert embedder.text_flops > 0


def test_a_reference_is_opened_by_its_record_and_not_by_todays_params(tmp_path):
    """Its folder need not be named after its method, and its backbone need not be in params.yaml."""
    objective = write_reference(tmp_path / "other", "supervised", {"label_smoothing": 0.1}, 40)
    embedder = open_embedder(tmp_path, Version(model="other"))
    assert (embedder.size, embedder.texts) == (40, None)
    assert embedder.plugins == ("models.methods.supervised",)
    pixels = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(embedder.images(pixels), objective.encoder((pixels / 255 - 0.5) / 0.5))


@pytest.mark.slow
def test_an_arms_encoder_costs_what_the_arm_spent(version, workspace):
    assert open_embedder(workspace.root, version).train_flops == 0
    write_json(workspace.arm("arm") / "metrics.json", {"flops": {"total": 99}})
    for model in ("results/pretrain/arm/model.safetensors", "results/pretrain/arm"):
        embedder = open_embedder(workspace.root, Version(model=model))
        assert (embedder.train_flops, embedder.plugins, embedder.size) == (99, (), 28)


def test_weights_of_a_timm_model(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=7).eval()
    save_file(model.state_dict(), tmp_path / "timm.safetensors")
    version = Version(model="timm.safetensors", architecture="test_resnet", image_size=32)
    embedder = open_embedder(tmp_path, version)
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(model.pretrained_cfg[k])[:, None, None] for k in ("mean", "std"))
    with torch.no_grad():
        features = model.forward_features((pixels / 255 - mean) / std)
        torch.testing.assert_close(embedder.images(pixels), model.forward_head(features, pre_logits=True))


@pytest.mark.slow
def test_weights_of_an_open_clip_model(tmp_path):
    clip = open_clip.create_model("RN50", force_image_size=64).eval()
    torch.save(clip.state_dict(), tmp_path / "clip.pt")
    embedder = open_embedder(tmp_path, Version(model="clip.pt", architecture="RN50", image_size=64))
    with torch.no_grad():
        texts = embedder.texts(["a dog"])
        torch.testing.assert_close(texts, clip.encode_text(open_clip.get_tokenizer("RN50")(["a dog"])))
        assert embedder.images(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == texts.shape
    assert embedder.text_flops > 0


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (Version(model="nowhere"), "holds no model.safetensors"),
        (Version(model="nowhere", architecture="resnet18"), "is no file"),
        (Version(model="some", architecture="resnet17"), "known neither to timm nor to open_clip"),
        (Version(model="some", architecture="test_resnet"), "holds no weights of test_resnet"),
    ],
)
def test_what_is_no_model_is_one_line(version, line, tmp_path):
    (tmp_path / "some").write_bytes(b"text")
    with pytest.raises(ValueError, match=line) as caught:
        open_embedder(tmp_path, version)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_counted_and_the_first_is_named(tmp_path):
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    weights.pop(next(iter(weights)))
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match="1 of the model's weights are not in it, the first conv1"):
        open_embedder(tmp_path, Version(model="part.safetensors", architecture="test_resnet", image_size=32))


def test_size_is_that_of_the_backbone(version, workspace, digits_params):
    backbone: Backbone = digits_params.backbones["test_resnet"]
    assert open_embedder(workspace.root, version).size == backbone.image_size
