"""An encoder that is taken away: timm itself reads it, and the card says what the comparison says."""

import json

import pytest
import timm
import torch
from huggingface_hub import ModelCard

from models import encoders
from winnow.config.schema import Backbone
from winnow.export_model import export_model
from winnow.export_onnx import export_onnx
from winnow.pipeline.workspace import Workspace
from winnow.training.weights import load_encoder, save_encoder

TOP1 = {"mean": 0.8, "low": 0.78, "high": 0.82, "seeds": 2, "images": 1000}
ROW = {
    "arm": "chosen-s0",
    "policy": "easy",
    "method": "supervised",
    "backbone": "test_resnet",
    "version": "pool",
    "seed": 0,
    "flops": {"curate": 0, "reference": 500, "score": 0, "train": 1500, "total": 2000},
    "kwh": 0.001,
    "gco2e": 0.4,
    "energy_quality": "estimated",
    "seconds": 90.0,
    "examples_seen": 4000,
    "tasks": {"held_out": {"linear_probe.top1": 0.79, "pretrain.val_top1": 0.7}},
}


@pytest.fixture
def workspace(tmp_path):
    """A compared arm, one of two seeds."""
    found = Workspace(tmp_path)
    torch.manual_seed(0)
    save_encoder(found.arm("chosen-s0"), encoders.create("test_resnet", 28), Backbone("test_resnet", 28))

    def write(path, value):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    write(found.comparison / "table.json", [ROW])
    groups = [
        {
            "arm": "chosen",
            "arms": ["chosen-s0", "chosen-s1"],
            "seeds": [0, 1],
            "metrics": {"held_out: linear top-1": TOP1},
        }
    ]
    write(found.comparison / "intervals.json", {"groups": groups, "differences": []})
    write(found.arm("chosen-s0") / "cost.json", {"energy": {"country": "DEU", "hardware": {"cpu": "a CPU"}}})
    lineage = {"name": "pool", "count": 5000, "digest": "ab12", "datasets": {"shop": {}}}
    write(found.version("pool") / "lineage.json", lineage)
    protocol = {"protocol": "frozen features"}
    write(tmp_path / "results/tasks/linear_probe/chosen-s0/held_out/metrics.json", protocol)
    return found


def test_timm_gives_the_same_features(workspace, tmp_path):
    export_model(workspace, "chosen-s0", tmp_path / "out")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    ours, size = load_encoder(workspace.arm("chosen-s0"))
    images = torch.rand(4, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_onnxruntime_gives_the_same_features_for_any_batch(workspace, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    export_model(workspace, "chosen-s0", tmp_path / "out", onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx", providers=["CPUExecutionProvider"])
    ours, size = load_encoder(workspace.arm("chosen-s0"))
    for count in (1, 4, 7):
        images = torch.rand(count, 3, size, size)
        with torch.no_grad():
            expected = ours(images)
        (found,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)
    assert "`model.onnx`" in (tmp_path / "out/README.md").read_text()


def test_what_onnx_cannot_hold_is_one_line(tmp_path):
    class DependsOnPixels(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1) if images.sum() > 0 else -images.flatten(1)

    with pytest.raises(ValueError, match="--onnx: DependsOnPixels cannot be exported .*leave --onnx out"):
        export_onnx(DependsOnPixels(), 28, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_card_is_one_that_the_hub_reads(workspace, tmp_path):
    export_model(workspace, "chosen-s0", tmp_path / "out", "apache-2.0")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "timm"
    assert card.data.datasets == ["shop"]
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_value) == ("held_out", 0.79)
    assert card.data.co2_eq_emissions["emissions"] == 0.4
    assert card.data.co2_eq_emissions["geographical_location"] == "DEU"
    for said in (
        "| held_out: linear top-1 | 80.0 % | 78.0 % to 82.0 % | 2 seeds, 1,000 test images |",
        "linear_probe on held_out: frozen features",
        "version `pool`: 5,000 images of shop, sha256 `ab12`",
        "total 2.00 kFLOPs",
        "0.400 g CO2e (estimated)",
    ):
        assert said in card.text, said


def test_unknown_energy_and_licence_are_not_guessed(workspace, tmp_path):
    row = ROW | {"kwh": None, "gco2e": None, "energy_quality": "unknown"}
    (workspace.comparison / "table.json").write_text(json.dumps([row]))
    export_model(workspace, "chosen-s0", tmp_path / "out")
    card = ModelCard.load(tmp_path / "out/README.md")
    assert card.data.license is None
    assert card.data.get("co2_eq_emissions") is None
    assert "Energy: unknown, unknown CO2e (unknown)" in card.text


def test_what_is_not_there_is_one_line_and_leaves_nothing(workspace, tmp_path):
    with pytest.raises(ValueError, match="'other' is no arm of the last comparison; allowed: chosen-s0"):
        export_model(workspace, "other", tmp_path / "out")
    (workspace.arm("chosen-s0") / "model.safetensors").unlink()
    with pytest.raises(
        ValueError, match="model.safetensors: no such file; make it with: dvc repro pretrain@chosen"
    ):
        export_model(workspace, "chosen-s0", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        export_model(workspace, "chosen-s0", tmp_path / "out")
