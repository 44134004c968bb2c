"""semi_supervised@ARM: finetune the whole encoder on a few labels, 1 % and 10 % of the probe split by default.

The label lists are data/splits/labels-FRACTION.npy: class-balanced, the same for every arm.
"""

import torch

from models.flops import count
from models.methods.supervised import Config
from models.methods.supervised import Method as Supervised
from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT, Method, View
from stages.stage import Stage, main
from stages.training.device import launch
from stages.training.examples import Examples, examples
from stages.training.features import open_split, outputs, top_k
from stages.training.loop import Loop
from stages.training.selection import UNIFORM, Selector
from stages.training.spend import step_flops
from stages.training.weights import load_encoder


def semi_supervised(stage: Stage) -> None:
    """Finetune once a fraction, from the same encoder, and report test top-1 and top-5."""
    params, settings = stage.params, stage.params.semi_supervised
    pool = Pool.open(ROOT / "data/pool")
    folder = ROOT / "results/pretrain" / str(stage.arm)
    size = load_encoder(folder)[1]
    test = open_split(pool, "test", size, params.run)
    protocols = []
    for fraction, steps in zip(settings.fractions, settings.steps, strict=True):
        encoder, _ = load_encoder(folder)
        uids = uid_files.load(ROOT / "data/splits" / f"labels-{fraction:g}.npy")
        labelled = examples(pool, uids, size, params.run, frozenset({"labels"}))
        top1, top5 = finetune(stage, encoder, labelled, test, steps)
        name = f"{100 * fraction:g}pct"
        stage.metrics[f"top1_{name}"], stage.metrics[f"top5_{name}"] = top1, top5
        protocols.append(f"{100 * fraction:g} % = {len(uids)} labels, {steps} steps")
        print(f"{stage.address}: top-1 {top1:.4f} with {len(uids)} labels ({steps} steps)")
    stage.metrics["protocol"] = (
        f"whole network finetuned with a new linear head ({'; '.join(protocols)}), AdamW, lr {settings.lr:g}, cosine, weight "
        f"decay {settings.weight_decay:g}, batch {settings.batch_size}, crops (0.6, 1) and flips; last step evaluated on {len(test)} "
        "test images, plain"
    )
    print(f"{stage.address}: {stage.metrics['protocol']}")


def finetune(stage: Stage, encoder: torch.nn.Module, labelled: Examples, test: Examples, steps: int) -> tuple[float, float]:
    """Train encoder and head on the labelled examples; top-1 and top-5 on test."""
    params, settings = stage.params, stage.params.semi_supervised
    fabric, seed = launch(params.run), 1_000_003 * params.seed + 700_000
    recipe = Method(
        batch_size=min(settings.batch_size, len(labelled)),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        views={"image": View(scale=[0.6, 1.0], flip=0.5)},
        score_views={"image": View()},
    )
    torch.manual_seed(seed)
    objective = Supervised(encoder, Config(), labelled.classes)
    cost = step_flops(objective, recipe, UNIFORM, labelled)
    loop = Loop(fabric, objective, labelled, recipe, Selector(UNIFORM, recipe, labelled, None, seed), steps, seed)
    loop.run(bar=lambda s: stage.track(s, description=f"{stage.address} {len(labelled)} labels"))
    logits = outputs(objective, objective.classify, test, fabric)
    size = test.pixels.size
    spent = steps * cost.train + len(test) * count(encoder, (3, size, size)).forward
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0) + spent
    return top_k(logits, test.labels, 1), top_k(logits, test.labels, 5)


if __name__ == "__main__":
    main(semi_supervised)
