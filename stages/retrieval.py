"""retrieval@ARM.SET: do an arm's towers find an image's caption, and a caption's image, in the test split?

Recall at 1, 5 and 10 by cosine, both ways, as in CLIP (arXiv 2103.00020); winnow/evaluation/retrieval.py has
the rules for ties and for captions in the same words. Arms whose method trains no text tower are left out.
"""

from dataclasses import dataclass

from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.retrieval import chance, cross_ranks, wordings
from winnow.evaluation.towers import ArmTowers
from winnow.loading.examples import examples
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import open_set
from winnow.training.device import launch

NEEDS = ("captions",)  # of every test image of its task set
METHOD_NEEDS = ("captions",)  # what the method of an arm has to read
AT = (1, 5, 10)


@dataclass
class Config:
    """There is nothing to set: the recalls are those that are published."""


def retrieval(stage: Stage) -> None:
    """Embed the test images and their captions; report the recalls both ways."""
    params, workspace = stage.params, stage.workspace
    stage.settings(Config)
    towers = ArmTowers(params, workspace, stage.arm, launch(params.run))
    pool = open_set(workspace, params.datasets, stage.set)
    uids = uid_files.load(workspace.split(stage.set, "test"))
    test = examples(pool, uids, towers.size, params, frozenset({"captions"}), towers.context)
    assert test.tokens is not None
    images, texts, words = towers.images(test), towers.texts(test.tokens), wordings(test.tokens)
    place = {"i2t": cross_ranks(images, texts, words), "t2i": cross_ranks(texts, images, words)}
    hits = {f"{way}_r{k}": (found < k).numpy() for way, found in place.items() for k in AT}
    write_outcomes(stage.work / OUTCOMES, test.uids, hits)
    stage.flops["evaluate"] = len(test) * sum(towers.flops)
    stage.metrics.update({name: round(float(found.mean()), 6) for name, found in hits.items()})
    stage.metrics.update({f"chance_r{k}": chance(words, k) for k in AT})
    distinct = int(words.max()) + 1
    stage.metrics["protocol"] = (
        f"{len(test)} test images, plain, and their captions ({distinct} in different words, of at most "
        f"{towers.context} tokens); each among all of the other kind by cosine; a caption in the same words "
        "as the right one is right, a tie with a wrong one is wrong"
    )
    shown = ", ".join(f"{way} R@1 {stage.metrics[f'{way}_r1']:.4f}" for way in place)
    by_chance = f"by chance {stage.metrics['chance_r1']:.4f}"
    print(f"{stage.address}: {shown} ({by_chance}; {stage.metrics['protocol']})")


if __name__ == "__main__":
    main(retrieval)
