"""The steps of a version in words."""

import pytest

from winnow.config.plugins import plugins
from winnow.report.version.steps import explain, settings


@pytest.mark.parametrize("name", plugins("winnow.filters"))
def test_every_filter_explains_its_drops(name):
    text = explain(name)
    assert text
    assert not text.startswith(name)
    assert "\n" not in text


def test_a_reason_is_explained_by_the_step_that_gave_it():
    assert explain("bright", [{"name": "exposure", "dropped": {"bright": 2}}]) == explain("exposure")


def test_what_no_filter_gave_is_not_explained():
    assert explain("a_reason_without_a_file") == ""
    assert explain("../__init__") == ""


def test_long_parameters_are_cut():
    assert settings({"words": ["x" * 300], "min_std": 4.0}) == ['words ["' + "x" * 92 + "…", "min_std 4.0"]
