"""What a type cannot say about params.yaml: names that must exist, ranges, and sums that must fit."""

import dataclasses
import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from stages.params import MODELS, NOTHING, POOL, Arm, Method, Params, ParamsError, Splits, View, plugin_config, plugins

SCORERS = ("learner", "proxy", "frozen", "replay")
MADE_BY_CURATE = (POOL, "reference")


def check(params: Params) -> None:
    """Raise `ParamsError` for the first key whose value cannot work."""
    _check_run(params)
    _check_dataset(params)
    for name in params.curate.filters:
        _one_of(f"curate.filters.{name}", name, plugins("stages.filters"))
    _check_versions(params)
    for name, method in params.methods.items():
        _check_method(name, method)
    _check_policies(params)
    _check_arms(params)
    _check_training(params)
    _check_tasks(params)


def _one_of(key: str, value: Any, allowed: Iterable[Any]) -> None:
    allowed = list(allowed)
    if value not in allowed:
        raise ParamsError(f"{key}: {value!r} is unknown; allowed: {', '.join(map(str, allowed)) or 'nothing'}")


def _within(key: str, value: float, low: float, high: float = float("inf"), *, open_high: bool = False) -> None:
    fits = low <= value < high if open_high else low <= value <= high
    if not fits:
        bound = f"[{low:g}, {high:g}{')' if open_high else ']'}" if high != float("inf") else f"{low:g} or more"
        raise ParamsError(f"{key}: {value!r} is out of range; allowed: {bound}")


def _check_run(params: Params) -> None:
    run = params.run
    _within("seed", params.seed, 0, 2**31 - 1)
    _one_of("run.accelerator", run.accelerator, ("auto", "cpu", "cuda"))
    _one_of("run.precision", run.precision, ("32-true", "bf16-mixed"))
    _within("run.threads", run.threads, 1)
    _within("run.cache_gb", run.cache_gb, 0)
    _within("run.checkpoint_seconds", run.checkpoint_seconds, 0)
    _within("carbon.pue", params.carbon.pue, 1)
    if params.carbon.country != "WORLD":
        from stages.ledger.energy import countries

        _one_of("carbon.country", params.carbon.country, countries())
    if params.carbon.intensity is not None:
        _within("carbon.intensity", params.carbon.intensity, 0)


def _check_dataset(params: Params) -> None:
    dataset, splits = params.dataset, params.curate.splits
    _one_of("dataset.source", dataset.source, plugins("stages.sources"))
    _within("dataset.max_pixels", dataset.max_pixels, 1)
    _within("dataset.trusted", dataset.trusted, 0, 1)
    if dataset.limit is not None:
        _within("dataset.limit", dataset.limit, 1)
    fractions = dataclasses.asdict(dataset.pollution)
    for name, value in fractions.items():
        _within(f"dataset.pollution.{name}", value, 0, 1)
    junk = dataset.pollution.noise + dataset.pollution.permuted + dataset.pollution.blank
    if junk > 1:
        raise ParamsError(f"dataset.pollution: noise + permuted + blank is {junk:g}; allowed: at most 1")
    for name in (f.name for f in dataclasses.fields(Splits)):
        _within(f"curate.splits.{name}", getattr(splits, name), 1)


def _check_versions(params: Params) -> None:
    for name, version in params.versions.items():
        if name in MADE_BY_CURATE or not name.replace("-", "").replace("_", "").isalnum():
            taken = ", ".join(MADE_BY_CURATE)
            raise ParamsError(f"versions.{name}: a name becomes a folder; allowed: letters, digits, - and _, but not {taken}")
        _one_of(f"versions.{name}.parent", version.parent, [POOL, *(other for other in params.versions if other != name)])
        if not version.filters:
            raise ParamsError(f"versions.{name}.filters: empty; name at least one of {', '.join(plugins('stages.filters'))}")
        for step in version.filters:
            _one_of(f"versions.{name}.filters.{step}", step, plugins("stages.filters"))
        if version.image_size is not None:
            _within(f"versions.{name}.image_size", version.image_size, 8)
        _check_descent(name, params)


def _check_descent(name: str, params: Params) -> None:
    line = [name]
    while (parent := params.versions[line[-1]].parent) != POOL:
        if parent in line:
            raise ParamsError(f"versions.{name}.parent: {' <- '.join([*line, parent])} goes round; let one descend from {POOL}")
        line.append(parent)


