"""Every mistake in params.yaml or an override is one line that names the key, the value and what is allowed."""

import copy
import subprocess
import sys

import pytest
import yaml

from stages import compose
from stages.params import ROOT, ParamsError, load, parse, plugins
from stages.params_check import check_plugins


@pytest.fixture(scope="module")
def good():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


def broken(good, key, value):
    raw = copy.deepcopy(good)
    node = raw
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return raw


def test_committed_params_are_what_conf_composes_to(good):
    assert compose.composed([]) == good, "params.yaml has drifted from conf/; run: winnow compose"


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "conf/policy").glob("*.yaml")))
def test_every_committed_policy_composes(name):
    composed = ["+policy@policies.tried=" + name, "dataset=digits"]
    assert parse(compose.composed(composed)).policies["tried"].criterion in plugins("models.criteria")


@pytest.mark.parametrize(
    "overrides",
    [
        ["scale=debug"],
        ["dataset=digits"],
        ["experiment=methods"],
        ["dataset=folder", "dataset.path=x"],
        ["experiment=dataset_versions"],
    ],
)
def test_every_committed_choice_composes(overrides):
    check_plugins(parse(compose.composed(overrides)))


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("pretrain.budgt", 1, "pretrain.budgt: not a key; did you mean budget? Allowed"),
        ("pretrain.budget", "many", "pretrain.budget: Value 'many' of type 'str' could not be converted to Float"),
        ("pretrain.budget", 0, "pretrain.budget: 0"),
        (
            "policies.hard.criterion",
            "hrad",
            "policies.hard.criterion: 'hrad' is unknown; allowed: easy, gradient_norm, hard, learnability, rho, uniform",
        ),
        ("policies.hard.ratio", 1.0, "policies.hard.ratio: 1.0 is out of range; allowed: [0, 1)"),
        ("policies.hard.sampler", "jiont", "policies.hard.sampler: 'jiont' is unknown; allowed: top_k, softmax, joint"),
        ("policies.hard.scorer", "actor", "policies.hard.scorer: 'actor' is unknown; allowed: learner, proxy, frozen, replay"),
        ("policies.hard", {"criterion": "hard", "sampler": "joint", "chunks": 3}, "policies.hard.chunks: 3 does not divide"),
        ("policies.hard", {"criterion": "hard", "coarse": True}, "policies.hard.coarse: true, but policies.hard.resolution and"),
        ("policies.hard", {"criterion": "hard", "scorer": "proxy"}, "policies.hard.proxy: null, but the scorer is proxy"),
        ("policies.hard", {"criterion": "uniform", "scorer": "replay"}, "arms.supervised-hard.after: 'data/splits' is no trace"),
        ("policies.hard", {"criterion": "uniform", "scorer": "replay", "sampler": "joint"}, "policies.hard.scorer: replay takes what"),
        ("arms.supervised-hard.after", "results/x", "arms.supervised-hard.after: 'results/x', but policy hard reads no file"),
        ("arms.supervised-hard.policy", "hardest", "arms.supervised-hard.policy: 'hardest' is unknown; allowed: uniform, hard"),
        ("arms.supervised-hard.version", "deduped", "arms.supervised-hard.version: 'deduped' is unknown; allowed: pool"),
        (
            "versions",
            {"pool": {"filters": {"blank": {}}}},
            "versions.pool: a name becomes a folder; allowed: letters, digits, - and _, but",
        ),
        ("versions", {"a": {"parent": "b", "filters": {"blank": {}}}}, "versions.a.parent: 'b' is unknown; allowed: pool"),
        (
            "versions",
            {"a": {"parent": "b", "filters": {"blank": {}}}, "b": {"parent": "a", "filters": {"blank": {}}}},
            "versions.a.parent: a <- b <- a goes round; let one descend from pool",
        ),
        ("versions", {"a": {}}, "versions.a.filters: empty; name at least one of"),
        ("versions", {"a": {"filters": {"blury": {}}}}, "versions.a.filters.blury: 'blury' is unknown; allowed: "),
        ("arms", {}, "arms: empty"),
        (
            "dataset.source",
            "imagenet",
            "dataset.source: 'imagenet' is unknown; allowed: coco, digits, emoji, fashion_mnist,",
        ),
        ("dataset.path", "???", "dataset.path: has no value"),
        ("dataset.pollution.noise", 1.5, "dataset.pollution.noise: 1.5 is out of range; allowed: [0, 1]"),
        ("curate.filters", {"blurry": {}}, "curate.filters.blurry: 'blurry' is unknown; allowed: alignment, aspect, balanced, blank"),
        ("methods.simclr.views.image.scale", [0.5, 2.0], "methods.simclr.views.image.scale: [0.5, 2.0] is out of range"),
        ("run.precision", "fp8", "run.precision: 'fp8' is unknown; allowed: 32-true, bf16-mixed"),
        ("carbon.country", "GERMANY", "carbon.country: 'GERMANY' is unknown"),
        ("semi_supervised.steps", [5], "semi_supervised.steps: 1 values for 2 fractions"),
        ("reference.methods", ["dinov9"], "reference.methods: 'dinov9' is unknown"),
        ("linear_probe", 3, "linear_probe"),
    ],
)
def test_a_mistake_is_one_line(good, key, value, says):
    with pytest.raises(ParamsError) as caught:
        parse(broken(good, key, value))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("methods.simclr.settings.temprature", 0.1, "methods.simclr.settings.temprature: not a key; did you mean temperature?"),
        ("methods.simclr.settings.temperature", -1.0, "methods.simclr.settings: temperature: -1.0 is out of range"),
        ("methods.simclr.views.image.count", 3, "methods.simclr.views.image.count: 3 is out of range; allowed: [2, 2]"),
        ("curate.filters.blank.min_sd", 1, "curate.filters.blank.min_sd: not a key; did you mean min_std?"),
        (
            "curate.filters",
            {"alignment": {"fraction": 0.3}},
            "curate.filters.alignment: asks for embedding, text_embedding, which is not",
        ),
        (
            "versions",
            {"a": {"filters": {"label_error": {}}}},
            "versions.a.model: data/splits, and filter label_error looks at embeddings",
        ),
        ("versions", {"a": {"filters": {"label_error": {"folds": 1}}}}, "versions.a.filters.label_error: folds: 1 is out of range"),
    ],
)
def test_a_plugins_own_keys_are_checked_too(good, key, value, says):
    with pytest.raises(ParamsError, match=says.replace("[", r"\[").replace("?", r"\?")):
        check_plugins(parse(broken(good, key, value)))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("scale=debg", "scale=debg"),
        ("pretrain.budgt=1", "pretrain.budgt"),
        ("pretrain.budget=abc", "pretrain.budget"),
        ("=", "="),
    ],
)
def test_a_wrong_override_is_one_line(override, says):
    with pytest.raises(ParamsError) as caught:
        compose.composed([override])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "file://" not in str(caught.value)


