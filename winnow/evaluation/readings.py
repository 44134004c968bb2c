"""Readings of a learner on the val split during its training; they are recorded, and not charged."""

from pathlib import Path

import torch
from lightning_fabric import Fabric

from models.flops import count
from models.methods import Objective
from winnow.config.schema import Arm, Params
from winnow.evaluation.curve import FILE, write_curve
from winnow.evaluation.features import features, knn_top1, open_split, outputs, top_k
from winnow.evaluation.retrieval import retrieval
from winnow.loading.examples import Examples
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.selection.build import Selection
from winnow.training.build import open_for
from winnow.training.loop import State

BANK = 1000  # labelled examples that kNN readings compare with


class Readings:
    """Takes readings at evenly spaced steps and keeps curve.csv (winnow/evaluation/curve.py) up to date.

    Args:
        folder: where curve.csv is written.
    """

    def __init__(
        self,
        params: Params,
        arm: Arm,
        workspace: Workspace,
        pool: Pool,
        fabric: Fabric,
        objective: Objective,
        selection: Selection,
        folder: Path,
    ) -> None:
        self.params, self.arm, self.fabric, self.objective = params, arm, fabric, objective
        self.selection, self.path, self.names = selection, folder / FILE, pool.classes
        steps = selection.steps
        self.count = min(params.pretrain.evaluations, steps)
        self.due = {round((i + 1) * steps / self.count) for i in range(self.count)}
        size = params.backbones[arm.backbone].image_size
        self.bank = open_split(workspace, pool, "probe", size, params, BANK)
        self.val = open_split(workspace, pool, "val", size, params)
        self.captioned: dict[str, Examples] = {}
        if "captions" in objective.NEEDS:
            self.captioned = {"val": self._with_captions(pool, self.val)}
            test = open_split(workspace, pool, "test", size, params)
            self.captioned["test"] = self._with_captions(pool, test)

    def _with_captions(self, pool: Pool, split: Examples) -> Examples:
        return open_for(self.params, self.arm.method, self.arm.backbone, pool, split.uids, plain=True)

    @property
    def flops(self) -> int:
        """The cost of all readings."""
        images = self.count * (len(self.bank) + 2 * len(self.val))
        images += len(self.captioned["test"]) if self.captioned else 0
        size = self.val.pixels.size
        return images * count(self.objective.exported(), (3, size, size)).forward

    def watch(self, state: State) -> None:
        """Take a reading, if one is due after this step."""
        if state.step not in self.due:
            return
        rows = state.watched.setdefault("curve", [])
        losses = torch.cat(state.trace["train_loss"])
        since = losses[int(rows[-1]["examples_seen"]) if rows else 0 :]
        rows.append(
            {
                "step": state.step,
                "flops": self.selection.flops(state.step)["total"],
                "examples_seen": len(losses),
                "loss": round(float(since.mean()), 6),
                "val_top1": round(self._val_top1(), 6),
                **self._by_method(),
            }
        )
        self.write(state)

    def write(self, state: State) -> None:
        """Write curve.csv: after each reading, and when a run was resumed after its last reading."""
        write_curve(self.path, state.watched["curve"])

    def last(self) -> dict[str, float | str]:
        """Readings taken once, after training: for methods with captions, on the test split."""
        if not self.captioned:
            return {}
        test = self.captioned["test"]
        found = retrieval(self.objective, test, self.names, self.fabric)
        protocol = (
            f"the {len(test)} test pictures against their own captions, each the nearest of all by cosine; a "
            "caption is found by its words, whichever picture has them; zero-shot: the nearest of the "
            f"{len(self.names)} class names"
        )
        return {**{f"test_{name}": value for name, value in found.items()}, "protocol": protocol}

    def _val_top1(self) -> float:
        encoder = self.objective.exported()
        bank, val = features(encoder, self.bank, self.fabric), features(encoder, self.val, self.fabric)
        return knn_top1(bank, self.bank.labels, val, self.val.labels)

    def _by_method(self) -> dict[str, float]:
        if self.captioned:
            return retrieval(self.objective, self.captioned["val"], self.names, self.fabric)
        if type(self.objective).classify is Objective.classify:
            return {}
        logits = outputs(self.objective, self.objective.classify, self.val, self.fabric)  # type: ignore[arg-type]
        return {"classifier_top1": top_k(logits, self.val.labels, 1)}
