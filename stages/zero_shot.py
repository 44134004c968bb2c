"""zero_shot@ARM.SET: how well do an arm's two towers recognise classes by their names, without one label?

Each class is the mean of the embeddings of its prompts, and an image is of the class whose mean is nearest by
cosine (CLIP, arXiv 2103.00020, section 3.1). Only arms whose method trained a text tower are measured.
"""

from dataclasses import dataclass, field

import torch.nn.functional as F

from winnow.config.bounds import known
from winnow.config.errors import ParamsError
from winnow.config.schema import Params
from winnow.evaluation.features import open_split
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.prompts import PLACE, class_embeddings, words
from winnow.evaluation.retrieval import ranks
from winnow.evaluation.towers import ArmTowers
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import open_set
from winnow.training.device import launch

NEEDS = ("labels",)  # of every image of its task set
METHOD_NEEDS = ("captions",)  # what the method of an arm has to read


@dataclass
class Config:
    """`templates` have `{}` in the place of a class's name; `class_names` holds, for a task set, the words of
    classes whose names are no words: `{SET: {n02084071: dog}}`.
    """

    templates: list[str] = field(default_factory=lambda: ["a photo of a {}"])
    class_names: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.templates:
            raise ValueError("templates: empty; allowed: one or more, such as 'a photo of a {}'")
        for template in self.templates:
            if template.count(PLACE) != 1:
                raise ValueError(f"templates: {template!r} is wrong; allowed: text with {PLACE} in it once")


def check(params: Params, settings: Config) -> None:
    """Check that words are given for task sets that there are.

    Raises:
        ParamsError: if not.
    """
    for name in settings.class_names:
        known("tasks.zero_shot.class_names", name, params.datasets.tasks)


def zero_shot(stage: Stage) -> None:
    """Embed the prompts and the test images; report top-1, top-5 and the mean of per-class top-1."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    check(params, settings)
    towers = ArmTowers(params, workspace, stage.arm, launch(params.run))
    pool = open_set(workspace, params.datasets, stage.set)
    try:
        named = words(pool.classes, settings.class_names.get(stage.set, {}))
    except ValueError as error:
        raise ParamsError(f"tasks.zero_shot.class_names.{stage.set}: {error}") from None
    test = open_split(workspace, pool, stage.set, "test", towers.size, params)
    classes = class_embeddings(named, settings.templates, towers.context, towers.texts)
    right = F.one_hot(test.labels, len(named)).bool()
    place = ranks(towers.images(test) @ classes.T, right)
    hits = {f"top{k}": (place < k).numpy() for k in (1, 5)}
    write_outcomes(stage.work / OUTCOMES, test.uids, hits)
    image, text = towers.flops
    stage.flops["evaluate"] = len(test) * image + len(named) * len(settings.templates) * text
    each = [hits["top1"][(test.labels == label).numpy()].mean() for label in test.labels.unique()]
    stage.metrics.update(
        top1=round(float(hits["top1"].mean()), 6),
        top5=round(float(hits["top5"].mean()), 6),
        class_mean_top1=round(float(sum(each) / len(each)), 6),
        chance_top1=round(1 / len(named), 6),
        protocol=(
            f"{len(test)} test images, plain; the nearest by cosine of {len(named)} classes, each the mean "
            f"of its prompts ({', '.join(map(repr, settings.templates))}), no training; a tie with a wrong "
            "class is wrong"
        ),
    )
    shown = f"top-1 {stage.metrics['top1']:.4f} (by chance {stage.metrics['chance_top1']:.4f})"
    print(f"{stage.address}: {shown} ({stage.metrics['protocol']})")


if __name__ == "__main__":
    main(zero_shot)