def test_a_broken_file_is_one_line(tmp_path):
    for text in ("a: [1", "- 1\n- 2\n", "\x00"):
        path = tmp_path / "params.yaml"
        path.write_text(text)
        with pytest.raises(ParamsError):
            load(path)
    with pytest.raises(ParamsError, match="winnow compose"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "stage", ["ingest", "curate", "reference", "pretrain", "linear_probe", "semi_supervised", "detection", "compare"]
)
def test_every_stage_exits_with_two(stage, copy_project, tmp_path, good):
    project = copy_project(tmp_path / "p")
    (project / "params.yaml").write_text(yaml.safe_dump(broken(good, "pretrain.budgt", 1)))
    arm = ["--arm", "supervised-hard"] if stage in {"pretrain", "linear_probe", "semi_supervised", "detection"} else []
    done = subprocess.run([sys.executable, "-m", f"stages.{stage}", *arm], cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "params.yaml: pretrain.budgt" in done.stderr


def test_a_filter_in_the_wrong_place_stops_curate_itself(copy_project, tmp_path, good):
    """A change of curate.filters alone runs no earlier stage that would have said so."""
    project = copy_project(tmp_path / "p")
    (project / "params.yaml").write_text(yaml.safe_dump(broken(good, "curate.filters", {"leakage": {}})))
    done = subprocess.run([sys.executable, "-m", "stages.curate"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert "curate.filters.leakage: asks for embedding, held_out, which is not there yet" in done.stderr


@pytest.mark.parametrize(
    ("policy", "method", "says"),
    [
        (
            {"criterion": "learnability", "sampler": "joint"},
            "supervised",
            "policies.hard.sampler: joint selects pairs",
        ),
        ({"criterion": "uniform", "sampler": "joint"}, "simclr", "policies.hard.criterion: uniform has no score of pairs"),
        ({"criterion": "hard", "scorer": "frozen"}, "simclr", "reference.twin: false, and policy hard scores by it"),
        ({"criterion": "hard", "sampler": "joint", "scorer": "frozen"}, "simclr", "policies.hard.criterion: hard needs a scorer"),
        (
            {"criterion": "gradient_norm"},
            "simclr",
            "policies.hard.criterion: gradient_norm needs a classifier",
        ),
        (
            {"criterion": "hard", "patch": 8},
            "supervised",
            "policies.hard.patch: 8, but resnet10t cuts no patches; set it to null",
        ),
        (
            {"criterion": "hard", "proxy": {"name": "test_vit", "kwargs": {"patch_size": 4}}, "scorer": "proxy", "resolution": 18},
            "supervised",
            "policies.hard: resolution 18, patch None: test_vit cannot look at 18 px: patches of 4 px do not divide images",
        ),
        (
            {"criterion": "hard", "resolution": 64},
            "supervised",
            "policies.hard.resolution: 64 is more than",
        ),
        ({"criterion": "gradient_norm", "scorer": "frozen"}, "supervised", "policies.hard.scorer: frozen keeps losses"),
        (
            {"criterion": "hard", "proxy": {"name": "resnt10t"}, "scorer": "proxy"},
            "supervised",
            "policies.hard.proxy.name: 'resnt10t' is no timm model; near names: resnet10t",
        ),
        (
            {"criterion": "hard", "online": {"name": "test_byobnet"}},
            "supervised",
            "policies.hard.online: test_byobnet, but hard with scorer learner asks no online reference; set it to null",
        ),
    ],
)
def test_a_policy_that_does_not_fit_its_method_is_one_line_before_the_first_stage(good, policy, method, says):
    with pytest.raises(ParamsError) as caught:
        check_plugins(parse(broken(broken(good, "policies.hard", policy), "arms.supervised-hard.method", method)))
    assert str(caught.value).startswith(says)


def test_a_missing_reference_is_known_before_the_first_stage(good):
    with pytest.raises(ParamsError, match="reference.methods: simclr is missing, and policy learnability needs its reference; add it"):
        check_plugins(parse(broken(good, "reference.methods", ["supervised"])))


def test_options_of_a_source_without_any_are_refused(good):
    with pytest.raises(ParamsError, match="dataset.options: {'vendors': 3}, but source fashion_mnist has none; take them out"):
        check_plugins(parse(broken(good, "dataset.options", {"vendors": 3})))
