"""linear_probe@ARM: how much of the classes can a linear classifier read from the frozen encoder?

Multinomial logistic regression by L-BFGS on standardised features of the plain images; trained on the probe split, the L2
penalty chosen on val; top-1, top-5 and the mean of the classes' own top-1 reported on test: the last is what tells where classes are
uneven, as in Caltech-101, Pets or Flowers, whose protocols ask for it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.flops import count
from stages.data.pool import Pool
from stages.params import ROOT
from stages.stage import Stage, main
from stages.training.device import launch
from stages.training.features import features, open_split, top_k
from stages.training.weights import load_encoder


def linear_probe(stage: Stage) -> None:
    """Fit and report."""
    params, settings = stage.params, stage.params.linear_probe
    fabric = launch(params.run)
    encoder, size = load_encoder(ROOT / "results/pretrain" / str(stage.arm))
    encoder = fabric.to_device(encoder)
    pool = Pool.open(ROOT / "data/pool")
    splits = {name: open_split(pool, name, size, params.run) for name in ("probe", "val", "test")}
    read = {name: features(encoder, data, fabric) for name, data in splits.items()}
    mean, std = read["probe"].mean(dim=0), read["probe"].std(dim=0) + 1e-6
    read = {name: (values - mean) / std for name, values in read.items()}
    labels = {name: data.labels for name, data in splits.items()}
    fits = {l2: fit(read["probe"], labels["probe"], splits["probe"].classes, l2, settings.iterations) for l2 in settings.l2}
    best = max(settings.l2, key=lambda l2: top_k(logits(fits[l2], read["val"]), labels["val"], 1))
    test = logits(fits[best], read["test"])
    stage.flops["evaluate"] = sum(map(len, splits.values())) * count(encoder, (3, size, size)).forward
    stage.metrics.update(
        top1=top_k(test, labels["test"], 1),
        top5=top_k(test, labels["test"], 5),
        class_mean_top1=class_mean(test, labels["test"]),
        val_top1=top_k(logits(fits[best], read["val"]), labels["val"], 1),
        l2=best,
        protocol=(
            f"frozen features of the plain {size} px image (no augmentation), standardised; logistic regression by L-BFGS, "
            f"{settings.iterations} iterations, on {len(splits['probe'])} probe labels; L2 {best:g} chosen on val from "
            f"{settings.l2}; test: {len(splits['test'])} images"
        ),
    )
    print(f"{stage.address}: top-1 {stage.metrics['top1']:.4f}, top-5 {stage.metrics['top5']:.4f} ({stage.metrics['protocol']})")


def fit(inputs: Tensor, labels: Tensor, classes: int, l2: float, iterations: int) -> Tensor:
    """Minimise mean cross-entropy + l2 * |W|^2 for inputs (n, D); returns weights and bias as (D + 1, classes)."""
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
    """The mean over the classes that occur of their top-1, for logits (n, classes) and labels (n,), rounded to six places."""
    hits = logits.argmax(dim=1) == labels
    return round(float(torch.stack([hits[labels == label].float().mean() for label in labels.unique()]).mean()), 6)


def logits(weight: Tensor, inputs: Tensor) -> Tensor:
    """(D + 1, classes) and (n, D) -> (n, classes)."""
    return inputs @ weight[:-1] + weight[-1]


if __name__ == "__main__":
    main(linear_probe)
