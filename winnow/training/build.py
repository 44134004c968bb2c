"""From names in params.yaml to a method around a backbone, its optimiser and its examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler

from models import encoders, methods
from models.methods import Objective
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Backbone, Method, Params
from winnow.loading.examples import Examples, examples
from winnow.pool.pool import Pool

FUSED = ("adam", "adamw", "sgd")  # have one kernel for all weights, which saves a tenth of a step on a CPU


def build(params: Params, method: str, backbone: str | Backbone, classes: int, seed: int) -> Objective:
    """The method around a backbone, a name in params or the settings themselves, initialised from `seed`.

    Raises:
        ParamsError: if the settings do not fit the method, or the backbone cannot be built.
    """
    chosen = params.backbones[backbone] if isinstance(backbone, str) else backbone
    return build_objective(method, params.methods[method].settings, chosen, classes, seed)


def build_objective(
    method: str, settings: dict[str, Any], backbone: Backbone, classes: int, seed: int
) -> Objective:
    """The same from the method's settings."""
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", settings)
    torch.manual_seed(seed)
    try:
        encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
        objective = module.Method(encoder, config, classes)
    except ValueError as error:
        raise ParamsError(str(error)) from error
    assert isinstance(objective, Objective)
    return objective


def optimisation(
    objective: Objective, recipe: Method, steps: int
) -> tuple[torch.optim.Optimizer, CosineLRScheduler]:
    """The recipe's optimiser over all weights, with warm-up and a cosine over `steps`."""
    more: dict[str, Any] = {"fused": True} if recipe.optimiser in FUSED else {}
    name, lr, decay = recipe.optimiser, recipe.lr, recipe.weight_decay
    optimizer = create_optimizer_v2(objective, opt=name, lr=lr, weight_decay=decay, **more)
    warmup = int(recipe.warmup * steps)
    schedule = CosineLRScheduler(
        optimizer, t_initial=steps, warmup_t=warmup, warmup_prefix=False, t_in_epochs=False
    )
    return optimizer, schedule


def open_for(
    params: Params,
    method: str,
    backbone: str,
    pool: Pool,
    uids: Sequence[str] | np.ndarray,
    plain: bool = False,
) -> Examples:
    """The examples with these uids, with what the method needs, for the views of its recipe.

    Args:
        plain: for evaluation: centre squares at the backbone's image size, and no views.

    Raises:
        ValueError: if an example lacks what the method needs.
    """
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", params.methods[method].settings)
    size, context = params.backbones[backbone].image_size, getattr(config, "context", 0)
    recipe = params.methods[method]
    views = [] if plain else [*recipe.views.values(), *recipe.score_views.values()]
    return examples(pool, uids, size, params, module.Method.NEEDS, context, views)
