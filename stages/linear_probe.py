"""linear_probe@ARM.SET: how well does a linear classifier recognise the classes from frozen features?

Multinomial logistic regression by L-BFGS on standardised features of the plain images: trained on the probe
split, the L2 penalty chosen on val, and top-1, top-5 and the mean of per-class top-1 reported on test. The
last is the usual metric where classes are uneven, as in Caltech-101, Pets and Flowers.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.flops import count
from winnow.config.bounds import bounded
from winnow.evaluation.features import features, open_split, top_k, top_k_hits
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import open_set
from winnow.training.device import launch
from winnow.training.weights import load_encoder

SPLITS = ("probe", "val", "test")
NEEDS = ("labels",)  # of every image of its task set


@dataclass
class Config:
    """`l2` are the penalties tried; `iterations` those of L-BFGS."""

    l2: list[float] = bounded([1e-3], 0)
    iterations: int = bounded(100, 1)

    def __post_init__(self) -> None:
        if not self.l2:
            raise ValueError("l2: empty; allowed: one or more numbers of 0 or more")


def linear_probe(stage: Stage) -> None:
    """Fit the classifiers, and report the best one's accuracy."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    fabric = launch(params.run)
    encoder, size = load_encoder(workspace.arm(stage.arm))
    encoder = fabric.to_device(encoder)
    pool = open_set(workspace, params.datasets, stage.set)
    splits = {name: open_split(workspace, pool, stage.set, name, size, params) for name in SPLITS}
    read = {name: features(encoder, data, fabric) for name, data in splits.items()}
    mean, std = read["probe"].mean(dim=0), read["probe"].std(dim=0) + 1e-6
    read = {name: (values - mean) / std for name, values in read.items()}
    labels = {name: data.labels for name, data in splits.items()}
    classes = splits["probe"].classes
    fits = {l2: fit(read["probe"], labels["probe"], classes, l2, settings.iterations) for l2 in settings.l2}
    val = {l2: top_k(logits(weight, read["val"]), labels["val"], 1) for l2, weight in fits.items()}
    best = max(settings.l2, key=lambda l2: val[l2])
    test = logits(fits[best], read["test"])
    hits = {"top1": top_k_hits(test, labels["test"], 1), "top5": top_k_hits(test, labels["test"], 5)}
    write_outcomes(stage.work / OUTCOMES, splits["test"].uids, hits)
    stage.flops["evaluate"] = sum(map(len, splits.values())) * count(encoder, (3, size, size)).forward
    stage.metrics.update(
        top1=top_k(test, labels["test"], 1),
        top5=top_k(test, labels["test"], 5),
        class_mean_top1=class_mean(test, labels["test"]),
        val_top1=val[best],
        l2=best,
        protocol=(
            f"frozen features of the plain {size} px image (no augmentation), standardised; logistic "
            f"regression by L-BFGS, {settings.iterations} iterations, on {len(splits['probe'])} probe "
            f"labels; L2 {best:g} chosen on val from {settings.l2}; test: {len(splits['test'])} images"
        ),
    )
    shown = f"top-1 {stage.metrics['top1']:.4f}, top-5 {stage.metrics['top5']:.4f}"
    print(f"{stage.address}: {shown} ({stage.metrics['protocol']})")


def fit(inputs: Tensor, labels: Tensor, classes: int, l2: float, iterations: int) -> Tensor:
    """Minimise mean cross-entropy + l2 * |W|^2 for inputs (n, D): weights and bias as (D + 1, classes)."""
    weight = torch.zeros(inputs.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(weight, inputs), labels) + l2 * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()


def class_mean(logits: Tensor, labels: Tensor) -> float:
    """The mean of the top-1 of each class that occurs, to six places; logits (n, classes), labels (n,)."""
    hits = logits.argmax(dim=1) == labels
    each = torch.stack([hits[labels == label].float().mean() for label in labels.unique()])
    return round(float(each.mean()), 6)


def logits(weight: Tensor, inputs: Tensor) -> Tensor:
    """(D + 1, classes) and (n, D) -> (n, classes)."""
    return inputs @ weight[:-1] + weight[-1]


if __name__ == "__main__":
    main(linear_probe)
