"""What a step costs, counted on the meta device from settings alone.

It is counted by winnow/selection/cost.py, as in a run, with examples that have a shape and no pixels.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import timm
import torch
from torch import nn

from models import encoders, methods
from models.flops import count, measure
from models.methods import Objective
from models.text import TwoTowers
from winnow.config.derive import needs_reference
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Arm, Backbone, Method, Params, Policy, View
from winnow.loading.examples import Examples
from winnow.plan.amount import Amount
from winnow.selection.cost import StepFlops, forward_flops, meta_batch, step_flops
from winnow.selection.mixture import scored_candidates
from winnow.selection.policy import in_batch
from winnow.selection.reference import Reference
from winnow.selection.train_reference import CHUNK
from winnow.training.build import build_objective
from winnow.training.schedule import recipe_of

Teacher = tuple[str, Method, Backbone]  # a reference: its method, recipe and backbone
DEFAULT_SIZE = 224  # px, of a model that timm has no weights of
F = TypeVar("F", bound=Callable[..., Any])


def by_value(count: F) -> F:
    """Count once for equal arguments, which are dataclasses and cannot be hashed: many arms share a step."""
    counted: dict[str, Any] = {}

    @wraps(count)
    def remembered(*arguments: Any) -> Any:
        key = repr(arguments)
        if key not in counted:
            counted[key] = count(*arguments)
        return counted[key]

    return cast(F, remembered)


@dataclass(frozen=True)
class _Size:
    """In place of pixels: their side, which is all that counting needs."""

    size: int


def shapes(method: str, settings: dict[str, Any], size: int, classes: int) -> Examples:
    """Examples without data: pictures of `size` pixels, with tokens where the method reads captions.

    Raises:
        ParamsError: for a setting that the method does not have.
    """
    module = methods.load(method)
    config = plugin_config(module.Config, f"methods.{method}.settings", settings)
    tokens = None
    if "captions" in module.Method.NEEDS:
        tokens = torch.zeros(0, config.context, dtype=torch.long, device="meta")
    labels = torch.zeros(0, dtype=torch.long, device="meta")
    return Examples(cast(Any, _Size(size)), labels, tokens, [], classes)


def meta_objective(method: str, settings: dict[str, Any], backbone: Backbone, classes: int) -> Objective:
    """The method around a backbone, without weights.

    Raises:
        ParamsError: if timm has no such model, or the settings do not fit.
    """
    with torch.device("meta"):
        return build_objective(method, settings, backbone, classes, 0)


@by_value
def training_step(
    method: str,
    recipe: Method,
    policy: Policy,
    backbone: Backbone,
    classes: int,
    teacher: Teacher | None = None,
    scored: int | None = None,
) -> StepFlops:
    """One step of training a backbone by a method under a policy.

    Args:
        teacher: of the finished reference that the policy reads, if any.
        scored: how many candidates are scored; None for all of the policy's super-batch.
    """
    data = shapes(method, recipe.settings, backbone.image_size, classes)
    learner, proxy, online = (
        meta_objective(method, recipe.settings, one, classes) if one else None
        for one in (backbone, policy.proxy, policy.online)
    )
    assert learner is not None
    reference = _pairs(teacher, policy, classes) if teacher else None
    return step_flops(learner, recipe, policy, data, proxy, reference, online, scored)


def arm_step(params: Params, arm: Arm, classes: int) -> StepFlops:
    """One step of an arm."""
    policy, name = params.policies[arm.policy], arm.reference_method or arm.method
    teacher = None
    if needs_reference(policy):
        teacher = name, params.methods[name], params.backbones[str(params.reference.backbone)]
    recipe, backbone = recipe_of(params, arm.method, arm.backbone), params.backbones[arm.backbone]
    scored = scored_candidates(recipe, policy, arm)
    return training_step(arm.method, recipe, policy, backbone, classes, teacher, scored)


def _pairs(teacher: Teacher, policy: Policy, classes: int) -> Reference | None:
    """The finished reference where its pairs cost something, with embeddings that have a width alone."""
    name, recipe, backbone = teacher
    pair = methods.load(name).Method.PAIR
    if not pair or not (policy.sampler == "joint" or in_batch(policy, pair)):
        return None
    objective = meta_objective(name, recipe.settings, backbone, classes)
    batch = meta_batch(recipe.score_views, 2, shapes(name, recipe.settings, backbone.image_size, classes))
    with torch.no_grad(), torch.device("meta"):
        sides = objective.eval().embed(batch)
    return Reference(torch.zeros(0), sides, objective)


def reference_model(params: Params, method: str, classes: int) -> tuple[Objective, Examples]:
    """The reference of a method, without weights, and the shapes of its examples."""
    backbone, settings = params.backbones[str(params.reference.backbone)], params.methods[method].settings
    data = shapes(method, settings, backbone.image_size, classes)
    return meta_objective(method, settings, backbone, classes), data


def judging_flops(objective: Objective, recipe: Method, data: Examples, images: Amount) -> Amount:
    """FLOPs of a reference's losses of so many images, in chunks as winnow/selection/train_reference.py."""
    whole, rest = divmod(images.value, CHUNK)
    if objective.PAIR == "softmax" and whole and rest:  # the last chunk is filled up
        whole, rest = whole + 1, 0
    spent = whole * forward_flops(objective, recipe.score_views, CHUNK, data)
    spent += forward_flops(objective, recipe.score_views, rest, data) if rest else 0
    return Amount(spent, images.sign)


@by_value
def own_reading(method: str, settings: dict[str, Any], backbone: Backbone, classes: int) -> int:
    """FLOPs of what a method reads of one plain image beside the encoder's features: both towers of an image
    and a caption, or the logits of its classifier; 0 where it has neither.
    """
    objective = meta_objective(method, settings, backbone, classes).eval()
    batch = meta_batch({"image": View()}, 1, shapes(method, settings, backbone.image_size, classes))
    with torch.no_grad():
        if isinstance(objective, TwoTowers):
            return measure(lambda: objective.embed(batch))
        return measure(lambda: objective.classify(batch.views["image"][0]))


@by_value
def backbone_forward(backbone: Backbone) -> int:
    """FLOPs of the features of one plain image."""
    with torch.device("meta"):
        encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
    return encoder_forward(encoder, backbone.image_size)


@by_value
def backbone_width(backbone: Backbone) -> int:
    """The number of features of one image."""
    with torch.device("meta"):
        return encoders.width(encoders.create(backbone.name, backbone.image_size, **backbone.kwargs))


def own_size(name: str) -> int:
    """The image size, in pixels, that timm's weights of a model are for.

    Raises:
        ParamsError: if timm has no such model.
    """
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3)) or "none"
        raise ParamsError(f"--backbone: {name!r} is no timm model; near names: {near}")
    config = timm.get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config else DEFAULT_SIZE


def encoder_forward(encoder: nn.Module, size: int) -> int:
    """FLOPs of the features of one plain image of `size` pixels."""
    return count(encoder, (3, size, size)).forward


def embedding_flops(objective: Objective, size: int, data: Examples) -> tuple[int, int]:
    """FLOPs of embedding one image, and one caption where the method reads captions, else 0."""
    if not isinstance(objective, TwoTowers):
        return encoder_forward(objective.exported(), size), 0
    assert data.tokens is not None
    towers = nn.Sequential(objective.encoder, objective.head)
    text = count(objective.text, (data.tokens.shape[1],), dtypes=[torch.long]).forward
    return encoder_forward(towers, size), text
