"""Whether an arm's policy, method and backbones fit together, checked before anything is spent."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from models import encoders, methods
from winnow.config.derive import needs_pool_model, needs_reference
from winnow.config.errors import ParamsError
from winnow.config.schema import Arm, Backbone, Params, Policy
from winnow.selection.mixture import scored_candidates
from winnow.selection.policy import Views, batch_parts, criterion, score_views


def check_fit(params: Params, arm: Arm) -> None:
    """Check an arm.

    Raises:
        ParamsError: naming the key, the value and the mend, where something does not fit.
    """
    policy, key = params.policies[arm.policy], f"policies.{arm.policy}"
    method = methods.load(arm.method).Method
    _check_joint(policy, key, arm, method)
    _check_parts(params, policy, key, arm, method)
    _check_gradient_norm(policy, key, arm, method)
    _check_online(policy, key)
    _check_reference(params, policy, arm, method)
    if policy.patch_size is not None or policy.resolution is not None:
        _check_sizes(params, arm)


def _check_joint(policy: Policy, key: str, arm: Arm, method: type[methods.Objective]) -> None:
    if policy.sampler != "joint":
        return
    if not method.PAIR:
        given = f"{key}.sampler: joint selects pairs, and method {arm.method} has none"
        raise ParamsError(f"{given}; take simclr, siglip or clip")
    if policy.criterion in ("uniform", "gradient_norm"):
        given = f"{key}.criterion: {policy.criterion} has no score of pairs, and the sampler is joint"
        raise ParamsError(f"{given}; take learnability")
    if policy.scorer == "frozen" and policy.criterion != "easy":
        given = f"{key}.criterion: {policy.criterion} needs a scorer, and it is frozen"
        raise ParamsError(f"{given}; take easy")


def _check_parts(params: Params, policy: Policy, key: str, arm: Arm, method: type[methods.Objective]) -> None:
    """Check what is selected within classes, or from one part of a union."""
    if policy.per_class and "labels" not in method.NEEDS:
        given = f"{key}.per_class: true, but method {arm.method} reads no labels"
        raise ParamsError(f"{given}; set it to false")
    if policy.per_class and policy.sampler == "joint":
        raise ParamsError(f"{key}.per_class: true, but a joint draw knows no classes; take sampler: top_k")
    if arm.selects_from is not None and policy.sampler == "joint":
        uniform = replace(policy, filter_ratio=0.0)
        size = scored_candidates(params.methods[arm.method], uniform, arm)
        if size % policy.chunks:
            given = f"{key}.chunks: {policy.chunks} does not divide the {size} that are selected from"
            raise ParamsError(f"{given} {arm.selects_from} in a batch; give a divisor, or another mixture")


def _check_gradient_norm(policy: Policy, key: str, arm: Arm, method: type[methods.Objective]) -> None:
    if policy.criterion != "gradient_norm":
        return
    if policy.scorer == "frozen":
        given = f"{key}.scorer: frozen has losses only, and criterion gradient_norm needs gradients"
        raise ParamsError(f"{given}; take scorer: learner")
    if method.classify is methods.Objective.classify:
        given = f"{key}.criterion: gradient_norm needs a classifier, and method {arm.method} has none"
        raise ParamsError(f"{given}; take supervised")


def _check_online(policy: Policy, key: str) -> None:
    uses = "reference" in criterion(policy).NEEDS and policy.scorer != "replay"
    if policy.online and (not uses or needs_pool_model(policy)):
        asks = f"{policy.criterion} with scorer {policy.scorer}"
        given = f"{key}.online: {policy.online.name}, but {asks} uses no online reference"
        raise ParamsError(f"{given}; set it to null")


def _check_reference(params: Params, policy: Policy, arm: Arm, method: type[methods.Objective]) -> None:
    if needs_pool_model(policy) and not params.reference.pool_model:
        given = f"reference.pool_model: false, and policy {arm.policy} scores by it"
        raise ParamsError(f"{given}; set it to true, or take scorer: learner")
    if not needs_reference(policy):
        return
    teacher = arm.reference_method or arm.method
    if teacher not in params.reference.methods:
        given = f"reference.methods: {teacher} is missing, and policy {arm.policy} needs its reference"
        raise ParamsError(f"{given}; add it")
    if policy.sampler == "joint" and methods.load(teacher).Method.PAIR != method.PAIR:
        given = f"arms.*.reference_method: {teacher} has other pairs than {arm.method}"
        raise ParamsError(f"{given}; take sampler: top_k")


def _check_sizes(params: Params, arm: Arm) -> None:
    """Check that each model can compute the views that it scores, or is trained on, at low resolution."""
    policy, learner = params.policies[arm.policy], params.backbones[arm.backbone]
    key, size = f"policies.{arm.policy}", policy.patch_size
    for backbone, views in _forwards(params, arm):
        if size and not encoders.flexible(backbone.name):
            given = f"{key}.patch_size: {size}, but {backbone.name} cuts no patches"
            raise ParamsError(f"{given}; set it to null or give a resolution")
        for side in sorted({view.size or learner.image_size for view in views.values()}):
            if error := forward_error(backbone, side, size):
                given = f"{key}: resolution {policy.resolution}, patch_size {size}"
                raise ParamsError(f"{given}: {backbone.name} cannot process {side} px: {error}")


def _forwards(params: Params, arm: Arm) -> Iterator[tuple[Backbone, Views]]:
    """Which backbone computes which views."""
    policy, learner = params.policies[arm.policy], params.backbones[arm.backbone]
    recipe = params.methods[arm.method]
    yield policy.proxy or learner, score_views(recipe, policy)
    if policy.multi_resolution:
        coarse = batch_parts(recipe.views, policy)[1][0]
        yield from ((one, coarse) for one in (learner, policy.proxy, policy.online) if one)


def forward_error(backbone: Backbone, side: int, patch_size: int | None = None) -> str | None:
    """The error of building a backbone and computing square images of `side` pixels; None if it works.

    It is tried on the meta device, without weights or data.
    """
    try:
        with torch.device("meta"):
            encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs).eval()
            with encoders.at_patch(encoder, patch_size):
                encoder(torch.zeros(2, 3, side, side))
    except (ValueError, AssertionError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None
