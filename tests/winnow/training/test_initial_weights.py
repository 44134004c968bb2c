"""Weights to start from, in every format that they come in, against the models that wrote them; and whatever
is not the backbone's is one line.
"""

import os
from collections import OrderedDict

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from models import encoders
from models.encoders import Normalisation
from winnow.config.derive import derive
from winnow.config.errors import ParamsError
from winnow.config.schema import Arm, Backbone, Params
from winnow.pipeline.files import sha256, write_json
from winnow.training.initial_weights import InitialWeights
from winnow.training.weights import load_encoder, save_encoder

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SMALL_CLIP = {"patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2}


def opened(folder, backbone):
    """As an arm's stage opens them: by the paths that are derived from params."""
    params = Params(backbones={"b": backbone}, arms={"a": Arm("p", "m", "b")})
    derive(params)
    return InitialWeights.open(folder, "backbones.b", backbone, params.arms["a"].dvc)


def loaded(start):
    torch.manual_seed(99)  # whatever the weights leave out would be random
    backbone = start.backbone
    encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
    assert start.problem() is None
    start.load(encoder)
    return encoder.eval()


def model(name="test_resnet", **kwargs):
    torch.manual_seed(0)
    return timm.create_model(name, **kwargs).eval()


@torch.no_grad()
def features(net, images):
    """timm's own features before the classifier."""
    return net.forward_head(net.forward_features(images), pre_logits=True)


def write_state(path, net):
    if path.suffix == ".safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path)


@pytest.mark.parametrize("file", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("classes", [0, 10])
@pytest.mark.parametrize(("name", "size"), [("test_resnet", 28), ("test_byobnet", 28), ("test_vit", 32)])
def test_a_timm_file_with_and_without_its_classifier(name, size, classes, file, tmp_path):
    kwargs = {"img_size": size, "patch_size": 4} if name == "test_vit" else {}
    theirs = model(name, num_classes=classes, **kwargs)
    write_state(tmp_path / file, theirs)
    start = opened(tmp_path, Backbone(name, size, kwargs, weights=file))
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(loaded(start)(images), features(theirs, images), rtol=0, atol=0)
    cfg = timm.get_pretrained_cfg(name)
    assert start.normalisation == Normalisation(cfg.mean, cfg.std)
    assert start.resampled() == []


def test_a_training_checkpoint_of_several_gpus(tmp_path):
    theirs = model(num_classes=10)
    state = OrderedDict((f"module.{name}", one) for name, one in theirs.state_dict().items())
    torch.save({"epoch": 3, "arch": "test_resnet", "state_dict": state}, tmp_path / "w.pth")
    images = torch.randn(2, 3, 28, 28)
    ours = loaded(opened(tmp_path, Backbone("test_resnet", weights="w.pth")))
    with torch.no_grad():
        assert torch.equal(ours(images), features(theirs, images))


def test_a_hugging_face_folder_says_how_inputs_are_normalised(tmp_path):
    """Written by timm's own saver; its mean differs from the default of the architecture."""
    theirs = model("test_byobnet", num_classes=7)
    theirs.pretrained_cfg |= {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    timm.models.save_for_hf(theirs, tmp_path / "hub", safe_serialization=True)
    start = opened(tmp_path, Backbone("test_byobnet", weights="hub"))
    ours = loaded(start)
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(ours(images), features(theirs, images))
    assert encoders.normalisation(ours) == start.normalisation
    assert start.normalisation == Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert start.record(tmp_path, Arm().dvc) == {
        "path": "hub",
        "sha256": sha256(tmp_path / "hub/model.safetensors"),
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "flops": "unknown",
    }


def clip(**vision):
    torch.manual_seed(0)
    text = open_clip.CLIPTextCfg(context_length=8, vocab_size=100, width=32, heads=2, layers=1)
    return open_clip.CLIP(16, open_clip.CLIPVisionCfg(image_size=32, **vision), text).eval()


def test_an_open_clip_file_gives_its_visual_tower(tmp_path):
    """The oracle is open_clip: its projection of our features is its own embedding, up to rounding."""
    theirs = clip(layers=2, width=64, head_width=32, patch_size=8)
    save_file(theirs.state_dict(), tmp_path / "c.safetensors")
    backbone = Backbone("vit_base_patch16_clip_224", 32, SMALL_CLIP, weights="c.safetensors")
    start = opened(tmp_path, backbone)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = loaded(start)(images) @ theirs.visual.proj
        torch.testing.assert_close(ours, theirs.visual(images), rtol=1e-4, atol=1e-5)
    assert start.normalisation == CLIP


def test_an_open_clip_folder_and_a_timm_tower_in_it(tmp_path):
    theirs = clip(timm_model_name="test_resnet", timm_pool="avg", timm_proj="linear")
    backbone = Backbone("test_resnet", 28, weights="open_clip_model.safetensors")
    save_file(theirs.state_dict(), tmp_path / backbone.weights)
    with pytest.raises(ParamsError, match=r"no file open_clip_config\.json there"):
        opened(tmp_path, backbone)
    write_json(tmp_path / "open_clip_config.json", {"preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    start = opened(tmp_path, backbone)
    assert start.normalisation == Normalisation((0.5,) * 3, (0.25,) * 3)
    images = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        assert torch.equal(loaded(start)(images), features(theirs.visual.trunk, images))
    (tmp_path / backbone.weights).rename(tmp_path / "w.safetensors")  # without the folder's config
    alone = opened(tmp_path, Backbone("test_resnet", 28, weights="w.safetensors"))
    assert (alone.normalisation, alone.normalised_by) == (CLIP, "open_clip's default")


@pytest.mark.parametrize("trained", [True, False])
def test_an_arms_encoder_carries_its_mean_and_its_flops(trained, tmp_path):
    backbone = Backbone("test_resnet", 28)
    folder = tmp_path / "results/pretrain/half"
    encoder = model(num_classes=0)
    encoder.normalisation = IMAGENET
    save_encoder(folder, encoder, backbone)
    before = {} if trained else {"weights": {"flops": "unknown"}}
    write_json(folder / "metrics.json", {"flops": {"total": 300}, **before})
    ours = Backbone("test_resnet", 28, weights="results/pretrain/half")
    params = Params(backbones={"b": ours}, arms={"a": Arm("p", "m", "b")})
    derive(params)
    start = opened(tmp_path, ours)
    assert start.normalisation == IMAGENET
    assert all(
        torch.equal(a, b) for a, b in zip(loaded(start).parameters(), encoder.parameters(), strict=True)
    )
    assert start.record(tmp_path, params.arms["a"].dvc)["flops"] == (300 if trained else "unknown")
    # and on: what the next arm exports, tasks and timm read
    save_encoder(tmp_path / "next", loaded(start), ours)
    assert encoders.normalisation(load_encoder(tmp_path / "next")[0]) == IMAGENET
    theirs = timm.create_model(f"local-dir:{tmp_path / 'next'}", pretrained=True)
    assert timm.data.resolve_data_config({}, model=theirs)["mean"] == list(IMAGENET.mean)


def test_params_have_the_last_word_on_mean_and_std(tmp_path):
    write_state(tmp_path / "w.pth", model(num_classes=0))
    given = Backbone("test_resnet", 28, weights="w.pth", mean=[0.1, 0.2, 0.3])
    start = opened(tmp_path, given)
    assert start.normalisation == Normalisation((0.1, 0.2, 0.3), (0.5, 0.5, 0.5))
    assert start.normalised_by == "backbones.*.mean"


def test_another_image_and_patch_size_is_resampled_as_timm_does(tmp_path):
    """The oracle is timm's own loading of the same file into a model of the other size."""
    write_state(tmp_path / "w.pth", model("test_vit", num_classes=10, img_size=64))
    start = opened(tmp_path, Backbone("test_vit", 32, {"patch_size": 8}, weights="w.pth"))
    assert start.resampled() == ["patch_embed.proj.weight 64 x 3 x 16 x 16 to 64 x 3 x 8 x 8"]  # 4 x 4 tokens
    start = opened(tmp_path, Backbone("test_vit", 32, {"patch_size": 4}, weights="w.pth"))
    assert start.resampled()[0] == "pos_embed 1 x 17 x 64 to 1 x 65 x 64"
    assert "resampled: pos_embed 1 x 17 x 64 to 1 x 65 x 64, patch_embed" in start.text()
    overlay = {"file": str(tmp_path / "w.pth"), "custom_load": False, "num_classes": 10}
    theirs = timm.create_model(
        "test_vit", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, img_size=32, patch_size=4
    )
    ours = loaded(start).state_dict()
    for name, one in theirs.state_dict().items():
        assert torch.equal(ours[name], one), name


@pytest.mark.parametrize(
    ("theirs", "backbone", "says"),
    [
        (
            ("test_vit", {}),
            Backbone("test_resnet"),
            r"75 of the model's 75 tensors are missing, the first conv1",
        ),
        (
            ("resnet10t", {}),
            Backbone("test_resnet"),
            r"weights of another model \(conv1\.0\.weight is 24 x 3",
        ),
        (
            ("test_resnet", {"in_chans": 1}),
            Backbone("test_resnet"),
            r"conv1\.0\.weight takes 1 channels, and",
        ),
        (
            ("test_vit", {"depth": 7}),
            Backbone("test_vit", 32),
            r"12 tensors are not of this model, the first bl",
        ),
        (("test_vit", {"depth": 1}), Backbone("test_vit", 32), r"tensors are missing, the first blocks\.1\."),
    ],
)
def test_weights_that_are_not_the_backbones_are_one_line(theirs, backbone, says, tmp_path):
    name, kwargs = theirs
    write_state(tmp_path / "w.pth", model(name, num_classes=10, **kwargs))
    backbone.weights = "w.pth"
    start = opened(tmp_path, backbone)
    with pytest.raises(ValueError, match=says) as caught:
        start.load(encoders.create(backbone.name, backbone.image_size))
    assert "\n" not in str(caught.value)
    assert start.problem() in str(caught.value), "preflight finds the same without reading the weights"


class Command:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (
            lambda path: torch.save({"state_dict": Command()}, path),
            "holds pickled objects, posix.mkdir, which",
        ),
        (
            lambda path: torch.save(model(), path),
            "holds pickled objects, timm.layers",
        ),
        (lambda path: torch.save({"epoch": 3}, path), "no state dict: it holds no tensors by name"),
        (lambda path: torch.save(torch.zeros(3), path), "no readable weights"),
        (lambda path: path.write_bytes(b"no weights"), "no readable weights"),
        (lambda path: path.write_bytes(b""), "no readable weights"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_one_line_and_no_pickle_runs(
    write, says, suffix, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / f"w{suffix}")
    start = opened(tmp_path, Backbone("test_resnet", weights=f"w{suffix}"))
    problem = start.problem()
    assert problem is not None
    assert "\n" not in problem
    assert says in problem or suffix == ".safetensors"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("weights", "config", "says"),
    [
        ("none.pth", None, r"backbones\.b\.weights: 'none\.pth': no file none\.pth there; give a file"),
        ("hub", None, r"'hub': no file config\.json there"),
        (
            "hub",
            {"architecture": "resnet18"},
            r"backbones\.b\.name: test_resnet, but .* describes a resnet18",
        ),
        ("hub", [1], r"backbones\.b\.weights: .*config\.json: list at the top"),
    ],
)
def test_a_folder_without_what_it_needs_is_one_line(weights, config, says, tmp_path):
    (tmp_path / "hub").mkdir()
    save_file(model().state_dict(), tmp_path / "hub/model.safetensors")
    if config is not None:
        write_json(tmp_path / "hub/config.json", config)
    with pytest.raises(ParamsError, match=says) as caught:
        opened(tmp_path, Backbone("test_resnet", weights=weights))
    assert "\n" not in str(caught.value)
