"""robustness@ARM.SET: how much of a linear probe's accuracy is left on corrupted pictures?

The probe is that of `linear_probe`: trained on clean features, L2 chosen on val. It is then measured on the
test images under the fifteen common corruptions in five severities (Hendrycks and Dietterich, arXiv
1903.12261; models/corruptions), all as large as the encoder sees them.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from models.corruptions.corrupt import NAMES, SEVERITIES
from models.flops import count
from winnow.config.bounds import bounded, known
from winnow.config.schema import Params
from winnow.evaluation.features import features, open_split, top_k, top_k_hits
from winnow.evaluation.finite import refuse_nonfinite
from winnow.evaluation.linear import fit, logits
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.robustness import corrupted_outputs, sheet
from winnow.loading.examples import Examples
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import open_set
from winnow.training.device import launch
from winnow.training.weights import load_encoder

NEEDS = ("labels",)  # of every image of its task set
SAMPLES = "samples.png"


@dataclass
class Config:
    """`corruptions` empty stands for all fifteen; `images` is how many of the test split are measured, in the
    order of their uids, which is as good as random; null for all. `l2` and `iterations` as in `linear_probe`.
    """

    corruptions: list[str] = field(default_factory=list)
    severities: list[int] = bounded(list(SEVERITIES), 1, 5)
    images: int | None = bounded(125, 1)
    l2: list[float] = bounded([1e-4, 1e-3, 1e-2], 0)
    iterations: int = bounded(100, 1)

    def __post_init__(self) -> None:
        for name in ("severities", "l2"):
            if not getattr(self, name):
                raise ValueError(f"{name}: empty; allowed: one or more")
        for name in ("corruptions", "severities"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name}: {getattr(self, name)} names one twice; name each once")


def check(params: Params, settings: Config) -> None:
    """Check that there are such corruptions.

    Raises:
        ParamsError: if not.
    """
    for name in settings.corruptions:
        known("tasks.robustness.corruptions", name, NAMES)


def robustness(stage: Stage) -> None:
    """Train the probe; report its top-1 clean and in each corruption, and write a sheet of them."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    check(params, settings)
    fabric, folder = launch(params.run), workspace.arm(stage.arm)
    encoder, size = load_encoder(folder)
    encoder = fabric.to_device(encoder)
    pool = open_set(workspace, params.datasets, stage.set)
    probe, val = (open_split(workspace, pool, stage.set, name, size, params) for name in ("probe", "val"))
    test = open_split(workspace, pool, stage.set, "test", size, params, settings.images)
    read = {"probe": features(encoder, probe, fabric), "val": features(encoder, val, fabric)}
    clean = features(encoder, test, fabric)
    for name, values in (*read.items(), ("test", clean)):
        refuse_nonfinite(values, f"features of {name}", folder)
    classify, l2 = _probe(read, probe, val, settings)
    cells = [(name, one) for name in settings.corruptions or NAMES for one in settings.severities]
    found = corrupted_outputs(encoder, classify, test, cells, fabric, stage.track)
    for (name, severity), scores in found.items():
        refuse_nonfinite(scores, f"logits in {name} {severity}", folder)
    hits = {cell: top_k_hits(scores, test.labels, 1) for cell, scores in found.items()}
    _record(stage, hits, top_k_hits(classify(clean), test.labels, 1), test)
    seen = len(probe) + len(val) + len(test) * (1 + len(cells))
    stage.flops["evaluate"] = seen * count(encoder, (3, size, size)).forward
    sheet(test, list(dict.fromkeys(name for name, _ in cells))).save(stage.work / SAMPLES)
    stage.metrics["protocol"] = (
        f"linear probe of {len(probe)} clean labels (L2 {l2:g} chosen on val), measured on {len(test)} test "
        f"images of {size} px in {len(cells) // len(settings.severities)} corruptions x severities "
        f"{settings.severities}, strengths scaled to {size} px"
    )
    print(f"{stage.address}: {_shown(stage)} ({stage.metrics['protocol']})")


class _Classifier(nn.Module):
    """A probe with the mean and the deviation that its features were standardised by."""

    def __init__(self, weight: Tensor, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.weight, self.mean, self.deviation = weight, mean, deviation

    def forward(self, inputs: Tensor) -> Tensor:
        return logits(self.weight, (inputs - self.mean) / self.deviation)


def _probe(
    read: dict[str, Tensor], probe: Examples, val: Examples, settings: Config
) -> tuple[_Classifier, float]:
    """The classifier whose penalty is best on val, and the penalty."""
    mean, deviation = read["probe"].mean(dim=0), read["probe"].std(dim=0) + 1e-6
    inputs, found = (read["probe"] - mean) / deviation, {}
    for l2 in settings.l2:
        weight = fit(inputs, probe.labels, probe.classes, l2, settings.iterations)
        found[l2] = _Classifier(weight, mean, deviation)
    best = max(settings.l2, key=lambda l2: top_k(found[l2](read["val"]), val.labels, 1))
    return found[best], best


def _record(stage: Stage, hits: dict[tuple[str, int], np.ndarray], clean: np.ndarray, test: Examples) -> None:
    """The means over cells, over each corruption's severities and over each severity's corruptions."""
    mean = np.mean(list(hits.values()), axis=0)
    write_outcomes(stage.work / OUTCOMES, test.uids, {"mean_top1": mean, "clean_top1": clean})
    share = {cell: float(found.mean()) for cell, found in hits.items()}
    stage.metrics.update(mean_top1=round(float(mean.mean()), 6), clean_top1=round(float(clean.mean()), 6))
    stage.metrics["drop"] = round(float(clean.mean() - mean.mean()), 6)
    for place, form in ((0, "{}_top1"), (1, "severity_{}_top1")):
        for key in dict.fromkeys(cell[place] for cell in hits):
            within = [value for cell, value in share.items() if cell[place] == key]
            stage.metrics[form.format(key)] = round(float(np.mean(within)), 6)


def _shown(stage: Stage) -> str:
    found = stage.metrics
    drop = f"{100 * found['drop']:.1f} points less than clean {found['clean_top1']:.4f}"
    return f"mean top-1 {found['mean_top1']:.4f}, {drop}"


if __name__ == "__main__":
    main(robustness)
