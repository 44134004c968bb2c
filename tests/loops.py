"""Small training runs on scikit-learn's digits: `from tests.loops import BATCH, Starter, embedded`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from winnow.config.schema import Backbone, Method, Params, Policy, Run
from winnow.loading.examples import Examples
from winnow.pool.pool import Pool
from winnow.selection.policy import UNIFORM
from winnow.selection.reference import Online, Reference
from winnow.selection.scorers import Proxy
from winnow.selection.selector import Selector
from winnow.training.build import build, open_for
from winnow.training.device import generator, launch
from winnow.training.loop import Loop

BATCH = 8
SMALL = Backbone("test_byobnet")
LEARNABILITY = Policy("learnability", "top_k", 0.5)
PROXY = replace(LEARNABILITY, scorer="proxy", proxy=SMALL)
ONLINE = replace(LEARNABILITY, online=SMALL)
JOINT = Policy("learnability", "joint", 0.5, chunks=4)


class Starter:
    """Makes training loops of any method and policy over the first 200 training digits."""

    def __init__(self, params: Params, pool: Pool) -> None:
        self.params, self.pool = params, pool
        split = pool.table["split"].to_pylist()
        self.rows = [row for row, name in enumerate(split) if name == "train"]

    def examples(self, method: str, n: int = 200, backbone: str = "test_resnet") -> Examples:
        """The first n training images, as a method needs them."""
        uids = sorted({self.pool.index.uid(row) for row in self.rows[:n]})
        return open_for(self.params, method, backbone, self.pool, uids)

    def recipe(self, method: str) -> Method:
        """The method's recipe, with a small batch."""
        return replace(self.params.methods[method], batch_size=BATCH)

    def __call__(
        self,
        policy: Policy = UNIFORM,
        method: str = "supervised",
        steps: int = 4,
        reference: Reference | None = None,
        backbone: str = "test_resnet",
        seed: int = 0,
        selector: Callable[[Method, Examples], Selector] | None = None,
    ) -> Loop:
        """A loop at its first step, with a reference whose losses are all 0 by default."""
        fabric = launch(Run(accelerator="cpu", threads=1))
        data, recipe = self.examples(method, backbone=backbone), self.recipe(method)
        objective = build(self.params, method, backbone, data.classes, seed)

        def beside(small: Backbone, seed: int) -> Proxy:
            return Proxy(fabric, build(self.params, method, small, data.classes, seed), recipe, steps)

        reference = reference or Reference(torch.zeros(len(data)))
        if policy.online:
            trusted = self.examples(method, 60, backbone)
            reference = Online(beside(policy.online, 8), trusted, recipe, policy, 5)
        scorer = beside(policy.proxy, 7) if policy.proxy else None
        if selector is None:
            chosen = Selector(policy, recipe, data, reference, seed, scorer)
        else:
            chosen = selector(recipe, data)
        return Loop(fabric, objective, data, recipe, chosen, steps, seed)


def embedded(loop: Loop) -> Reference:
    """A reference with pairs, for a loop of a contrastive method: its untrained learner."""
    indices = np.arange(len(loop.data))
    with torch.no_grad():
        first, second = loop.objective.eval().embed(scoring_batch(loop, indices, generator("any")))
    return Reference(torch.zeros(len(loop.data)), (first.clone(), second.clone()), loop.objective)


def scoring_batch(loop: Loop, indices: np.ndarray, noise: torch.Generator) -> Any:
    """The views of these examples that a loop scores."""
    images = loop.data.pixels.get(indices)
    return loop.data.batch(indices, images, loop.recipe.score_views, noise, loop.fabric.device)


def state(loop: Loop) -> dict[str, bytes]:
    """All weights, buffers, optimiser states and the trace of a loop, as bytes."""
    return dict(_leaves("", loop.saved()))


def weights(module: torch.nn.Module) -> dict[str, bytes]:
    """All weights and buffers of a module, as bytes."""
    return dict(_leaves("", module.state_dict()))


def _leaves(key: str, value: Any) -> list[tuple[str, bytes]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in _leaves(f"{key}.{name}", item)]
    if isinstance(value, list | tuple):
        return [leaf for number, item in enumerate(value) for leaf in _leaves(f"{key}.{number}", item)]
    if isinstance(value, Tensor):
        return [(key, value.detach().cpu().contiguous().numpy().tobytes())]
    return [(key, repr(value).encode())]
