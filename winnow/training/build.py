"""From names in params.yaml to a method around a backbone, its optimiser and its examples."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from models import encoders, methods
from models.encoders import OWN, Normalisation
from models.methods import Objective
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Backbone, Method, Params
from winnow.loading.examples import Examples, examples
from winnow.pool.pool import Pool
from winnow.training.pace import Pace
from winnow.training.schedule import Schedule, param_groups

FUSED = ("adam", "adamw", "sgd")  # have one kernel for all weights, which saves a tenth of a step on a CPU


Prepare = Callable[[nn.Module], None]


def build(
    params: Params,
    method: str,
    backbone: str | Backbone,
    classes: int,
    seed: int,
    prepare: Prepare | None = None,
) -> Objective:
    """The method around a backbone, a name in params or the settings themselves, initialised from `seed`.

    Args:
        prepare: given the new encoder before the method is built around it, such as to load its weights.

    Raises:
        ParamsError: if the settings do not fit the method, or the backbone cannot be built.
    """
    chosen = params.backbones[backbone] if isinstance(backbone, str) else backbone
    return build_objective(method, params.methods[method].settings, chosen, classes, seed, prepare)


def build_objective(
    method: str,
    settings: dict[str, Any],
    backbone: Backbone,
    classes: int,
    seed: int,
    prepare: Prepare | None = None,
) -> Objective:
    """The same from the method's settings."""
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", settings)
    torch.manual_seed(seed)
    try:
        encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
        if prepare is not None:
            prepare(encoder)
        objective = module.Method(encoder, config, classes)
    except ValueError as error:
        raise ParamsError(str(error)) from error
    assert isinstance(objective, Objective)
    return objective


def optimisation(
    objective: Objective, recipe: Method, steps: int | Pace
) -> tuple[torch.optim.Optimizer, Schedule]:
    """The recipe's optimiser over all weights, with warm-up and a cosine over `steps`."""
    more: dict[str, Any] = {"fused": True} if recipe.optimiser in FUSED else {}
    name, lr, decay = recipe.optimiser, recipe.lr, recipe.weight_decay
    if recipe.layer_decay is not None or recipe.freeze:
        more["param_group_fn"] = partial(param_groups, recipe=recipe)
    optimizer = create_optimizer_v2(objective, opt=name, lr=lr, weight_decay=decay, **more)
    return optimizer, Schedule(optimizer, objective, recipe, steps)


def open_for(
    params: Params,
    method: str,
    backbone: str,
    pool: Pool,
    uids: Sequence[str] | np.ndarray,
    plain: bool = False,
    normalisation: Normalisation = OWN,
) -> Examples:
    """The examples with these uids, with what the method needs, for the views of its recipe.

    Args:
        plain: for evaluation: centre squares at the backbone's image size, and no views.
        normalisation: of the encoder that will get their views.

    Raises:
        ValueError: if an example lacks what the method needs.
    """
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", params.methods[method].settings)
    size, context = params.backbones[backbone].image_size, getattr(config, "context", 0)
    recipe = params.methods[method]
    views = [] if plain else [*recipe.views.values(), *recipe.score_views.values()]
    return examples(pool, uids, size, params, module.Method.NEEDS, context, views, normalisation)
