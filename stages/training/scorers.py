"""Who scores for the learner: itself, a proxy trained beside it, nobody (a frozen reference is enough); and what the reference says.

The learner never notices: scoring runs in eval mode without gradient, on generators of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from models.methods import Batch, Losses, Objective
from stages.data import order
from stages.params import MODELS, ROOT, Arm, Method, Params, Policy, View
from stages.training.build import build, optimisation
from stages.training.device import generator, reseed
from stages.training.examples import Examples


class Learner:
    """The learner scores for itself (RHO-LOSS, arXiv 2206.07137; JEST, arXiv 2406.17711)."""

    def losses(self, learner: nn.Module, batch: Batch) -> Losses:
        """Losses of the candidates, as float32 on the CPU."""
        return scored(learner, batch)

    def learn(self, batch: list[Batch], step: int) -> None:
        """What the scorer itself does with the sub-batch: nothing."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""


class Proxy(Learner):
    """A small model of the same method, trained on the same sub-batches (Bad Students, arXiv 2312.05328: ClassAct, ActiveCLIP)."""

    def __init__(self, fabric: Fabric, objective: Objective, recipe: Method, steps: int) -> None:
        self.fabric, self.steps = fabric, steps
        self.objective = objective
        optimizer, self.schedule = optimisation(objective, recipe, steps)
        self.module, self.optimizer = fabric.setup(objective, optimizer)

    def losses(self, learner: nn.Module, batch: Batch) -> Losses:
        """The proxy's losses, whatever the learner."""
        return scored(self.module, batch)

    def learn(self, batch: list[Batch], step: int) -> None:
        """One step on the views that the learner got."""
        self.module.train()
        reseed("proxy", step)
        loss = self.module(*batch).example.mean()
        self.schedule.step_update(step)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.objective.after_step((step + 1) / self.steps)

    def state(self) -> dict[str, Any]:
        return {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])


