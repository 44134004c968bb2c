"""Claim: `models.flops` agrees with published MACs; torch's own counter is up to 7 times off in training.

Run `python -m benchmarks.flops_table`: prints a table and writes benchmarks/flops_table.md. Half a minute on
two cores.
"""

import os
from pathlib import Path

import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.startup import cpu
from models.flops import count

# Derived GMAC: by hand from the architecture, without classifier. Published GMAC, with a classifier of 1000
# classes: a name is that of torchvision's weights, with the number in their metadata; a number is from timm's
# benchmark and results tables.
REFERENCES = {
    "mobilenetv2_100": (0.2995, "MobileNet_V2_Weights.IMAGENET1K_V1"),
    "resnet18": (1.814, "ResNet18_Weights.IMAGENET1K_V1"),
    "resnet34": (3.663, "ResNet34_Weights.IMAGENET1K_V1"),
    "resnet50": (4.087, "ResNet50_Weights.IMAGENET1K_V1"),
    "vit_tiny_patch16_224": (1.254, 1.26),
    "vit_tiny_patch32_224": (0.306, None),
    "vit_small_patch16_224": (4.599, 4.61),
    "vit_small_patch32_224": (1.143, None),
    "vit_base_patch16_224": (17.56, "ViT_B_16_Weights.IMAGENET1K_V1"),
    "vit_base_patch32_224": (4.41, "ViT_B_32_Weights.IMAGENET1K_V1"),
}
COLUMNS = (
    *("model", "ours, GMAC", "derived", "off by", "ours with classifier", "published", "by", "off by"),
    *("train / forward", "torch / ours, forward", "torch / ours, train"),
)
BATCH, SHAPE = 2, (3, 224, 224)


def build(name: str, classes: int = 0) -> torch.nn.Module:
    # timm has no ViT-Ti/32.
    options = {"patch_size": 32} if name == "vit_tiny_patch32_224" else {}
    return timm.create_model(name.replace("tiny_patch32", "tiny_patch16"), num_classes=classes, **options)


def stock(net: torch.nn.Module) -> tuple[float, float]:
    """The count of torch's FlopCounterMode for one example on this CPU: forward, forward + backward."""
    x = torch.zeros(BATCH, *SHAPE)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        net(x)
    with FlopCounterMode(display=False) as train:
        net(x).sum().backward()
    return forward.get_total_flops() / BATCH, train.get_total_flops() / BATCH


def published(name: str) -> tuple[float | None, str]:
    reference = REFERENCES[name][1]
    if isinstance(reference, str):
        return torchvision.models.get_weight(reference).meta["_ops"], "torchvision"
    return reference, "timm" if reference else "-"


def row(name: str) -> str:
    ours, (forward, train) = count(net := build(name), SHAPE), stock(net)
    with torch.device("meta"):
        classifier = count(build(name, 1000), SHAPE).macs / 1e9
    gmac, derived, (reference, source) = ours.macs / 1e9, REFERENCES[name][0], published(name)
    off = f"{100 * (classifier / reference - 1):+.2f} %" if reference else "-"
    cells = (
        *(name, f"{gmac:.4f}", f"{derived}", f"{100 * (gmac / derived - 1):+.2f} %", f"{classifier:.4f}"),
        *(f"{reference or '-'}", source, off),
        *(f"{ours.train / ours.forward:.3f}", f"{forward / ours.forward:.3f}", f"{train / ours.train:.3f}"),
    )
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    versions = f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}"
    return f"{cpu()}, {os.cpu_count()} cores, {versions}"


def main() -> None:
    lines = [
        "# models.flops against published numbers and torch's FlopCounterMode",
        "",
        f"224 px, one example, backbone without classifier where not said otherwise. {machine()}.",
        "`torch` is its FlopCounterMode as it is, on the CPU. timm's and torchvision's numbers include the "
        "classifier.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "| --- |" + " ---: |" * (len(COLUMNS) - 1),
        *map(row, REFERENCES),
    ]
    text = "\n".join(lines) + "\n"
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
