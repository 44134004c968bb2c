"""From names in params.yaml to a method around a backbone, with mistakes as one line each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler

from models import encoders, methods
from models.methods import Objective
from stages.data.pool import Pool
from stages.params import Backbone, Method, Params, ParamsError, plugin_config
from stages.training.examples import Examples, examples

FUSED: dict[str, dict[str, Any]] = {  # one kernel for all weights: a tenth of a step here
    name: {"fused": True} for name in ("adam", "adamw", "sgd")
}


def build(params: Params, method: str, backbone: str | Backbone, classes: int, seed: int) -> Objective:
    """The method around its backbone, one of params or given whole, initialised from `seed` alone."""
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", params.methods[method].settings)
    chosen = params.backbones[backbone] if isinstance(backbone, str) else backbone
    torch.manual_seed(seed)
    try:
        encoder = encoders.create(chosen.name, chosen.image_size, **chosen.kwargs)
        objective = module.Method(encoder, config, classes)
    except ValueError as error:
        raise ParamsError(str(error)) from error
    assert isinstance(objective, Objective)
    return objective


def optimisation(objective: Objective, recipe: Method, steps: int) -> tuple[torch.optim.Optimizer, CosineLRScheduler]:
    """The recipe's optimiser over all weights, with warm-up and a cosine over `steps`."""
    more = FUSED.get(recipe.optimiser, {})
    optimizer = create_optimizer_v2(objective, opt=recipe.optimiser, lr=recipe.lr, weight_decay=recipe.weight_decay, **more)
    schedule = CosineLRScheduler(
        optimizer, t_initial=steps, warmup_t=int(recipe.warmup * steps), warmup_prefix=False, t_in_epochs=False
    )
    return optimizer, schedule


def open_for(params: Params, method: str, backbone: str, pool: Pool, uids: Sequence[str] | np.ndarray) -> Examples:
    """The examples with these uids, with what the method needs, at the backbone's image size.

    Raises:
        ValueError: if an example lacks it.
    """
    settings = params.methods[method].settings
    needs = methods.load(method).Method.NEEDS
    size = params.backbones[backbone].image_size
    return examples(pool, uids, size, params.run, needs, int(settings.get("context", 16)))
