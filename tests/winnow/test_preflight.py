"""What is refused before anything is spent: plug-ins' settings, backbones, and what does not fit."""

import subprocess
import sys

import pytest
import yaml

from tests.params import broken
from winnow.config.compose import composed
from winnow.config.errors import ParamsError
from winnow.config.load import parse
from winnow.pipeline.workspace import Workspace
from winnow.preflight import check_plugins


@pytest.fixture(scope="module")
def good():
    """The default experiment, with a method that reads no labels beside it."""
    overrides = ["+method@methods.simclr=simclr", "reference.methods=[supervised,simclr]"]
    return composed(overrides, Workspace.find().conf)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (
            "methods.simclr.settings.temprature",
            0.1,
            "methods.simclr.settings.temprature: not a key; did you mean temperature?",
        ),
        (
            "methods.simclr.settings.temperature",
            -1.0,
            "methods.simclr.settings: temperature: -1.0 is out of range",
        ),
        (
            "methods.simclr.views.image.count",
            3,
            "methods.simclr.views.image.count: 3 is out of range; allowed: [2, 2]",
        ),
        ("curate.filters.blank.min_sd", 1, "curate.filters.blank.min_sd: not a key; did you mean min_std?"),
        (
            "curate.filters",
            {"alignment": {"fraction": 0.3}},
            "curate.filters.alignment: needs embedding, text_embedding, which do not exist",
        ),
        (
            "versions",
            {"a": {"filters": {"label_error": {}}}},
            "versions.a.model: null, and filter label_error needs embeddings",
        ),
        (
            "versions",
            {"a": {"filters": {"label_error": {"folds": 1}}}},
            "versions.a.filters.label_error.folds: 1 is out of range",
        ),
        (
            "methods.simclr.optimiser",
            "adamww",
            "methods.simclr.optimiser: 'adamww' is no optimiser of timm; near",
        ),
        (
            "backbones.resnet10t.kwargs",
            {"depth": 3},
            "backbones.resnet10t: resnet10t at image_size 28 with kwargs",
        ),
        (
            "backbones.resnet10t.kwargs",
            {"stem_type": 7},
            "backbones.resnet10t: resnet10t at image_size 28 with",
        ),
        (
            "curate.label_fractions",
            [0.1],
            "tasks.semi_supervised.steps: 2 values for 1 of curate.label_fractions; give one for each",
        ),
        ("tasks.detection.objects", [4, 1], "tasks.detection: objects: [4, 1] is wrong; allowed"),
        (
            "tasks.semi_supervised.classifier",
            "projection",
            "tasks.semi_supervised.classifier: projection, but method supervised of arm supervised-",
        ),
        (
            "tasks.semi_supervised.optimiser",
            "sgdd",
            "tasks.semi_supervised.optimiser: 'sgdd' is unknown; did",
        ),
        (
            "tasks.semi_supervised.lists",
            {"hold_out": "lists"},
            "tasks.semi_supervised.lists: 'hold_out' is unknown; did you mean held_out?",
        ),
        (
            "arms.supervised-pixels.frozen",
            False,
            "backbones.pixels.name: pixels has nothing to train, and arms.supervised-pixels trains it; set",
        ),
        ("reference.backbone", "pixels", "reference.backbone: backbones.pixels.name: pixels has nothing to"),
        ("tasks.semi_supervised.lr", float("nan"), "tasks.semi_supervised.lr: nan is out of range"),
        ("tasks.compare", {}, "tasks.compare: stages/compare.py has no Config, so it is no task"),
    ],
)
def test_a_plugins_own_keys_are_checked_too(good, key, value, says):
    with pytest.raises(ParamsError, match=says.replace("[", r"\[").replace("?", r"\?")):
        check_plugins(parse(broken(good, key, value)))


@pytest.mark.slow
def test_a_filter_in_the_wrong_place_stops_curate_itself(copy_project, tmp_path, good):
    """A change of curate.filters alone runs no earlier stage that would have said so."""
    project = copy_project(tmp_path / "p")
    (project / "params.yaml").write_text(yaml.safe_dump(broken(good, "curate.filters", {"leakage": {}})))
    done = subprocess.run(
        [sys.executable, "-m", "stages.curate"], cwd=project, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [done.stderr.strip()]
    assert (
        "curate.filters.leakage: needs embedding, held_out, which do not exist before curate" in done.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "method", "says"),
    [
        (
            {"criterion": "learnability", "sampler": "joint"},
            "supervised",
            "policies.hard.sampler: joint selects pairs",
        ),
        (
            {"criterion": "hard", "per_class": True},
            "simclr",
            "policies.hard.per_class: true, but method simclr reads no labels; set it to false",
        ),
        (
            {"criterion": "hard", "sampler": "joint", "per_class": True},
            "supervised",
            "policies.hard.sampler: joint selects pairs",
        ),
        (
            {"criterion": "uniform", "sampler": "joint"},
            "simclr",
            "policies.hard.criterion: uniform has no score of pairs",
        ),
        (
            {"criterion": "hard", "scorer": "frozen"},
            "simclr",
            "reference.pool_model: false, and policy hard scores by it",
        ),
        (
            {"criterion": "hard", "sampler": "joint", "scorer": "frozen"},
            "simclr",
            "policies.hard.criterion: hard needs a scorer",
        ),
        (
            {"criterion": "gradient_norm"},
            "simclr",
            "policies.hard.criterion: gradient_norm needs a classifier",
        ),
        (
            {"criterion": "hard", "patch_size": 8},
            "supervised",
            "policies.hard.patch_size: 8, but resnet10t cuts no patches; set it to null",
        ),
        (
            {
                "criterion": "hard",
                "proxy": {"name": "test_vit", "kwargs": {"patch_size": 4}},
                "scorer": "proxy",
                "resolution": 18,
            },
            "supervised",
            "policies.hard: resolution 18, patch_size None: test_vit cannot process 18 px: patches of 4 px "
            "do not divide images",
        ),
        (
            {"criterion": "hard", "resolution": 64},
            "supervised",
            "policies.hard.resolution: 64 is more than",
        ),
        (
            {"criterion": "gradient_norm", "scorer": "frozen"},
            "supervised",
            "policies.hard.scorer: frozen has losses only",
        ),
        (
            {"criterion": "hard", "proxy": {"name": "resnt10t"}, "scorer": "proxy"},
            "supervised",
            "policies.hard.proxy.name: 'resnt10t' is no timm model; near names: resnet10t",
        ),
        (
            {"criterion": "hard", "online": {"name": "test_byobnet"}},
            "supervised",
            "policies.hard.online: test_byobnet, but hard with scorer learner uses no online reference; set "
            "it to null",
        ),
    ],
)
def test_a_policy_that_does_not_fit_its_method_is_one_line_before_the_first_stage(good, policy, method, says):
    with pytest.raises(ParamsError) as caught:
        check_plugins(
            parse(broken(broken(good, "policies.hard", policy), "arms.supervised-hard.method", method))
        )
    assert str(caught.value).startswith(says)


def test_a_missing_reference_is_known_before_the_first_stage(good):
    with pytest.raises(
        ParamsError,
        match="reference.methods: supervised is missing, and policy easy needs its reference; add it",
    ):
        check_plugins(parse(broken(good, "reference.methods", ["simclr"])))


def test_options_of_a_source_without_any_are_refused(good):
    key = "datasets.pool.fashion_mnist.options"
    says = f"{key}: {{'vendors': 3}}, but source fashion_mnist has none; leave them out"
    with pytest.raises(ParamsError, match=says):
        check_plugins(parse(broken(good, key, {"vendors": 3})))
