"""Checks of params.yaml before anything is spent: plug-ins' settings, backbones, and what fits what.

They import torch and timm, so only stages that may be the first to run after a change do them.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.config.derive import MODELS, RAW_PIXELS, roles, start_within
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.plugins import declared, load_plugin
from winnow.config.schema import Params, View


def check_plugins(params: Params, root: Path = Path()) -> None:
    """Do all checks.

    Args:
        root: the workspace, which paths of weights are relative to; where a stage runs, the current folder.

    Raises:
        ParamsError: for the first key whose value cannot work.
    """
    from winnow.selection.compatibility import check_fit

    _check_backbones(params)
    _check_pixels(params)
    _check_weights(params, root)
    _check_methods(params)
    for arm in params.arms.values():
        check_fit(params, arm)
    _check_sources(params)
    _check_tasks(params)
    check_filters(params)


def check_filters(params: Params) -> None:
    """Check the blocks of all filters, and that each has the columns it needs where it is applied.

    Raises:
        ParamsError: for the first key whose value cannot work.
    """
    plugin_config(load_plugin("winnow.leakage", "config").Config, "curate.guard", params.curate.guard)
    _check_filters("curate.filters", params.curate.filters, index_alone=True)
    for name, version in params.versions.items():
        needs = _check_filters(f"versions.{name}.filters", version.filters)
        if needs and version.model is None:
            given = f"versions.{name}.model: null, and filter {needs[0]} needs embeddings"
            example = f"{MODELS}/{next(iter(params.reference.methods), 'METHOD')}"
            raise ParamsError(f"{given}; give the weights of a model, such as {example}")


def _check_filters(key: str, filters: dict[str, Any], index_alone: bool = False) -> list[str]:
    """Check each filter's block; the names of those that need embeddings."""
    needs = []
    for name, block in filters.items():
        module = load_plugin("winnow.filters", name)
        plugin_config(module.Config, f"{key}.{name}", block)
        columns = getattr(module, "EXTRA_COLUMNS", ())
        more = [*columns, *getattr(module, "EXTRA_TABLES", ())]
        if index_alone and more:
            given = f"{key}.{name}: needs {', '.join(more)}, which do not exist before curate"
            raise ParamsError(f"{given}; put it under versions.NAME.filters")
        needs += [name] if columns else []
    return needs


def _check_tasks(params: Params) -> None:
    for name, block in params.tasks.items():
        module = load_plugin("stages", name)
        if not hasattr(module, "Config"):
            raise ParamsError(f"tasks.{name}: stages/{name}.py has no Config, so it is no task; leave it out")
        settings = plugin_config(module.Config, f"tasks.{name}", block)
        if hasattr(module, "check"):
            module.check(params, settings)


def _check_sources(params: Params) -> None:
    for name, (role, one) in roles(params).items():
        if one.source is None:
            continue
        source, key = load_plugin("winnow.sources", one.source), f"datasets.{role}.{name}.options"
        if hasattr(source, "Config"):
            plugin_config(source.Config, key, one.options)
        elif one.options:
            raise ParamsError(f"{key}: {one.options}, but source {one.source} has none; leave them out")


def _check_methods(params: Params) -> None:
    from timm.optim import list_optimizers

    from models import methods

    known = list_optimizers()
    for name, recipe in params.methods.items():
        key, module = f"methods.{name}", methods.load(name)
        if recipe.optimiser not in known:
            near = _near(recipe.optimiser, known)
            raise ParamsError(f"{key}.optimiser: {recipe.optimiser!r} is no optimiser of timm; {near}")
        plugin_config(module.Config, f"{key}.settings", recipe.settings)
        if declared("models.methods", name, "NEEDS") != module.Method.NEEDS:
            needs = ", ".join(sorted(module.Method.NEEDS)) or "nothing"
            raise ParamsError(f"{key}: needs {needs}; say so in NEEDS of models/methods/{name}.py itself")
        for kind in ("views", "score_views"):
            _check_draws(f"{key}.{kind}", getattr(recipe, kind), module.Method.VIEWS)


def _check_draws(key: str, views: dict[str, View], allowed: dict[str, tuple[int, int]]) -> None:
    for name in views:
        if name not in allowed:
            raise ParamsError(f"{key}.{name}: not a view of this method; allowed: {', '.join(allowed)}")
    for name, (least, most) in allowed.items():
        count = views[name].count if name in views else 0
        if not least <= count <= most:
            raise ParamsError(f"{key}.{name}.count: {count} is out of range; allowed: [{least}, {most}]")


def _check_backbones(params: Params) -> None:
    """Check that timm can build every backbone, those of policies included, and process its image size."""
    import timm

    from winnow.selection.compatibility import forward_error

    named = {f"backbones.{name}": backbone for name, backbone in params.backbones.items()}
    for name, policy in params.policies.items():
        for use in ("proxy", "online"):
            if backbone := getattr(policy, use):
                named[f"policies.{name}.{use}"] = backbone
    for key, backbone in named.items():
        if not timm.is_model(backbone.name):
            near = _near(backbone.name, timm.list_models())
            raise ParamsError(f"{key}.name: {backbone.name!r} is no timm model; {near}")
        if error := forward_error(backbone, backbone.image_size):
            given = f"{backbone.name} at image_size {backbone.image_size} with kwargs {backbone.kwargs}"
            raise ParamsError(f"{key}: {given} cannot be built: {error}")


def _check_pixels(params: Params) -> None:
    """Check that raw pixels are nowhere trained."""
    key = f"backbones.{{}}.name: {RAW_PIXELS}"
    for name, arm in params.arms.items():
        if params.backbones[arm.backbone].name == RAW_PIXELS and not arm.frozen:
            given = f"{key.format(arm.backbone)} has nothing to train, and arms.{name} trains it"
            raise ParamsError(f"{given}; set arms.{name}.frozen: true")
    if params.reference.backbone and params.backbones[params.reference.backbone].name == RAW_PIXELS:
        given = f"{key.format(params.reference.backbone)} has nothing to train, and a reference is trained"
        raise ParamsError(f"reference.backbone: {given}; give another one")


def _check_weights(params: Params, root: Path) -> None:
    """Check that the weights that learners start from are those of their backbones.

    Of an encoder that this run has yet to train, the backbones are compared.
    """
    from winnow.training.initial_weights import MEND, InitialWeights, mismatch

    done = set()
    for arm in params.arms.values():
        backbone, key = params.backbones[arm.backbone], f"backbones.{arm.backbone}"
        if not backbone.weights or arm.backbone in done:
            continue
        done.add(arm.backbone)
        if start := start_within(params, arm):
            problem = mismatch(params.backbones[params.arms[start].backbone], backbone)
        else:
            problem = InitialWeights.open(root, key, backbone, arm.dvc).problem()
        if problem:
            raise ParamsError(f"{key}.weights: {backbone.weights!r}: {problem}; {MEND}")


def _near(name: str, known: Sequence[Any]) -> str:
    return f"near names: {', '.join(difflib.get_close_matches(name, known, n=3)) or 'none'}"