def _check_method(name: str, method: Method) -> None:
    key = f"methods.{name}"
    _one_of(key, name, plugins("models.methods"))
    _within(f"{key}.batch_size", method.batch_size, 2)
    _within(f"{key}.lr", method.lr, 0)
    _within(f"{key}.weight_decay", method.weight_decay, 0)
    _within(f"{key}.warmup", method.warmup, 0, 1, open_high=True)
    for kind in ("views", "score_views"):
        for view_name, view in getattr(method, kind).items():
            _check_view(f"{key}.{kind}.{view_name}", view)


def _check_view(key: str, view: View) -> None:
    _within(f"{key}.count", view.count, 1)
    if view.size is not None:
        _within(f"{key}.size", view.size, 4)
    if view.scale is not None and not (len(view.scale) == 2 and 0 < view.scale[0] <= view.scale[1] <= 1):
        raise ParamsError(f"{key}.scale: {view.scale} is out of range; allowed: [least, most] with 0 < least <= most <= 1")
    if view.jitter is not None and not (len(view.jitter) == 4 and all(0 <= j <= 1 for j in view.jitter)):
        raise ParamsError(f"{key}.jitter: {view.jitter} is wrong; allowed: [brightness, contrast, saturation, hue] in [0, 1]")
    for name in ("flip", "grey", "blur", "solarise"):
        _within(f"{key}.{name}", getattr(view, name), 0, 1)


def _check_policies(params: Params) -> None:
    for name, policy in params.policies.items():
        _one_of(f"policies.{name}.criterion", policy.criterion, plugins("models.criteria"))
        key = f"policies.{name}"
        _one_of(f"{key}.scorer", policy.scorer, SCORERS)
        _one_of(f"{key}.sampler", policy.sampler, ("top_k", "softmax", "joint"))
        _within(f"{key}.ratio", policy.ratio, 0, 1, open_high=True)
        _within(f"{key}.chunks", policy.chunks, 1)
        _within(f"{key}.gain", policy.gain, 0)
        if policy.resolution is not None:
            _within(f"{key}.resolution", policy.resolution, 8)
        if policy.patch is not None:
            _within(f"{key}.patch", policy.patch, 1)
        if policy.coarse and policy.resolution is None and policy.patch is None:
            raise ParamsError(f"{key}.coarse: true, but {key}.resolution and {key}.patch are null; give one, in pixels")
        if (policy.scorer == "proxy") != (policy.proxy is not None):
            given = "null" if policy.proxy is None else policy.proxy.name
            raise ParamsError(f"{key}.proxy: {given}, but the scorer is {policy.scorer}; give a backbone where it is proxy, else null")


def _check_arms(params: Params) -> None:
    if not params.arms:
        raise ParamsError("arms: empty; name at least one arm: {policy, method, backbone, seed}")
    for name, arm in params.arms.items():
        if not name.replace("-", "").replace("_", "").isalnum():
            raise ParamsError(f"arms.{name}: a name becomes a folder; allowed: letters, digits, - and _")
        _one_of(f"arms.{name}.policy", arm.policy, params.policies)
        _one_of(f"arms.{name}.method", arm.method, params.methods)
        _one_of(f"arms.{name}.backbone", arm.backbone, params.backbones)
        _one_of(f"arms.{name}.version", arm.version, [POOL, *params.versions])
        _within(f"arms.{name}.seed", arm.seed, 0, 2**31 - 1)
        _check_policy_of_arm(name, params)


def _check_policy_of_arm(name: str, params: Params) -> None:
    """What only a policy and a method together can say."""
    arm = params.arms[name]
    policy, recipe = params.policies[arm.policy], params.methods[arm.method]
    key = f"policies.{arm.policy}"
    if policy.sampler == "joint" and recipe.batch_size % policy.chunks:
        raise ParamsError(
            f"{key}.chunks: {policy.chunks} does not divide methods.{arm.method}.batch_size {recipe.batch_size}; give a divisor of it"
        )
    if policy.scorer == "replay" and (policy.criterion != "uniform" or policy.sampler != "top_k" or policy.ratio):
        raise ParamsError(f"{key}.scorer: replay takes what the trace says; set criterion: uniform, sampler: top_k and ratio: 0")
    size = params.backbones[arm.backbone].image_size
    if policy.resolution is not None and policy.resolution > size:
        raise ParamsError(f"{key}.resolution: {policy.resolution} is more than backbones.{arm.backbone}.image_size {size}; give less")
    if policy.coarse and recipe.batch_size % 2:
        raise ParamsError(f"{key}.coarse: true, and methods.{arm.method}.batch_size is {recipe.batch_size}: make it even")
    after, given = f"arms.{name}.after", arm.after
    if policy.scorer == "replay" and (given == NOTHING or given.startswith(MODELS)):
        raise ParamsError(f"{after}: {given!r} is no trace; give results/pretrain/ARM/trace.parquet")
    if policy.scorer == "frozen" and given.startswith(MODELS):
        _one_of(after, given, [f"{MODELS}/{method}" for method in params.reference.methods])
    elif policy.scorer != "replay" and given != NOTHING:
        raise ParamsError(f"{after}: {given!r}, but policy {arm.policy} reads no file of another arm; set it to {NOTHING}")


