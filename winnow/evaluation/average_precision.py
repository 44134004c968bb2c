"""COCO's average precision and recall, by faster-coco-eval.

Source of the numbers: the COCO detection challenge (cocodataset.org, "Detection evaluation"); a test compares
them with pycocotools. Areas are COCO's: small below 32^2 pixels, large above 96^2, in the pictures' own size.
Of scenes, whose objects are all small by that, `scene_sides` gives the bounds.
"""

import copy
from collections.abc import Sequence
from typing import Any

NAMES: tuple[str, ...] = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
NAMES += ("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
SHORT, SIZES = NAMES[:3], NAMES[:6]
COCO_SIDES = (32.0, 96.0)
KINDS = {"bbox": "box", "segm": "mask"}
Found = list[dict[str, Any]]


def evaluate(
    coco: dict[str, Any],
    found: Found,
    kinds: Sequence[str] = tuple(KINDS),
    names: Sequence[str] = SHORT,
    sides: tuple[float, float] = COCO_SIDES,
) -> dict[str, float | None]:
    """The first len(names) of COCO's 12 numbers, of boxes and masks, in 0..1, six places; None where
    undefined.

    Args:
        coco: the truth in COCO's format; `found` the detections in its result format.
        sides: objects of fewer pixels than the first squared are small, of more than the second large.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(coco))  # both calls write into their arguments
    metrics: dict[str, float | None] = {}
    for kind in kinds:
        evaluator = COCOeval_faster(truth, truth.loadRes(results(found, kind)), kind)
        small, large = (side**2 for side in sides)
        evaluator.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluator.run()
        for suffix, value in zip(names, evaluator.stats[: len(names)], strict=True):
            metrics[f"{KINDS[kind]}_{suffix}"] = None if value < 0 else round(float(value), 6)
    return metrics


def scene_sides(canvas: int) -> tuple[float, float]:
    """The bounds of small and large objects on a canvas, whose images are 7/32 to 7/16 of its side."""
    return canvas / 6, canvas / 4


def results(found: Found, kind: str) -> Found:
    """A copy of the detections for one kind of evaluation.

    COCO's tools take the area of a detection from its box where it has one, so for masks the box is left out:
    else small, medium and large would be by boxes.
    """
    other = {"bbox": "segmentation", "segm": "bbox"}[kind]
    return [{name: copy.deepcopy(value) for name, value in one.items() if name != other} for one in found]
