"""What must hold between arms, backbones and methods where training starts from weights, and which control is
missing there.
"""

from winnow.config.budget import FLOPS, Budget, limits
from winnow.config.derive import start_within
from winnow.config.errors import ParamsError
from winnow.config.schema import Arm, Backbone, Params


def check_starts(params: Params) -> None:
    """Raise `ParamsError` for the first key whose value cannot work."""
    for name in params.arms:
        _check_chain(name, params)
    for name, arm in params.arms.items():
        if (start := start_within(params, arm)) is not None:
            _check_start(name, start, params)
    _check_others(params)
    _check_recipes(params)
    for name, arm in params.arms.items():
        if arm.frozen and arm.replay_from is not None:
            given = f"arms.{name}.replay_from: {arm.replay_from!r}, but the arm is frozen and trains nothing"
            raise ParamsError(f"{given}; set one of the two to null or false")


def arm_budget(params: Params, arm: Arm) -> Budget:
    """What the arm may spend: FLOPs, or a mapping of units to amounts."""
    found = limits(params.pretrain.budget, arm.budget_share)
    return found if isinstance(params.pretrain.budget, dict) else found[FLOPS]


def missing_controls(params: Params) -> list[str]:
    """A line for each backbone with weights that is trained further and measured by no frozen arm.

    Without that control nobody can tell whether the further training was worth it.
    """
    frozen = {_start(params, arm) for arm in params.arms.values() if arm.frozen}
    lines = {}
    for name, arm in params.arms.items():
        start = _start(params, arm)
        if start[1] and start not in frozen:
            control = f"arms.{name}-frozen={{method: {arm.method}, policy: {arm.policy}, "
            lines[start] = (
                f"arms.{name} starts from weights, and no arm measures them untouched: was training worth "
                f"it? Add '+{control}backbone: {arm.backbone}, frozen: true}}'"
            )
    return list(lines.values())


def _start(params: Params, arm: Arm) -> tuple[str, str | None]:
    backbone = params.backbones[arm.backbone]
    return backbone.name, backbone.weights


def _check_chain(name: str, params: Params) -> None:
    """Follow an arm's start, that one's start and so on."""
    line, key = [name], f"backbones.{params.arms[name].backbone}.weights"
    while (start := start_within(params, params.arms[line[-1]])) is not None:
        if start in line:
            chain = " <- ".join([*line, start])
            raise ParamsError(f"{key}: {chain} is cyclic; let one start from scratch or from a file")
        line.append(start)


def _check_start(name: str, start: str, params: Params) -> None:
    """Whether an arm can start from the encoder of another one of this run, and pay for it."""
    arm, other = params.arms[name], params.arms[start]
    ours, theirs = params.backbones[arm.backbone], params.backbones[other.backbone]
    if ours.name != theirs.name:
        given = f"backbones.{arm.backbone}.name: {ours.name}, but its weights are of arm {start}"
        raise ParamsError(f"{given}, a {theirs.name}; give that name")
    share, least = params.pretrain.weights_share, 0.0 if other.frozen else other.budget_share
    if not arm.frozen and share * least >= arm.budget_share:
        given = f"arms.{name}.budget_share: {arm.budget_share:g}, and it starts from arm {start}"
        raise ParamsError(
            f"{given}, which is charged at {share * other.budget_share:g}; give it more, {start} "
            "less, or lower pretrain.weights_share"
        )


def _check_others(params: Params) -> None:
    """Learners start from weights; references, proxies and online references are trained from scratch."""
    others: dict[str, Backbone] = {}
    if params.reference.methods:
        others["reference.backbone"] = params.backbones[str(params.reference.backbone)]
    for name, policy in params.policies.items():
        others |= {
            f"policies.{name}.{use}": backbone
            for use in ("proxy", "online")
            if (backbone := getattr(policy, use)) is not None
        }
    for key, backbone in others.items():
        if backbone.weights:
            given = f"{key}: {backbone.name} starts from weights ({backbone.weights})"
            raise ParamsError(f"{given}, and only a learner can; name a backbone whose weights are null")


def _check_recipes(params: Params) -> None:
    """A setting that would do nothing is a mistake."""
    started = {arm.method for arm in params.arms.values() if _start(params, arm)[1] and not arm.frozen}
    for name, recipe in params.methods.items():
        for key, none in (("layer_decay", None), ("freeze", 0.0)):
            given = getattr(recipe, key)
            if given != none and name not in started:
                raise ParamsError(
                    f"methods.{name}.{key}: {given}, but no arm of {name} starts from weights; give its "
                    f"backbone weights, or set it to {'null' if none is None else none}"
                )