class Reference:
    """The frozen reference's say on each of the n examples of a version, computed once by the stage `reference`.

    Args:
        losses: (n,), each example's loss.
        embeddings: (n, E) and (n, E) of both sides, where the method has pairs; `objective` makes pairs of them.
        twin: (n,), the loss of a model like the reference that was trained on the pool itself, where there is one.
    """

    def __init__(
        self,
        losses: Tensor,
        embeddings: tuple[Tensor, Tensor] | None = None,
        objective: Objective | None = None,
        twin: Tensor | None = None,
    ) -> None:
        self.losses, self.embeddings, self.objective, self.twin = losses, embeddings, objective, twin

    def of(self, indices: np.ndarray, batch: Batch | None, device: torch.device, pairs: bool, afresh: bool) -> Losses:
        """What it says of the candidates (B,); `batch` is not looked at.

        A softmax over pairs gives more loss among more. So beside a scorer that compares these candidates its losses are computed
        `afresh` among them, from the embeddings; else they are those of the stage `reference`, in chunks of another size.
        """
        if afresh:
            return self._compared(indices, device)
        return Losses(self.losses[torch.from_numpy(indices)], self.pairs(indices, device) if pairs else None)

    def learn(self, step: int, device: torch.device) -> None:
        """What it does after the learner's step: nothing."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""

    @torch.no_grad()
    def pairs(self, indices: np.ndarray, device: torch.device) -> Tensor:
        """`Losses.pair` of these examples against one another, (B, B) on `device`.

        Raises:
            ValueError: if the reference has no embeddings.
        """
        objective, first, second = self._embedded(indices, device)
        return objective.pairs(first, second).float()

    @torch.no_grad()
    def _compared(self, indices: np.ndarray, device: torch.device) -> Losses:
        objective, first, second = self._embedded(indices, device)
        losses = objective.compare(first, second)
        return Losses(own(objective, losses).float().cpu(), losses.pair)

    def _embedded(self, indices: np.ndarray, device: torch.device) -> tuple[Objective, Tensor, Tensor]:
        if self.embeddings is None or self.objective is None:
            raise ValueError("results/reference: no embeddings there, and selection by pairs needs them; run: dvc repro -f reference")
        first, second = (side[torch.from_numpy(indices)].to(device).float() for side in self.embeddings)
        return self.objective.to(device), first, second


class Online(Reference):
    """A reference that is trained beside the learner: for each of its steps, one on trusted examples (Bad Students, arXiv 2312.05328).

    It learns in the parts that the learner is trained in, because it is asked about coarse views too where the policy is coarse.
    Nothing has to be finished before the run; the price is a forward of every candidate and a training step, each time.
    """

    def __init__(self, model: Proxy, trusted: Examples, recipe: Method, policy: Policy, seed: int) -> None:
        super().__init__(torch.zeros(0))
        self.model, self.trusted, self.recipe, self.policy, self.seed = model, trusted, recipe, policy, seed
        order.epoch_steps(len(trusted), recipe.batch_size)

    def of(self, indices: np.ndarray, batch: Batch | None, device: torch.device, pairs: bool, afresh: bool) -> Losses:
        """Its losses of the candidates as they are seen now."""
        assert batch is not None
        return scored(self.model.module, batch)

    def learn(self, step: int, device: torch.device) -> None:
        """One step on the next trusted examples."""
        indices = order.candidates(step, self.recipe.batch_size, len(self.trusted), self.seed)
        images, noise = self.trusted.pixels.get(indices), generator(self.seed, "online", step)
        self.model.learn(in_parts(self.trusted, indices, images, self.recipe.views, self.policy, noise, device), step)

    def state(self) -> dict[str, Any]:
        return self.model.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.model.restore(state)


def reference_method(arm: Arm) -> str:
    """The method whose reference an arm reads."""
    return Path(arm.after).name if arm.after.startswith(MODELS) else arm.method


def open_reference(params: Params, arm: Arm, uids: Sequence[str], classes: int, pairs: bool, pair: bool) -> tuple[int, Reference]:
    """The arm's share of the reference's FLOPs, and the reference, from results/reference/models/METHOD.

    METHOD is the arm's own, or that of the folder that its `after` names: the pair of one method can choose for another.

    Args:
        pairs: whether pairs of examples will be asked for.
        pair: whether the reference's twin scores, and is paid for.

    Raises:
        ValueError: if it was not trained, or knows nothing of an example.
    """
    method = reference_method(arm)
    folder = ROOT / MODELS / method
    summary = json.loads((folder / "reference.json").read_text())
    if not summary["trained"]:
        raise ValueError(f"reference.methods: {method} is missing, and policy {arm.policy} needs its reference; add it")
    table = pq.ParquetFile(folder / "losses.parquet").read()
    rows = _places(table["uid"].to_pylist(), uids)
    losses = _floats(table["loss"])[rows]
    twin = _floats(table["twin_loss"])[rows] if "twin_loss" in table.column_names else None
    reference = Reference(losses, twin=twin)
    if pairs:
        saved = load_file(folder / "embeddings.safetensors")
        objective = build(params, method, params.reference.backbone, classes, params.seed)
        objective.load_state_dict(load_file(folder / "method.safetensors"))
        sides = saved["first"][rows], saved["second"][rows]
        reference = Reference(losses, sides, objective.eval().requires_grad_(False), twin)
    spent = summary["train_flops"] + summary["score_flops"]
    if pair:
        spent += summary["twin_train_flops"] + summary["twin_score_flops"]
    return int(params.pretrain.reference_share * spent), reference


def _places(known: Sequence[str], uids: Sequence[str]) -> Tensor:
    """Where each of the uids (n,) stands among those that the reference judged, of which a refined version has a part."""
    there, wanted = np.array(known, "S32"), np.array(list(uids), "S32")  # sorted, as every version is
    places = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
    if (there[places] != wanted).any():
        raise ValueError("results/reference: made for another version of the pool; run: dvc repro reference")
    return torch.from_numpy(places)


def _floats(column: Any) -> Tensor:
    return torch.from_numpy(column.to_numpy().astype(np.float32))


def replayed(path: Path, uids: Sequence[str]) -> np.ndarray:
    """The examples that a trace's run was trained on, in its order, as indices (n,) into `uids`.

    Raises:
        ValueError: if there is no trace, or it names an example that is not among `uids`.
    """
    try:
        table = pq.ParquetFile(path).read(columns=["uid", "selected"])
    except (FileNotFoundError, OSError) as error:
        raise ValueError(f"arms.*.after: {path} is no trace ({str(error).splitlines()[0]}); run the arm that it names first") from None
    place = {uid: index for index, uid in enumerate(uids)}
    chosen = table.filter(table["selected"])["uid"].to_pylist()
    unknown = {uid for uid in chosen if uid not in place}
    if unknown:
        raise ValueError(f"{path}: {len(unknown)} of its examples are not in this version ({min(unknown)}, ...); replay it on its own")
    return np.array([place[uid] for uid in chosen], dtype=np.int64)


@torch.no_grad()
def scored(objective: nn.Module, batch: Batch) -> Losses:
    """Losses in eval mode, as float32; the module is left in the mode it was in. Pairs stay on their device: they are large."""
    training = objective.training
    objective.eval()
    losses: Losses = objective(batch)
    objective.train(training)
    pair = None if losses.pair is None else losses.pair.float()
    norm = None if losses.gradient_norm is None else losses.gradient_norm.float().cpu()
    return Losses(own(objective, losses).float().cpu(), pair, norm)


def own(objective: nn.Module, losses: Losses) -> Tensor:
    """What an example scores by where it is scored alone, (B,): its loss.

    Where losses of pairs add up it is that of its own pair, for what the rest of a super-batch happens to be says nothing about it
    (the diagonal that ActiveCLIP and JEST's independent scores use).
    """
    return losses.pair.diagonal() if losses.pair is not None and objective.PAIR == "sigmoid" else losses.example


def score_views(recipe: Method, policy: Policy) -> dict[str, View]:
    """The views that candidates are scored on: the recipe's, at most at the policy's resolution."""
    return shrunk(recipe.score_views, policy.resolution)


def shrunk(views: dict[str, View], size: int | None) -> dict[str, View]:
    """The same views, none larger than `size` pixels."""
    if size is None:
        return views
    return {name: replace(view, size=min(view.size or size, size)) for name, view in views.items()}


def halves(views: dict[str, View], policy: Policy) -> list[tuple[dict[str, View], int | None]]:
    """The views of each part that a batch is trained in, and the part's patch size."""
    whole: list[tuple[dict[str, View], int | None]] = [(views, None)]
    return [*whole, (shrunk(views, policy.resolution), policy.patch)] if policy.coarse else whole


def in_parts(
    data: Examples, indices: np.ndarray, images: Tensor, views: dict[str, View], policy: Policy, noise: Generator, device: torch.device
) -> list[Batch]:
    """A batch to train on: `images` (b, 3, S, S), which are the pixels of `indices` (b,), in the parts of `halves`."""
    parts = halves(views, policy)
    size = len(indices) // len(parts)
    cuts = [slice(i * size, (i + 1) * size) for i in range(len(parts))]
    return [data.batch(indices[cut], images[cut], part, noise, device, patch) for cut, (part, patch) in zip(cuts, parts, strict=True)]
