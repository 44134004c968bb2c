"""Every mistake in params.yaml is one line that names the key, the value and what is allowed."""

import copy
import dataclasses
import subprocess
import sys

import pytest
import yaml

from tests.params import broken
from winnow.config.compose import composed
from winnow.config.errors import ParamsError
from winnow.config.load import load, parse
from winnow.config.schema import Arm, Params, Policy
from winnow.pipeline.workspace import Workspace


@pytest.fixture(scope="module")
def good():
    """The default experiment, with a method that reads no labels beside it."""
    overrides = ["+method@methods.simclr=simclr", "reference.methods=[supervised,simclr]"]
    return composed(overrides, Workspace.find().conf)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("pretrain.budgt", 1, "pretrain.budgt: not a key; did you mean budget? Allowed"),
        (
            "pretrain.budget",
            "many",
            "pretrain.budget: 'many' is no number; allowed: FLOPs, or a mapping of flops, seconds, kwh",
        ),
        ("pretrain.budget", 0, "pretrain.budget: 0"),
        (
            "policies.hard.criterion",
            "hrad",
            "policies.hard.criterion: 'hrad' is unknown; did you mean hard? Allowed: easy, gradient_norm, "
            "hard, learnability, rho, uniform",
        ),
        (
            "policies.hard.filter_ratio",
            1.0,
            "policies.hard.filter_ratio: 1.0 is out of range; allowed: [0, 1)",
        ),
        (
            "policies.hard.sampler",
            "jiont",
            "policies.hard.sampler: 'jiont' is unknown; did you mean joint? Allowed: top_k, softmax, joint",
        ),
        (
            "policies.hard.scorer",
            "actor",
            "policies.hard.scorer: 'actor' is unknown; allowed: learner, proxy, frozen, replay",
        ),
        (
            "policies.hard",
            {"criterion": "hard", "sampler": "joint", "chunks": 3},
            "policies.hard.chunks: 3 does not divide",
        ),
        (
            "policies.hard",
            {"criterion": "hard", "multi_resolution": True},
            "policies.hard.multi_resolution: true, but policies.hard.resolution and",
        ),
        (
            "policies.hard",
            {"criterion": "hard", "scorer": "proxy"},
            "policies.hard.proxy: null, but the scorer is proxy",
        ),
        (
            "policies.hard",
            {"criterion": "uniform", "scorer": "replay"},
            "arms.supervised-hard.replay_from: null, but policy hard replays; name an arm",
        ),
        (
            "policies.hard",
            {"criterion": "uniform", "scorer": "replay", "sampler": "joint"},
            "policies.hard.scorer: replay takes what",
        ),
        (
            "arms.supervised-hard.replay_from",
            "supervised-half",
            "arms.supervised-hard.replay_from: 'supervised-half', but policy hard replays no trace",
        ),
        (
            "arms.supervised-hard.policy",
            "hardest",
            "arms.supervised-hard.policy: 'hardest' is unknown; did you mean hard? Allowed: uniform, hard",
        ),
        (
            "arms.supervised-hard.version",
            "deduped",
            "arms.supervised-hard.version: 'deduped' is unknown; allowed: pool, reference",
        ),
        (
            "versions",
            {"pool": {"filters": {"blank": {}}}},
            "versions.pool: Winnow makes a version of this name",
        ),
        (
            "versions",
            {"a": {"parent": "b", "filters": {"blank": {}}}},
            "versions.a.parent: 'b' is unknown; allowed: pool",
        ),
        (
            "versions",
            {"a": {"parent": "b", "filters": {"blank": {}}}, "b": {"parent": "a", "filters": {"blank": {}}}},
            "versions.a.parent: a <- b <- a is cyclic; let one descend from pool",
        ),
        ("versions", {"a": {}}, "versions.a.filters: empty; name at least one of"),
        (
            "versions",
            {"a": {"filters": {"blury": {}}}},
            "versions.a.filters.blury: 'blury' is unknown; did you mean blur? Allowed: ",
        ),
        (
            "datasets.pool.fashion_mnist.source",
            "imagenet",
            "datasets.pool.fashion_mnist.source: 'imagenet' is unknown; allowed: coco, digits, emoji, "
            "fashion_mnist,",
        ),
        ("datasets.pool.fashion_mnist.path", "???", "datasets.pool.fashion_mnist.path: has no value"),
        (
            "datasets.pool.fashion_mnist.corruption.noise",
            1.5,
            "datasets.pool.fashion_mnist.corruption.noise: 1.5 is out of range; allowed: [0, 1]",
        ),
        (
            "curate.filters",
            {"blurry": {}},
            "curate.filters.blurry: 'blurry' is unknown; did you mean blur? Allowed: alignment, aspect, "
            "balanced,",
        ),
        (
            "methods.simclr.views.image.scale",
            [0.5, 2.0],
            "methods.simclr.views.image.scale: [0.5, 2.0] is out of range",
        ),
        ("run.precision", "fp8", "run.precision: 'fp8' is unknown; allowed: 32-true, bf16-mixed"),
        ("carbon.country", "GERMANY", "carbon.country: 'GERMANY' is unknown"),
        ("reference.methods", ["dinov9"], "reference.methods: 'dinov9' is unknown"),
        ("pretrain.budget", float("inf"), "pretrain.budget: inf is out of range; allowed: above 0, finite"),
        ("pretrain.budget", float("nan"), "pretrain.budget: nan is out of range"),
        (
            "policies.hard.inverse_temperature",
            float("inf"),
            "policies.hard.inverse_temperature: inf is out of",
        ),
        ("methods.simclr.lr", float("nan"), "methods.simclr.lr: nan is out of range; allowed: 0 or more"),
        ("methods.simclr.lr", -1.0, "methods.simclr.lr: -1.0 is out of range"),
        (
            "backbones.resnet10t.image_size",
            0,
            "backbones.resnet10t.image_size: 0 is out of range; allowed: 8",
        ),
        ("backbones.resnet10t.image_size", -5, "backbones.resnet10t.image_size: -5 is out of range"),
        (
            "arms.supervised-hard.reference_method",
            "simclr",
            "arms.supervised-hard.reference_method: 'simclr', but policy hard chooses by no frozen reference",
        ),
        (
            "arms.supervised-easy-s0.reference_method",
            "dino",
            "'dino' is unknown; allowed: supervised, simclr",
        ),
        (
            "tasks.linear_prob",
            {},
            "tasks.linear_prob: 'linear_prob' is unknown; did you mean linear_probe?",
        ),
        ("engine.cache_gb", -1, "engine.cache_gb: -1.0 is out of range; allowed: 0 or more"),
        ("tasks", 3, "tasks: 3 is no section"),
    ],
)
def test_a_mistake_is_one_line(good, key, value, says):
    with pytest.raises(ParamsError) as caught:
        parse(broken(good, key, value))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1", "params.yaml: not valid YAML"),
        ("- 1\n- 2\n", "params.yaml: list at the top; it must be a mapping of sections"),
        ("\x00", "params.yaml: not valid YAML"),
        ("arms: &a {x: *a}\n", "params.yaml: arms.x: an alias that contains itself; write the values out"),
        ("arms: &a [*a]\n", "params.yaml: arms.0: an alias that contains itself; write the values out"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, text, says):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError) as caught:
        load(path)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_an_absent_file_says_what_writes_it(tmp_path):
    with pytest.raises(ParamsError, match="no such file; write it with: winnow compose"):
        load(tmp_path / "params.yaml")


