"""Readings of a learner during its training, on the val split of one task set; they are recorded, and not
charged. Without a task set, its loss is all that is read.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models.encoders import normalisation
from models.flops import count, measure, on_meta
from models.methods import Objective
from winnow.config.schema import Arm, Params
from winnow.evaluation.curve import FILE, write_curve
from winnow.evaluation.features import PLAIN, features, knn_top1, open_split, outputs, top_k
from winnow.evaluation.retrieval import retrieval
from winnow.loading.examples import Examples
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import open_set
from winnow.selection.build import Selection
from winnow.selection.cost import meta_batch
from winnow.training.build import open_for
from winnow.training.loop import State

BANK = 1000  # labelled examples that kNN readings compare with


class Readings:
    """Takes readings at evenly spaced steps and keeps curve.csv (winnow/evaluation/curve.py) up to date.

    Args:
        data: what the learner is trained on; a classifier is read where it knows the task set's classes.
        folder: where curve.csv is written.
    """

    def __init__(
        self,
        params: Params,
        arm: Arm,
        workspace: Workspace,
        fabric: Fabric,
        objective: Objective,
        selection: Selection,
        data: Examples,
        folder: Path,
    ) -> None:
        self.fabric, self.objective, self.selection, self.path = fabric, objective, selection, folder / FILE
        steps, self.pace = selection.steps, selection.pace
        self.count = min(params.pretrain.evaluations, steps)
        self.due = {round((i + 1) * steps / self.count) for i in range(self.count)}
        self.size = params.backbones[arm.backbone].image_size
        self.held = _Held.open(params, arm, workspace, self.size, objective, data)

    @property
    def flops(self) -> int:
        """The cost of all readings."""
        if self.held is None:
            return 0
        held, shape = self.held, (3, self.size, self.size)
        each = (len(held.bank) + len(held.val)) * count(self.objective.exported(), shape).forward
        meta_copy = on_meta(self.objective).eval()
        assert isinstance(meta_copy, Objective)
        with torch.no_grad():
            if (val := held.captioned) is not None:
                pair = measure(lambda: meta_copy.embed(meta_batch(PLAIN, 1, val)))
                each += pair * (len(val) + len(held.names))
            elif self._classifies(held):
                image = torch.zeros(1, *shape, device="meta")
                each += len(held.val) * measure(lambda: meta_copy.classify(image))
        return self.count * each

    def watch(self, state: State) -> None:
        """Take a reading, if one is due after this step."""
        rows = state.watched.setdefault("curve", [])
        if not self._due(state.step, len(rows)):
            return
        losses = torch.cat(state.trace["train_loss"])
        since = losses[int(rows[-1]["examples_seen"]) if rows else 0 :]
        rows.append(
            {
                "step": state.step,
                "flops": self.selection.flops(state.step)["total"],
                "examples_seen": len(losses),
                "loss": round(float(since.mean()), 6),
                **(self._of(self.held) if self.held else {}),
            }
        )
        self.write(state)

    def _due(self, step: int, taken: int) -> bool:
        """Evenly over the steps, or over what is spent of the budget."""
        return step in self.due if self.pace is None else self.pace.share(step) * self.count >= taken + 1

    def only(self) -> State:
        """The state of a run without steps, with one reading of an encoder that is not trained; no loss."""
        self.count = 1
        spent = self.selection.flops(0)["total"]
        reading = {"step": 0, "flops": spent, "examples_seen": 0}
        if self.held:
            # Untrained heads can tell neither captions nor classes apart.
            self.held = replace(self.held, captioned=None, known=None)
            reading["val_top1"] = self._val_top1(self.held)
        return State(watched={"curve": [reading]})

    def write(self, state: State) -> None:
        """Write curve.csv: after each reading, and when a run was resumed after its last reading."""
        write_curve(self.path, state.watched["curve"])

    def _classifies(self, held: "_Held") -> bool:
        """Whether the method has a classifier, and it knows the set's classes."""
        return held.known is not None and type(self.objective).classify is not Objective.classify

    def _val_top1(self, held: "_Held") -> float:
        encoder = self.objective.exported()
        bank, val = features(encoder, held.bank, self.fabric), features(encoder, held.val, self.fabric)
        return round(knn_top1(bank, held.bank.labels, val, held.val.labels), 6)

    def _of(self, held: "_Held") -> dict[str, float]:
        found = {"val_top1": self._val_top1(held)}
        if held.captioned is not None:
            return found | retrieval(self.objective, held.captioned, held.names, self.fabric)
        if not self._classifies(held):
            return found
        assert held.known is not None
        logits = outputs(self.objective, self.objective.classify, held.val, self.fabric)  # type: ignore[arg-type]
        return found | {"classifier_top1": top_k(logits, held.known, 1)}


@dataclass(frozen=True)
class _Held:
    """The task set of the readings: a labelled `bank` to vote with, `val`, and with its captions `captioned`.

    `names` are its classes. `known` (n,) are the labels of val in the learner's numbering, None where it does
    not know all of them.
    """

    bank: Examples
    val: Examples
    captioned: Examples | None
    names: list[str]
    known: Tensor | None

    @classmethod
    def open(
        cls, params: Params, arm: Arm, workspace: Workspace, size: int, objective: Objective, data: Examples
    ) -> "_Held | None":
        """None where no task set is read."""
        task_set = params.pretrain.dvc.set
        if task_set is None:
            return None
        pool = open_set(workspace, params.datasets, task_set)
        bank = open_split(workspace, pool, task_set, "probe", size, params, BANK)
        val = open_split(workspace, pool, task_set, "val", size, params)
        if not len(bank) or not len(val):
            return None
        captioned = None
        if "captions" in objective.NEEDS:
            by = normalisation(objective)
            captioned = open_for(params, arm.method, arm.backbone, pool, val.uids, True, by)
        place = {name: label for label, name in enumerate(data.pixels.pool.classes)}
        labels = torch.tensor([place.get(name, -1) for name in pool.classes])
        known = labels[val.labels]
        return cls(bank, val, captioned, pool.classes, None if bool((known < 0).any()) else known)
