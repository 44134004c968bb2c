"""FLOPs of the models that curate: the reference of each method, and embeddings of refined versions."""

from dataclasses import dataclass, field
from functools import cache

import timm

from winnow.config.derive import needs_pool_model, reference_of_model, start_arm
from winnow.config.derived import NOTHING
from winnow.config.schema import CLEAN, POOL, REFERENCE, Backbone, Params, Policy
from winnow.filters import extras
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import NONE, UNKNOWN, Amount, at_most, total
from winnow.plan.known import Known
from winnow.plan.step import backbone_forward, embedding_flops, judging_flops, own_size, reference_model
from winnow.selection.cost import step_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.reference_record import TRAIN, Record
from winnow.selection.train_reference import reference_steps
from winnow.training.schedule import from_scratch


@dataclass(frozen=True)
class ReferenceFlops:
    """What a method's reference costs: training for `steps`, the losses of the pool, and both once more where
    there is a pool model.
    """

    steps: int
    train: Amount
    score: Amount
    pool_model: Amount = NONE

    def spent(self, pool_model: bool) -> Amount:
        """What is charged to an arm that chooses by it."""
        return self.train + self.score + (self.pool_model if pool_model else NONE)


@dataclass(frozen=True)
class Making:
    """What a version and its ancestors cost: each version beyond references, and references by method, as
    winnow/versions/flops.py records it.
    """

    versions: dict[str, Amount] = field(default_factory=dict)
    references: dict[str, Amount] = field(default_factory=dict)

    @property
    def curate(self) -> Amount:
        """All of it."""
        return total([*self.versions.values(), *self.references.values()])

    def joined(self, other: "Making") -> "Making":
        """Of a union of two versions."""
        return Making(self.versions | other.versions, self.references | other.references)


class Curation:
    """Counts them, each once."""

    def __init__(self, params: Params, workspace: Workspace, known: Known) -> None:
        self.params, self.workspace, self.known = params, workspace, known
        self.classes = known.pool_classes()[0]
        self.reference = cache(self._reference)

    def charged(self, policy: Policy, method: str) -> Amount:
        """What the arms that choose by a method's reference share."""
        return self.reference(method).spent(needs_pool_model(policy))

    def making(self, version: str, encoders_of: dict[str, Amount]) -> Making:
        """What a version cost.

        Args:
            encoders_of: what the arms were charged in all whose encoders made embeddings.
        """
        if version in (POOL, REFERENCE, CLEAN):
            return Making()
        one = self.params.versions[version]
        before = self.making(one.parent, encoders_of)
        versions, references = dict(before.versions), dict(before.references)
        versions[version] = self.embeddings(version)
        if one.model is None or self._paid(one.parent, one.model) or not extras(one.filters)[0]:
            return Making(versions, references)
        if method := reference_of_model(one.model):
            references[method] = self.reference(method).train
        elif arm := start_arm(one.model):
            versions[version] += encoders_of.get(arm, UNKNOWN)
        return Making(versions, references)

    def embeddings(self, version: str) -> Amount:
        """FLOPs of the embeddings that a version's stage makes; at most those of all images of its parent."""
        one = self.params.versions[version]
        columns, tables = extras(one.filters)
        if not columns or one.model is None:
            return NONE
        each = self._embedding(version)
        if each is None:
            return UNKNOWN
        paid = self._paid(one.parent, one.model)
        images = NONE if paid else at_most(self.known.version(one.parent))
        counts = {"reference": self.known.version(REFERENCE), "held_out": self._held_out()}
        images = total([images, *(counts[name] for name in tables)])
        return total([images * flops for column, flops in each.items() if column in columns])

    def _held_out(self) -> Amount:
        """The images of all splits of the task sets."""
        splits = ("test", "val", "probe")
        return total([self.known.split(name, one) for name in self.params.datasets.tasks for one in splits])

    def _paid(self, version: str, model: str) -> bool:
        """Whether a version or an ancestor of it has had embeddings of this model made."""
        while version in self.params.versions:
            one = self.params.versions[version]
            if one.model == model and extras(one.filters)[0]:
                return True
            version = one.parent
        return False

    def _embedding(self, version: str) -> dict[str, int] | None:
        """FLOPs of one embedding by column; None of a model that no settings describe."""
        one = self.params.versions[version]
        if method := reference_of_model(one.model):
            objective, data = reference_model(self.params, method, self.classes)
            image, text = embedding_flops(objective, data.pixels.size, data)
            return {"embedding": image, "text_embedding": text}
        arm = self.params.arms.get(start_arm(one.model) or "")
        if arm is not None:
            return {"embedding": backbone_forward(self.params.backbones[arm.backbone])}
        if one.architecture and timm.is_model(one.architecture):
            backbone = Backbone(one.architecture, one.image_size or own_size(one.architecture))
            return {"embedding": backbone_forward(backbone)}
        return None

    def _reference(self, method: str) -> ReferenceFlops:
        objective, data = reference_model(self.params, method, self.classes)
        recipe, steps = from_scratch(self.params.methods[method]), reference_steps(self.params, method)
        train = Amount(steps * step_flops(objective, recipe, UNIFORM, data).train)
        if self.params.reference.dvc.finished != NOTHING:  # trained by another run, and charged as there
            folder = self.workspace.root / self.params.reference.dvc.finished / method
            train = Amount(Record.read(folder).flops[TRAIN])
        score = judging_flops(objective, recipe, data, self.known.version(POOL))
        twice = self.params.reference.pool_model
        return ReferenceFlops(steps, train, score, train + score if twice else NONE)