def keys(value, prefix=""):
    """Every key of nested data, dotted; no plug-in's own settings, which the schema does not know."""
    for name, item in value.items() if isinstance(value, dict) else ():
        path = f"{prefix}.{name}" if prefix else str(name)
        yield path
        if name not in ("settings", "filters", "options", "kwargs", "tasks"):
            yield from keys(item, path)


@pytest.mark.slow
def test_a_default_that_the_file_leaves_to_the_code_is_refused(good, tmp_path):
    """DVC sees no default of the code change (`Policy.chunks`, `View.grey`, ...), so each must stand in the
    file.
    """
    schema = {"seed", "policies.hard.chunks", "policies.hard.inverse_temperature", "run.precision"}
    schema |= {"methods.simclr.views.image.grey", "arms.supervised-hard.version", "reference.pool_model"}
    assert schema <= set(keys(good))
    path = tmp_path / "params.yaml"
    for key in sorted(schema):
        raw = copy.deepcopy(good)
        node = raw
        *above, last = key.split(".")
        for part in above:
            node = node[part]
        del node[last]
        path.write_text(yaml.safe_dump(raw))
        with pytest.raises(ParamsError, match=f"^{key}: not in params.yaml, and its default is an input"):
            load(path)


def test_a_changed_default_is_a_changed_params_yaml(good, tmp_path, monkeypatch):
    """The committed file names every default of the schema, so a change of any of them shows in it, or is
    refused.
    """
    named = set(keys(good))
    for cls, example in ((Policy, "policies.hard"), (Arm, "arms.supervised-hard")):
        assert {f"{example}.{f.name}" for f in dataclasses.fields(cls)} <= named
    assert {f.name for f in dataclasses.fields(Params)} <= named


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("arms.supervised-easy-s0.dvc.reference", "conf/nothing"),
        ("arms.supervised-hard.dvc.reference", "results/reference/models/supervised"),
        ("arms.supervised-hard.dvc.reference_code", "models/methods/supervised.py"),
        ("arms.supervised-easy-s0.dvc.criterion", "hard"),
        ("arms.supervised-easy-s0.dvc.trace", "results/pretrain/supervised-hard/trace.parquet"),
        ("reference.dvc.finished", "elsewhere"),
    ],
)
def test_a_derived_key_that_the_others_contradict_is_refused(good, tmp_path, key, value):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(broken(good, key, value)))
    with pytest.raises(ParamsError, match=f"^{key}: '{value}', but the other keys make it"):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datasheets", ["pool"]),
        ("oracles", []),
        ("ingests", {}),
        ("cells", {}),
        ("comparison", {"pretrain": "conf/nothing", "tasks": "conf/nothing"}),
    ],
)
def test_a_derived_section_that_the_other_keys_contradict_is_refused(good, tmp_path, key, value):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(broken(good, key, value)))
    with pytest.raises(ParamsError, match=f"^{key}: differs from what the other keys make it; write it"):
        load(path)


def test_curating_alone_needs_no_arm(good):
    params = parse(broken(good, "arms", {}))
    assert params.cells == {name: {} for name in params.tasks}
    assert (params.comparison.pretrain, params.comparison.tasks, params.oracles) == (
        "conf/nothing",
        "conf/nothing",
        [],
    )


STAGES = sorted(
    path.stem for path in (Workspace.find().root / "stages").glob("*.py") if path.stem != "__init__"
)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_exits_with_two(stage, copy_project, tmp_path, good):
    project = copy_project(tmp_path / "p")
    (project / "params.yaml").write_text(yaml.safe_dump(broken(good, "pretrain.budgt", 1)))
    command = [sys.executable, "-m", f"stages.{stage}", "supervised-hard"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "params.yaml: pretrain.budgt" in done.stderr


@pytest.mark.slow
def test_a_key_that_a_stage_does_not_have_is_one_line(copy_project, tmp_path):
    project = copy_project(tmp_path / "p")
    for arguments in (
        ["stages.pretrain", "supervised-hardest"],
        ["stages.pretrain"],
        ["stages.compare", "x"],
    ):
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.strip().splitlines() == [done.stderr.strip()]
        assert "is no key of it; allowed: " in done.stderr