def _check_training(params: Params) -> None:
    for name in params.reference.methods:
        _one_of("reference.methods", name, params.methods)
    _one_of("reference.backbone", params.reference.backbone, params.backbones)
    _within("reference.examples", params.reference.examples, 1)
    if not params.pretrain.budget > 0:
        raise ParamsError(f"pretrain.budget: {params.pretrain.budget!r} is out of range; allowed: FLOPs above 0")
    _within("pretrain.reference_share", params.pretrain.reference_share, 0, 1)
    _within("pretrain.curation_share", params.pretrain.curation_share, 0, 1)
    _within("pretrain.evaluations", params.pretrain.evaluations, 1)


def _check_tasks(params: Params) -> None:
    semi, detection = params.semi_supervised, params.detection
    if not params.linear_probe.l2 or min(params.linear_probe.l2) < 0:
        raise ParamsError(f"linear_probe.l2: {params.linear_probe.l2} is wrong; allowed: one or more numbers of 0 or more")
    _within("linear_probe.iterations", params.linear_probe.iterations, 1)
    if len(semi.fractions) != len(semi.steps):
        raise ParamsError(f"semi_supervised.steps: {len(semi.steps)} values for {len(semi.fractions)} fractions; give one a fraction")
    for fraction in semi.fractions:
        _within("semi_supervised.fractions", fraction, 1e-6, 1)
    _within("semi_supervised.batch_size", semi.batch_size, 2)
    if not (len(detection.objects) == 2 and 1 <= detection.objects[0] <= detection.objects[1]):
        raise ParamsError(f"detection.objects: {detection.objects} is wrong; allowed: [least, most] with 1 <= least <= most")
    _within("detection.canvas", detection.canvas, 32)
    for name in ("train_scenes", "test_scenes", "steps", "batch_size"):
        _within(f"detection.{name}", getattr(detection, name), 1)


def check_plugins(params: Params) -> None:
    """Check every plug-in's own block too. This imports torch and timm, so only the first stage of the DAG does it."""
    from models import methods

    _check_backbones(params)
    for name, recipe in params.methods.items():
        module = methods.load(name)
        plugin_config(module.Config, f"methods.{name}.settings", recipe.settings)
        for kind in ("views", "score_views"):
            _check_draws(f"methods.{name}.{kind}", getattr(recipe, kind), module.Method.VIEWS)
    for arm in params.arms.values():
        check_fit(params, arm)
    source = importlib.import_module(f"stages.sources.{params.dataset.source}")
    if hasattr(source, "Config"):
        plugin_config(source.Config, "dataset.options", params.dataset.options)
    elif params.dataset.options:
        raise ParamsError(f"dataset.options: {params.dataset.options}, but source {params.dataset.source} has none; take them out")
    check_filters(params)


def check_filters(params: Params) -> None:
    """Check the blocks of all filters, and that each stands where what it looks at is there."""
    _check_filters("curate.filters", params.curate.filters, index_alone=True)
    for name, version in params.versions.items():
        needs = _check_filters(f"versions.{name}.filters", version.filters)
        if needs and version.model == NOTHING:
            raise ParamsError(
                f"versions.{name}.model: {NOTHING}, and filter {needs[0]} looks at embeddings; give the weights of a model, such as "
                f"{MODELS}/{next(iter(params.reference.methods), 'METHOD')}"
            )


def _check_filters(key: str, filters: dict[str, Any], index_alone: bool = False) -> list[str]:
    """Check each filter's own block; the names of those that look at embeddings."""
    needs = []
    for name, block in filters.items():
        module = importlib.import_module(f"stages.filters.{name}")
        plugin_config(module.Config, f"{key}.{name}", block)
        more = [*getattr(module, "READS", ()), *getattr(module, "WITH", ())]
        if index_alone and more:
            raise ParamsError(f"{key}.{name}: asks for {', '.join(more)}, which is not there yet; put it under versions.NAME.filters")
        needs += [name] if getattr(module, "READS", ()) else []
    return needs


def _check_draws(key: str, views: dict[str, View], wanted: dict[str, tuple[int, int]]) -> None:
    for name in views:
        _one_of(f"{key}.{name}", name, wanted)
    for name, (least, most) in wanted.items():
        count = views[name].count if name in views else 0
        _within(f"{key}.{name}.count", count, least, most)


