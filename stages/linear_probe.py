"""linear_probe@ARM.SET: how well does a linear classifier recognise the classes from frozen features?

A classifier is trained on the probe split for each choice of its settings, the choice made on val, and top-1,
top-5 and the mean of per-class top-1 reported on test. The last is the usual metric where classes are uneven,
as in Caltech-101, Pets and Flowers. Beside it a kNN vote on the same features, which has nothing to choose.
"""

from dataclasses import dataclass
from itertools import product

from torch import Tensor

from winnow.config.bounds import bounded, one_of
from winnow.evaluation import linear
from winnow.evaluation.features import knn_votes, top_k, top_k_hits
from winnow.evaluation.kept_features import FrozenEncoder, Split
from winnow.evaluation.label_lists import refuse_few, unlabelled
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.task_flops import linear_probe_flops
from winnow.pipeline.stage import Stage, main

NEEDS = ("labels",)  # of every image of its task set


@dataclass
class Config:
    """`l2` are the penalties tried by L-BFGS, in `iterations`; `lrs` and `weight_decays` those by SGD or LARS
    in `epochs`, the former for a batch of 256. `neighbours` are the k of kNN.
    """

    optimiser: str = one_of("lbfgs", "sgd", "lars")
    l2: list[float] = bounded([1e-3], 0)
    iterations: int = bounded(100, 1)
    lrs: list[float] = bounded([0.05], above=0)
    weight_decays: list[float] = bounded([0.0], 0)
    epochs: int = bounded(100, 1)
    batch_size: int = bounded(4096, 1)
    neighbours: list[int] = bounded([10, 20], 1)

    def __post_init__(self) -> None:
        for name in ("l2", "lrs", "weight_decays"):
            if not getattr(self, name):
                raise ValueError(f"{name}: empty; allowed: one or more numbers of 0 or more")


@dataclass
class Fits:
    """Classifiers (D + 1, classes), the settings of each, passes over the features, and how, in words."""

    weights: list[Tensor]
    tried: list[dict[str, float]]
    passes: int
    how: str


def linear_probe(stage: Stage) -> None:
    """Fit the classifiers, and report the best one's accuracy."""
    settings: Config = stage.settings(Config)
    encoder = FrozenEncoder(stage.workspace, stage.params, stage.arm, stage.set)
    probe, val, test = (encoder.split(name) for name in ("probe", "val", "test"))
    classes = probe.data.classes
    refuse_few(probe.labels, f"split probe of {stage.set}")
    if settings.optimiser == "lbfgs":
        mean, std = probe.features.mean(dim=0), probe.features.std(dim=0) + 1e-6
        read = [(split.features - mean) / std for split in (probe, val, test)]
        fits = by_penalty(settings, read[0], probe.labels, classes)
    else:
        read = [split.features for split in (probe, val, test)]
        fits = by_schedule(settings, read[0], probe.labels, classes, stage.params.seed)
    on_val = [top_k(linear.logits(weight, read[1]), val.labels, 1) for weight in fits.weights]
    best = max(range(len(on_val)), key=lambda i: on_val[i])
    report(stage, settings, linear.logits(fits.weights[best], read[2]), probe, test)
    stage.metrics |= {"val_top1": on_val[best], **fits.tried[best]}
    sizes = len(probe), len(val), len(test)
    counted = (encoder.forward, encoder.width, classes, fits.passes, len(on_val))
    stage.flops["evaluate"] = linear_probe_flops(*sizes, *counted)
    stage.metrics["protocol"] = (
        f"frozen features of the plain {encoder.size} px image (no augmentation), {fits.how}, on "
        f"{len(probe)} probe labels; {text(fits.tried[best])} chosen on val from "
        f"{'; '.join(map(text, fits.tried))}; test: {len(test)} images"
        f"{unlabelled(probe.labels, test.labels, 'probe')}; kNN: cosine, exp(similarity / 0.07), same labels"
    )
    shown = f"top-1 {stage.metrics['top1']:.4f}, top-5 {stage.metrics['top5']:.4f}"
    print(f"{stage.address}: {shown} ({stage.metrics['protocol']})")


def by_penalty(settings: Config, inputs: Tensor, labels: Tensor, classes: int) -> Fits:
    """Logistic regression by L-BFGS on standardised features (n, D), for each penalty."""
    regression = linear.Logistic(inputs, labels, classes)
    weights = [regression.fit(l2, settings.iterations) for l2 in settings.l2]
    how = f"standardised; logistic regression by L-BFGS, at most {settings.iterations} iterations"
    return Fits(weights, [{"l2": l2} for l2 in settings.l2], regression.evaluations, how)


def by_schedule(settings: Config, inputs: Tensor, labels: Tensor, classes: int, seed: int) -> Fits:
    """SGD or LARS on features (n, D) as they are, for each learning rate and weight decay."""
    name, size = settings.optimiser, min(settings.batch_size, len(inputs))
    tried = [{"lr": lr, "weight_decay": by} for lr, by in product(settings.lrs, settings.weight_decays)]
    fixed = settings.epochs, size, seed
    weights = [
        linear.scheduled(inputs, labels, classes, name, one["lr"], one["weight_decay"], *fixed)
        for one in tried
    ]
    how = (
        f"as they are; linear classifier by {name.upper()}, momentum 0.9, lr x {size}/256 on a cosine to "
        f"{linear.FINAL_LR:g} without warm-up, batch {size}, {settings.epochs} epochs, the last one kept"
    )
    return Fits(weights, tried, settings.epochs * len(tried), how)


def text(choice: dict[str, float]) -> str:
    """Such as `l2 0.001`."""
    return ", ".join(f"{name} {value:g}" for name, value in choice.items())


def report(stage: Stage, settings: Config, scores: Tensor, probe: Split, test: Split) -> None:
    """Metrics and outcomes of the logits (n, classes) of test, and of kNN."""
    found = {"top1": (scores, 1), "top5": (scores, 5)}
    votes = knn_votes(probe.features, probe.labels, test.features, settings.neighbours)
    found |= {f"knn{k}_top1": (one, 1) for k, one in votes.items()}
    stage.metrics |= {name: top_k(one, test.labels, k) for name, (one, k) in found.items()}
    stage.metrics["class_mean_top1"] = linear.class_mean(scores, test.labels)
    hits = {name: top_k_hits(one, test.labels, k) for name, (one, k) in found.items()}
    write_outcomes(stage.work / OUTCOMES, test.data.uids, hits)


if __name__ == "__main__":
    main(linear_probe)
