"""The keys of params.yaml that nobody writes: what DVC must know of a choice and cannot work out by itself.

DVC's templates have neither conditions nor loops over keys, so which files an arm reads stands in
params.yaml, in its block `dvc`. `winnow compose` writes these keys, and whoever reads params.yaml compares.
"""

from pathlib import PurePosixPath

from winnow.config.plugins import declared
from winnow.config.schema import NOTHING, POOL, REFERENCE, Params, Policy

MODELS = "results/reference/models"  # a folder for each method that a reference was trained by


def derive(params: Params) -> None:
    """Set every derived key, in place; names that do not exist are for the checks to refuse."""
    params.datasheets = [POOL, REFERENCE, *params.versions]
    for version in params.versions.values():
        version.dvc.model = version.model or NOTHING
        method = reference_of_model(version.model)
        version.dvc.method = f"models/methods/{method}.py" if method else NOTHING
    params.reference.dvc.finished = params.reference.finished or NOTHING
    for arm in params.arms.values():
        policy = params.policies.get(arm.policy)
        if policy is None:
            continue
        method = arm.reference_method or arm.method
        arm.dvc.criterion = policy.criterion
        needs = needs_reference(policy)
        arm.dvc.reference = f"{MODELS}/{method}" if needs else NOTHING
        arm.dvc.reference_code = f"models/methods/{method}.py" if needs else NOTHING
        arm.dvc.trace = f"results/pretrain/{arm.replay_from}/trace.parquet" if arm.replay_from else NOTHING


def reference_of_model(model: str | None) -> str | None:
    """The method of the reference that a version's `model` names, or None where it names another kind of
    model.
    """
    path = PurePosixPath(model or NOTHING)
    folder = path.parent if path.suffix else path
    return folder.name if str(folder.parent) == MODELS else None


def criterion_needs(policy: Policy) -> frozenset[str]:
    """What the policy's criterion needs, of learner, reference and gradient_norm."""
    return declared("models.criteria", policy.criterion, "NEEDS")


def needs_reference(policy: Policy) -> bool:
    """Whether the policy reads, and pays for, a finished reference."""
    if policy.scorer == "replay" or policy.online:
        return False
    return "reference" in criterion_needs(policy) or needs_pool_model(policy)


def needs_pool_model(policy: Policy) -> bool:
    """Whether the reference's pool model stands in for the learner: the scorer is frozen, and the criterion
    wants a learner's loss.
    """
    return policy.scorer == "frozen" and "learner" in criterion_needs(policy)


def scores_now(policy: Policy) -> bool:
    """Whether the learner or a proxy looks at every candidate."""
    return policy.scorer in ("learner", "proxy") and "learner" in criterion_needs(policy)
