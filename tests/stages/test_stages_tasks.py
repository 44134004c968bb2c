"""The settings of tasks: what cannot work is one line that names the key."""

import pytest

from stages import detection, linear_probe, retrieval, robustness, semi_supervised, zero_shot
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Params

NAN, INFINITE = float("nan"), float("inf")
TASKS = {
    one.__name__.removeprefix("stages."): one
    for one in (linear_probe, semi_supervised, detection, zero_shot, retrieval, robustness)
}


def settings(task, **values):
    return plugin_config(TASKS[task].Config, f"tasks.{task}", values)


@pytest.mark.parametrize("task", TASKS)
def test_defaults_work(task):
    settings(task)


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE, -0.001])
@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("semi_supervised", "lr"),
        ("semi_supervised", "weight_decay"),
        ("detection", "lr"),
        ("linear_probe", "l2"),
        ("robustness", "l2"),
    ],
)
def test_a_rate_that_is_negative_or_not_finite_is_refused(task, key, value):
    """NaN trained for hours, and was found by the first loss."""
    given = [1e-3, value] if key == "l2" else value
    with pytest.raises(ParamsError, match=f"^tasks.{task}.{key}: .* is out of range; allowed: ") as caught:
        settings(task, **{key: given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "key", "value", "says"),
    [
        ("semi_supervised", "lr", 0.0, "lr: 0.0 is out of range; allowed: above 0, finite"),
        ("semi_supervised", "batch_size", 1, "batch_size: 1 is out of range; allowed: 2 or more"),
        ("semi_supervised", "steps", [10, 0], "steps: .* is out of range; allowed: 1 or more"),
        ("linear_probe", "l2", [], "l2: empty; allowed: one or more numbers of 0 or more"),
        ("linear_probe", "lrs", [0.1, 0.0], "lrs: .* is out of range; allowed: above 0, finite"),
        ("linear_probe", "optimiser", "adam", "optimiser: 'adam' is unknown; allowed: lbfgs, sgd, lars"),
        ("linear_probe", "neighbours", [0], "neighbours: .* is out of range; allowed: 1 or more"),
        ("semi_supervised", "draws", 0, "draws: 0 is out of range; allowed: 1 or more"),
        (
            "semi_supervised",
            "classifier",
            "head",
            "classifier: 'head' is unknown; allowed: pooled, projection",
        ),
        ("linear_probe", "iterations", 0, "iterations: 0 is out of range; allowed: 1 or more"),
        ("zero_shot", "templates", [], "templates: empty; allowed: one or more"),
        (
            "zero_shot",
            "templates",
            ["a photo"],
            "templates: 'a photo' is wrong",
        ),
        ("robustness", "severities", [0, 6], "severities: .* is out of range"),
        ("robustness", "severities", [1, 1], "severities: .* names one twice"),
        ("robustness", "images", 0, "images: 0 is out of range; allowed: 1 or more"),
        ("detection", "lr", 0.0, "lr: 0.0 is out of range; allowed: above 0, finite"),
        ("detection", "canvas", 16, "canvas: 16 is out of range; allowed: 32 or more"),
        (
            "detection",
            "objects",
            [3, 1],
            r"objects: \[3, 1\] is wrong; allowed: \[least, most\] with 1 <= least",
        ),
        ("detection", "objects", [2], "objects: .* is wrong; allowed"),
        ("detection", "objects", [0, 2], "objects: .* is out of range; allowed: 1 or more"),
        ("detection", "steps", 0, "steps: 0 is out of range; allowed: 1 or more"),
        ("detection", "stepps", 3, "stepps: not a key; did you mean steps?"),
    ],
)
def test_what_cannot_work_is_one_line(task, key, value, says):
    with pytest.raises(ParamsError, match=f"^tasks.{task}") as caught:
        settings(task, **{key: value})
    assert caught.match(says)
    assert "\n" not in str(caught.value)


def test_there_are_steps_for_each_fraction_of_labels():
    params = Params()
    params.curate.label_fractions = [0.01, 0.1, 1.0]
    semi_supervised.check(params, settings("semi_supervised", steps=[1, 2, 3]))
    with pytest.raises(
        ParamsError, match="tasks.semi_supervised.steps: 2 values for 3 of curate.label_fractions"
    ):
        semi_supervised.check(params, settings("semi_supervised"))


def test_names_in_settings_stand_for_something():
    with pytest.raises(ParamsError, match="^tasks.robustness.corruptions: 'snoww' is unknown; did"):
        robustness.check(Params(), settings("robustness", corruptions=["snoww"]))
    with pytest.raises(ParamsError, match="^tasks.zero_shot.class_names: 'birds' is unknown"):
        zero_shot.check(Params(), settings("zero_shot", class_names={"birds": {"n1": "a bird"}}))