def check_fit(params: Params, arm: Arm) -> None:
    """Raise `ParamsError` where an arm's policy and method make no sense together, before anything is spent."""
    from models import methods
    from stages.training.scorers import reference_method
    from stages.training.selection import criterion, needs_reference, needs_twin

    method, policy, key = methods.load(arm.method).Method, params.policies[arm.policy], f"policies.{arm.policy}"
    classifies = method.classify is not methods.Objective.classify
    if policy.sampler == "joint" and not method.PAIR:
        raise ParamsError(f"{key}.sampler: joint selects pairs, and method {arm.method} has none; take simclr, siglip or clip")
    if policy.sampler == "joint" and policy.criterion in ("uniform", "gradient_norm"):
        raise ParamsError(f"{key}.criterion: {policy.criterion} has no score of pairs, and the sampler is joint; take learnability")
    if policy.sampler == "joint" and policy.scorer == "frozen" and policy.criterion != "easy":
        raise ParamsError(f"{key}.criterion: {policy.criterion} needs a scorer, and it is frozen; joint selection takes easy then")
    if policy.criterion == "gradient_norm" and policy.scorer == "frozen":
        raise ParamsError(f"{key}.scorer: frozen keeps losses, and criterion gradient_norm wants gradients; take scorer: learner")
    if policy.criterion == "gradient_norm" and not classifies:
        raise ParamsError(f"{key}.criterion: gradient_norm needs a classifier, and method {arm.method} has none; take supervised")
    if policy.online and ("reference" not in criterion(policy).NEEDS or needs_twin(policy) or policy.scorer == "replay"):
        asks = f"{policy.criterion} with scorer {policy.scorer}"
        raise ParamsError(f"{key}.online: {policy.online.name}, but {asks} asks no online reference; set it to null")
    if needs_twin(policy) and not params.reference.twin:
        raise ParamsError(f"reference.twin: false, and policy {arm.policy} scores by it; set it to true, or take scorer: learner")
    teacher = reference_method(arm)
    if needs_reference(policy) and teacher not in params.reference.methods:
        raise ParamsError(f"reference.methods: {teacher} is missing, and policy {arm.policy} needs its reference; add it")
    if policy.sampler == "joint" and needs_reference(policy) and methods.load(teacher).Method.PAIR != method.PAIR:
        raise ParamsError(f"arms.*.after: {arm.after}, but {teacher} has no such pairs as {arm.method}; take sampler: top_k")
    if policy.patch is not None or policy.resolution is not None:
        _check_sizes(params, arm)


def _check_sizes(params: Params, arm: Arm) -> None:
    """Whether those who score, and train, coarsely can look at such views: tried out on the meta device, without weights or data."""
    import torch

    from models import encoders
    from stages.training.scorers import halves, score_views

    recipe, policy, learner = params.methods[arm.method], params.policies[arm.policy], params.backbones[arm.backbone]
    key = f"policies.{arm.policy}"
    looks = [(policy.proxy or learner, score_views(recipe, policy))]
    if policy.coarse:
        looks += [(backbone, halves(recipe.views, policy)[1][0]) for backbone in (learner, policy.proxy, policy.online) if backbone]
    for backbone, views in looks:
        if policy.patch and not encoders.flexible(backbone.name):
            raise ParamsError(f"{key}.patch: {policy.patch}, but {backbone.name} cuts no patches; set it to null or give a resolution")
        with torch.device("meta"):
            encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs).eval()
            for side in sorted({view.size or learner.image_size for view in views.values()}):
                try:
                    with encoders.at_patch(encoder, policy.patch):
                        encoder(torch.zeros(2, 3, side, side))
                except (ValueError, AssertionError, RuntimeError) as error:
                    given = f"{key}: resolution {policy.resolution}, patch {policy.patch}"
                    raise ParamsError(f"{given}: {backbone.name} cannot look at {side} px: {str(error).splitlines()[0]}") from None


def _check_backbones(params: Params) -> None:
    """Whether timm knows every backbone, a policy's own included."""
    import timm

    named = {f"backbones.{name}": backbone for name, backbone in params.backbones.items()}
    for name, policy in params.policies.items():
        for use in ("proxy", "online"):
            if backbone := getattr(policy, use):
                named[f"policies.{name}.{use}"] = backbone
    for key, backbone in named.items():
        if not timm.is_model(backbone.name):
            near = difflib.get_close_matches(backbone.name, timm.list_models(), n=3)
            raise ParamsError(f"{key}.name: {backbone.name!r} is no timm model; near names: {', '.join(near) or 'none'}")
