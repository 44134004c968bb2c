"""The filters of one column, each by its definition; and applying several in their order."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter

from tests.vectors import numbered
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.plugins import load_plugin, plugins
from winnow.filters import (
    apply_filters,
    aspect,
    blank,
    blur,
    exact_duplicate,
    exposure,
    extras,
    tiny,
    verdicts,
)
from winnow.pool.images import statistics


def table(**columns):
    n = len(next(iter(columns.values())))
    return pa.table({"uid": columns.pop("uid", numbered(n)), **columns})


def kept(answer):
    assert answer.column_names == ["uid", "keep", "reason"]
    keep = answer["keep"].to_pylist()
    assert [reason is None for reason in answer["reason"].to_pylist()] == keep, "a drop always has a reason"
    return keep


def test_tiny_is_by_the_shorter_side():
    pool = table(width=[8, 7, 100, 8], height=[8, 100, 7, 9])
    assert kept(tiny.apply(pool, tiny.Config(min_side=8))) == [True, False, False, True]


def test_blank_is_by_the_spread_of_grey_levels():
    assert kept(blank.apply(table(std=[0.0, 3.9, 4.0]), blank.Config(min_std=4.0))) == [False, False, True]


def test_aspect_is_the_longer_side_over_the_shorter():
    pool = table(width=[300, 301, 100, 100, 5], height=[100, 100, 300, 301, 0])
    assert kept(aspect.apply(pool, aspect.Config(max_ratio=3.0))) == [True, False, True, False, False]


def test_exposure_distinguishes_dark_and_bright():
    answer = exposure.apply(table(mean=[9.9, 10.0, 245.0, 245.1]), exposure.Config(darkest=10, brightest=245))
    assert kept(answer) == [False, True, True, False]
    assert answer["reason"].to_pylist() == ["dark", None, None, "bright"]


def test_blur_is_by_the_edges():
    answer = blur.apply(table(sharpness=[0.0, 19.9, 20.0]), blur.Config(min_sharpness=20.0))
    assert kept(answer) == [False, False, True]


@pytest.mark.parametrize("size", [256, 1600])
def test_a_blurred_image_is_less_sharp_than_a_sharp_one_at_any_size(size):
    """A checkerboard of squares of an eighth, and the same after a Gaussian blur of a 32nd of its side."""
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((size // 8, size // 8))) * 200 + 20
    sharp = Image.fromarray(squares.astype(np.uint8))
    soft = sharp.filter(ImageFilter.GaussianBlur(size / 32))
    assert statistics(soft).sharpness < blur.Config().min_sharpness < statistics(sharp).sharpness


def test_exact_duplicate_keeps_the_first():
    answer = exact_duplicate.apply(table(uid=["b", "a", "b", "a", "c"]), exact_duplicate.Config())
    assert kept(answer) == [True, True, False, False, True]


@pytest.mark.parametrize("reason", ["tiny", np.array(["tiny", "tiny", "tiny"])])
def test_verdicts_have_a_reason_for_all_rows_or_one_each(reason):
    answer = verdicts(table(width=[1, 2, 3]), np.array([True, False, True]), reason)
    assert kept(answer) == [True, False, True]
    assert answer["reason"].to_pylist() == [None, "tiny", None]
    assert kept(verdicts(table(width=[]), np.zeros(0, bool), reason[:0])) == []


def test_each_filter_gets_what_the_earlier_ones_kept():
    pool = table(width=[8, 1, 8, 8], height=[8, 8, 8, 80], std=[9.0, 0.0, 0.0, 9.0])
    reasons, steps = apply_filters(pool, {"tiny": None, "blank": {"min_std": 5}, "aspect": {}}, "k")
    assert reasons.tolist() == [None, "tiny", "blank", "aspect"]
    assert [(s.filter, s.rows, s.dropped.tolist()) for s in steps] == [
        ("tiny", 4, ["tiny"]),
        ("blank", 3, ["blank"]),
        ("aspect", 2, ["aspect"]),
    ]


def test_nothing_is_embedded_for_a_filter_that_gets_no_rows():
    """A filter that needs embeddings comes after one that drops all: no model is called."""
    filters = {"blank": {}, "semantic_duplicate": {}}
    reasons, steps = apply_filters(
        table(std=[0.0]), filters, "k", prepare=lambda *_: pytest.fail("a model was called")
    )
    assert reasons.tolist() == ["blank"]
    assert [step.filter for step in steps] == ["blank"]


def test_extras_are_those_of_all_filters():
    assert extras(["tiny"]) == ([], [])
    assert extras(["alignment", "leakage", "retrieval"]) == (
        ["embedding", "text_embedding"],
        ["held_out", "reference"],
    )


@pytest.mark.parametrize("name", plugins("winnow.filters"))
def test_every_setting_has_a_default_that_its_own_check_accepts(name):
    module = load_plugin("winnow.filters", name)
    block = {"fraction": 0.3} if name == "alignment" else {}  # one of two must be given
    assert dataclasses.asdict(plugin_config(module.Config, "k", block)) == dataclasses.asdict(
        module.Config(**block)
    )


@pytest.mark.parametrize("name", plugins("winnow.filters"))
def test_a_filter_is_explained_by_the_first_line_of_its_file(name):
    """Which the datasheet shows: one whole sentence."""
    first = load_plugin("winnow.filters", name).__doc__.splitlines()[0]
    assert first.startswith(f"{name}: ")
    assert first.endswith(".")


@pytest.mark.parametrize(
    ("name", "block", "line"),
    [
        (
            "near_duplicate",
            {"max_distance": 200},
            r"k.max_distance: 200 is out of range; allowed: \[0, 128\)",
        ),
        ("caption", {"min_words": -1}, "k.min_words: -1 is out of range; allowed: 0 or more"),
        ("aspect", {"max_ratio": 0.5}, "k.max_ratio: 0.5 is out of range; allowed: 1 or more"),
        ("blank", {"min_std": float("nan")}, "k.min_std: nan is out of range"),
        (
            "semantic_duplicate",
            {"max_similarity": 1.5},
            r"k.max_similarity: 1.5 is out of range; allowed: \(-1, 1\]",
        ),
        ("semantic_duplicate", {"keep": "last"}, "k.keep: 'last' is unknown; .*llowed: first, far, near"),
        ("semantic_duplicate", {"way": "x"}, "k.way: 'x' is unknown; allowed: greedy, components"),
        ("semantic_duplicate", {"clusters": 0}, "k.clusters: 0 is out of range; allowed: 1 or more"),
        ("leakage", {"near": 2.0}, r"k.near: 2.0 is out of range; allowed: \(-1, 1\]"),
        ("leakage", {"joined": -1.0}, "k.joined: -1.0 is out of range"),
        ("leakage", {"neighbours": 0}, "k.neighbours: 0 is out of range; allowed: 1 or more"),
        ("retrieval", {"mode": "x"}, "k.mode: 'x' is unknown; allowed: sample, cluster"),
        ("retrieval", {"neighbours": 0}, "k.neighbours: 0 is out of range"),
        ("retrieval", {"clusters": 0}, "k.clusters: 0 is out of range"),
        ("retrieval", {"min_queries": -1}, "k.min_queries: -1 is out of range"),
        ("retrieval", {"per_cluster": 0}, "k.per_cluster: 0 is out of range"),
        ("retrieval", {"most": 0}, "k.most: 0 is out of range"),
        ("balanced", {"target": 0.0}, "k.target: 0.0 is out of range; allowed: above 0"),
        (
            "balanced",
            {"target": 2.5},
            "k.target: 2.5 is no number of images; allowed: a fraction up to 1, or a",
        ),
        ("balanced", {"iterations": 0}, "k.iterations: 0 is out of range"),
        ("balanced", {"pick": "x"}, "k.pick: 'x' is unknown; allowed: random, first, near"),
        (
            "balanced",
            {"levels": [{"clusters": 9}, {"clusters": 0}]},
            r"k.levels\[1\].clusters: 0 is out of range; allowed: 1 or more",
        ),
        ("alignment", {}, "k: threshold and fraction are null; give one, such as fraction: 0.3"),
        ("alignment", {"threshold": 30.0}, r"k.threshold: 30.0 is out of range; allowed: \[-1, 1\]"),
        ("alignment", {"fraction": 30.0}, r"k.fraction: 30.0 is out of range; allowed: \(0, 1\]"),
        ("alignment", {"fraction": 0.0}, "k.fraction: 0.0 is out of range"),
        ("label_error", {"learn_from": "web"}, "k.learn_from: 'web' is unknown; allowed: pool, reference"),
        ("label_error", {"folds": 1}, "k.folds: 1 is out of range; allowed: 2 or more"),
        ("label_error", {"l2": 0.0}, "k.l2: 0.0 is out of range; allowed: above 0"),
        ("label_error", {"examples": 0}, "k.examples: 0 is out of range; allowed: 1 or more"),
        ("class_distribution", {"slack": 1.0}, r"k.slack: 1.0 is out of range; allowed: \[0, 1\)"),
        (
            "class_distribution",
            {"target": "even"},
            "k.target: 'even' is no distribution; allowed: uniform, ref",
        ),
        ("class_distribution", {"target": None}, "k.target: None is no distribution"),
        (
            "class_distribution",
            {"target": {}},
            "k.target: .* has no shares; allowed: numbers of 0 or more, not all",
        ),
        ("class_distribution", {"target": {"cat": -1}}, "k.target: .* has no shares"),
        ("class_distribution", {"target": {"cat": float("nan")}}, "k.target: .* has no shares"),
        ("class_distribution", {"target": {"cat": "half"}}, "k.target: .* has no shares"),
        ("concepts", {"cap": 0}, "k.cap: 0 is out of range; allowed: 1 or more"),
        (
            "concepts",
            {"entries": []},
            r"k.entries: \[\] names no concepts; allowed: classes, words, the path of a",
        ),
        ("concepts", {"entries": 3}, "k.entries: 3 names no concepts"),
    ],
)
def test_a_wrong_setting_is_one_line(name, block, line):
    with pytest.raises(ParamsError, match=f"^{line}") as error:
        plugin_config(load_plugin("winnow.filters", name).Config, "k", block)
    assert "\n" not in str(error.value)
