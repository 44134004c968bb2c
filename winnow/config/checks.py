"""What only several sections of params.yaml together can say: names that must exist, and choices that exclude
one another.
"""

from winnow.config.bounds import known
from winnow.config.budget import limits
from winnow.config.check_datasets import check_datasets, corrupted
from winnow.config.derive import needs_reference, parts
from winnow.config.errors import ParamsError
from winnow.config.folder_names import check_folder
from winnow.config.plugins import plugins
from winnow.config.schema import CLEAN, POOL, REFERENCE, Params
from winnow.config.starts import check_starts


def check_names(params: Params) -> None:
    """Raise `ParamsError` for the first name that stands for nothing, or policy that does not fit its arm."""
    check_datasets(params)
    for name in params.curate.filters:
        known(f"curate.filters.{name}", name, plugins("winnow.filters"))
    _check_versions(params)
    for name in params.methods:
        known(f"methods.{name}", name, plugins("models.methods"))
    for name in params.reference.methods:
        known("reference.methods", name, params.methods)
    if params.reference.methods:
        known("reference.backbone", params.reference.backbone, params.backbones)
        if not params.reference.examples:
            raise ParamsError("reference.examples: 0; give how many training examples a reference sees")
        if not params.datasets.reference:
            names = ", ".join(params.reference.methods)
            raise ParamsError(
                f"reference.methods: {names}, but datasets.reference is empty; give a reference, or []"
            )
    for name in params.tasks:
        known(f"tasks.{name}", name, plugins("stages"))
    for name in params.arms:
        _check_arm(name, params)
    check_starts(params)
    if params.carbon.intensity == 0 and "gco2e" in limits(params.pretrain.budget):
        raise ParamsError("pretrain.budget.gco2e: carbon.intensity is 0, so it is never spent; give kwh")


def _check_versions(params: Params) -> None:
    for name, version in params.versions.items():
        check_folder("versions", name)
        if name in (POOL, REFERENCE, CLEAN):
            raise ParamsError(f"versions.{name}: Winnow makes a version of this name; choose another")
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
    check_folder("arms", name)
    known(f"arms.{name}.policy", arm.policy, params.policies)
    known(f"arms.{name}.method", arm.method, params.methods)
    known(f"arms.{name}.backbone", arm.backbone, params.backbones)
    _check_versions_of_arm(name, params)
    _check_policy_of_arm(name, params)
    _check_sources_of_arm(name, params)


def _check_versions_of_arm(name: str, params: Params) -> None:
    arm, key = params.arms[name], f"arms.{name}"
    joined = parts(arm.version)
    for one in joined:
        known(f"{key}.version", one, [POOL, REFERENCE, CLEAN, *params.versions])
    if len(joined) > 2 or len(set(joined)) < len(joined):
        raise ParamsError(f"{key}.version: {arm.version!r}; a union joins two different versions, as A+B")
    if REFERENCE in joined and not params.datasets.reference:
        raise ParamsError(f"{key}.version: {arm.version!r}, but datasets.reference is empty; give one")
    if CLEAN in joined and not any(corrupted(one) for one in params.datasets.pool.values()):
        raise ParamsError(
            f"{key}.version: {CLEAN} is the part of the pool that was not corrupted on purpose, and "
            "datasets.pool has no corruption; take pool"
        )
    shares = arm.mixture
    if shares is not None and (len(shares) != len(joined) or abs(sum(shares) - 1) > 1e-6):
        given = f"{shares} for {arm.version!r}"
        raise ParamsError(f"{key}.mixture: {given}; give a share for each part, 1 in total, or null")
    if (selected := arm.selects_from) is not None:
        known(f"{key}.selects_from", selected, joined)
        if shares is None:
            given = f"{key}.selects_from: {selected!r}, but mixture is null"
            raise ParamsError(f"{given}; give a share for each part")
    policy = params.policies[arm.policy]
    if selected is not None and policy.criterion == "uniform":
        given = f"{key}.selects_from: {selected!r}, but policy {arm.policy} selects nothing"
        raise ParamsError(f"{given}; set it to null")
    if needs_reference(policy) and REFERENCE in ([selected] if selected else joined):
        given = f"{arm.version!r}" if selected is None else f"{arm.version!r} and selects_from {selected!r}"
        raise ParamsError(
            f"{key}.version: {given}, but policy {arm.policy} chooses by a reference, which judges "
            "the pool alone; take pool, or add selects_from: pool and a mixture"
        )


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
