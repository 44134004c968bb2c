"""robustness@ARM.SET: how much of a linear probe's accuracy is left on corrupted pictures?

The probe is that of `linear_probe`: trained on clean features, L2 chosen on val. It is then measured on the
test images under the fifteen common corruptions in five severities (Hendrycks and Dietterich, arXiv
1903.12261; models/corruptions), all as large as the encoder sees them.
"""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from models.corruptions.corrupt import NAMES, SEVERITIES
from winnow.config.bounds import bounded, known
from winnow.config.schema import Params
from winnow.evaluation.features import features, open_split, top_k, top_k_hits
from winnow.evaluation.finite import refuse_nonfinite
from winnow.evaluation.kept_features import FrozenEncoder, Split
from winnow.evaluation.linear import Logistic, logits
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.robustness import corrupted_outputs, sheet
from winnow.evaluation.task_flops import classifier_flops
from winnow.loading.examples import Examples
from winnow.pipeline.stage import Stage, main

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
    encoder = FrozenEncoder(workspace, params, stage.arm, stage.set)
    probe, val = encoder.split("probe"), encoder.split("val")
    test = open_split(workspace, encoder.pool, stage.set, "test", encoder.size, params, settings.images)
    clean = features(encoder.encoder, test, encoder.fabric)
    refuse_nonfinite(clean, "features of test", workspace.arm(stage.arm))
    classify, l2, passes = _probe(probe, val, settings)
    cells = [(name, one) for name in settings.corruptions or NAMES for one in settings.severities]
    found = corrupted_outputs(encoder.encoder, classify, test, cells, encoder.fabric, stage.track)
    for (name, severity), scores in found.items():
        refuse_nonfinite(scores, f"logits in {name} {severity}", workspace.arm(stage.arm))
    hits = {cell: top_k_hits(scores, test.labels, 1) for cell, scores in found.items()}
    _record(stage, hits, top_k_hits(classify(clean), test.labels, 1), test)
    sizes = len(probe), len(val), len(test) * (1 + len(cells))
    counted = encoder.forward, encoder.width, probe.data.classes, passes, len(settings.l2)
    stage.flops["evaluate"] = classifier_flops(*sizes, *counted)
    sheet(test, list(dict.fromkeys(name for name, _ in cells))).save(stage.work / SAMPLES)
    stage.metrics["protocol"] = (
        f"linear probe of {len(probe)} clean labels (L2 {l2:g} chosen on val), measured on {len(test)} test "
        f"images of {encoder.size} px in {len(cells) // len(settings.severities)} corruptions x severities "
        f"{settings.severities}, strengths scaled to {encoder.size} px"
    )
    print(f"{stage.address}: {_shown(stage)} ({stage.metrics['protocol']})")


class _Classifier(nn.Module):
    """A probe with the mean and the deviation that its features were standardised by."""

    def __init__(self, weight: Tensor, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.weight, self.mean, self.deviation = weight, mean, deviation

    def forward(self, inputs: Tensor) -> Tensor:
        return logits(self.weight, (inputs - self.mean) / self.deviation)


def _probe(probe: Split, val: Split, settings: Config) -> tuple[_Classifier, float, int]:
    """The classifier whose penalty is best on val, the penalty, and the passes over the features."""
    mean, deviation = probe.features.mean(dim=0), probe.features.std(dim=0) + 1e-6
    regression = Logistic((probe.features - mean) / deviation, probe.labels, probe.data.classes)
    found = {l2: _Classifier(regression.fit(l2, settings.iterations), mean, deviation) for l2 in settings.l2}
    best = max(settings.l2, key=lambda l2: top_k(found[l2](val.features), val.labels, 1))
    return found[best], best, regression.evaluations


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
