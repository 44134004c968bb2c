"""What only several sections of params.yaml together can say: names that must exist, and choices that exclude
one another.
"""

from winnow.config.bounds import known
from winnow.config.derive import needs_reference
from winnow.config.errors import ParamsError
from winnow.config.plugins import plugins
from winnow.config.schema import POOL, REFERENCE, Params


def check_names(params: Params) -> None:
    """Raise `ParamsError` for the first name that stands for nothing, or policy that does not fit its arm."""
    for name in params.curate.filters:
        known(f"curate.filters.{name}", name, plugins("winnow.filters"))
    _check_versions(params)
    for name in params.methods:
        known(f"methods.{name}", name, plugins("models.methods"))
    for name in params.reference.methods:
        known("reference.methods", name, params.methods)
    known("reference.backbone", params.reference.backbone, params.backbones)
    for name in params.tasks:
        known(f"tasks.{name}", name, plugins("stages"))
    if not params.arms:
        raise ParamsError("arms: empty; name at least one arm: {policy, method, backbone, seed}")
    for name in params.arms:
        _check_arm(name, params)


def _check_folder(key: str, name: str) -> None:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ParamsError(f"{key}.{name}: a name becomes a folder; allowed: letters, digits, - and _")


def _check_versions(params: Params) -> None:
    for name, version in params.versions.items():
        _check_folder("versions", name)
        if name in (POOL, REFERENCE):
            raise ParamsError(f"versions.{name}: curate makes a version of this name; choose another")
        others = (other for other in params.versions if other != name)
        known(f"versions.{name}.parent", version.parent, [POOL, *others])
        filters = plugins("winnow.filters")
        if not version.filters:
            raise ParamsError(f"versions.{name}.filters: empty; name at least one of {', '.join(filters)}")
        for step in version.filters:
            known(f"versions.{name}.filters.{step}", step, filters)
        _check_descent(name, params)


def _check_descent(name: str, params: Params) -> None:
    line = [name]
    while (parent := params.versions[line[-1]].parent) != POOL:
        if parent in line:
            raise ParamsError(
                f"versions.{name}.parent: {' <- '.join([*line, parent])} is cyclic; let one descend from "
                f"{POOL}"
            )
        line.append(parent)


def _check_arm(name: str, params: Params) -> None:
    arm = params.arms[name]
    _check_folder("arms", name)
    known(f"arms.{name}.policy", arm.policy, params.policies)
    known(f"arms.{name}.method", arm.method, params.methods)
    known(f"arms.{name}.backbone", arm.backbone, params.backbones)
    known(f"arms.{name}.version", arm.version, [POOL, REFERENCE, *params.versions])
    _check_policy_of_arm(name, params)
    _check_sources_of_arm(name, params)


def _check_policy_of_arm(name: str, params: Params) -> None:
    """What a policy and a method together can say."""
    arm = params.arms[name]
    policy, recipe = params.policies[arm.policy], params.methods[arm.method]
    key, batch = f"policies.{arm.policy}", f"methods.{arm.method}.batch_size"
    if policy.sampler == "joint" and recipe.batch_size % policy.chunks:
        raise ParamsError(
            f"{key}.chunks: {policy.chunks} does not divide {batch} {recipe.batch_size}; give a divisor of it"
        )
    if policy.scorer == "replay" and (
        policy.criterion != "uniform" or policy.sampler != "top_k" or policy.filter_ratio
    ):
        raise ParamsError(
            f"{key}.scorer: replay takes what the trace says; set criterion: uniform, sampler: top_k and "
            "filter_ratio: 0"
        )
    size = params.backbones[arm.backbone].image_size
    if policy.resolution is not None and policy.resolution > size:
        raise ParamsError(
            f"{key}.resolution: {policy.resolution} is more than backbones.{arm.backbone}.image_size {size}; "
            "give less"
        )
    if policy.multi_resolution and recipe.batch_size % 2:
        raise ParamsError(f"{key}.multi_resolution: true, and {batch} is {recipe.batch_size}: make it even")


def _check_sources_of_arm(name: str, params: Params) -> None:
    """Whether the files of other arms and methods that an arm reads are those that its policy uses."""
    arm = params.arms[name]
    policy, key = params.policies[arm.policy], f"arms.{name}"
    if policy.scorer == "replay":
        if arm.replay_from is None:
            raise ParamsError(f"{key}.replay_from: null, but policy {arm.policy} replays; name an arm")
        known(f"{key}.replay_from", arm.replay_from, [other for other in params.arms if other != name])
    elif arm.replay_from is not None:
        raise ParamsError(
            f"{key}.replay_from: {arm.replay_from!r}, but policy {arm.policy} replays no trace; set it to "
            f"null"
        )
    if arm.reference_method is not None and not (policy.scorer == "frozen" and needs_reference(policy)):
        raise ParamsError(
            f"{key}.reference_method: {arm.reference_method!r}, but policy {arm.policy} chooses by no frozen "
            "reference; set it to null"
        )
    if arm.reference_method is not None:
        known(f"{key}.reference_method", arm.reference_method, params.reference.methods)
