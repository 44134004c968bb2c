"""The report's pictures: which are drawn, that equal numbers are equal bytes, and that labels keep apart."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from winnow.report.compare import axes, balance, corruption, inputs, look, plots, table
from winnow.report.compare.columns import main_column
from winnow.report.compare.courses import training_curves
from winnow.report.compare.scatter import accuracy
from winnow.report.compare.views import SECONDS

ALL = {
    "curves",
    "curves_examples",
    "accuracy_flops",
    "accuracy_gco2e",
    "spending",
    "corruption_shares",
    "corruption_over_training",
    "class_balance",
}


def curves(world):
    return {arm: inputs.curve(world.workspace, arm) for arm in world.params.arms}


def draw(world, folder, **changes):
    rows = [{**row, **changes} for row in table.rows(world.params, world.workspace)]
    found = corruption.read(world.pool, world.workspace, world.traces)
    return plots.draw(
        folder, rows, curves(world), found, balance.read(world.pool, world.workspace, world.traces)
    )


@pytest.mark.slow
def test_equal_numbers_are_equal_bytes_without_date_or_software(world, tmp_path):
    first, again = draw(world, tmp_path / "a"), draw(world, tmp_path / "b")
    assert set(first) == ALL
    for name, path in first.items():
        data = path.read_bytes()
        assert data == again[name].read_bytes()
        picture = Image.open(io.BytesIO(data))
        assert set(picture.info) <= {"dpi"}
        assert picture.width >= 1000


@pytest.mark.slow
def test_without_energy_there_is_no_picture_of_it(world, tmp_path):
    assert set(draw(world, tmp_path / "a", gco2e=None)) == ALL - {"accuracy_gco2e"}


def test_an_arm_of_unknown_energy_is_left_out_and_named(world):
    rows = table.rows(world.params, world.workspace)
    rows[0]["gco2e"] = None
    figure = accuracy(rows, look.Look.of(rows), main_column(rows), "gco2e")
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["supervised", "plain: cost unknown"]
    plots.plt.close(figure)


def test_a_curve_begins_after_what_was_paid_for_the_reference(world):
    rows = table.rows(world.params, world.workspace)
    figure = training_curves(rows, curves(world), look.Look.of(rows))
    lines = [line.get_xdata().tolist() for line in figure.axes[0].get_lines()]
    plots.plt.close(figure)
    assert lines == [[500, 1000], [600, 1000], [0, 200]]  # two curves, and the bar of the one that pays


def test_a_curve_that_ends_early_is_led_on_to_its_name(world):
    """Against seconds: `plain` is at its end at 10 s, `chosen` at 40 s."""
    rows = table.rows(world.params, world.workspace)
    timed = {row["arm"]: inputs.timed_curve(world.workspace, row["arm"], row["seconds"]) for row in rows}
    figure = training_curves(rows, timed, look.Look.of(rows), SECONDS)
    lines = [list(line.get_xdata()) for line in figure.axes[0].get_lines()]
    plots.plt.close(figure)
    assert lines == [[5, 10], [30, 40], [10, 40]]  # two curves, and the dotted line; no bars


def test_seeds_are_drawn_behind_their_mean(world):
    rows = table.rows(world.params, world.workspace)
    known = curves(world)
    seeds = {"plain": [known["plain"]] * 3}
    figure = training_curves(rows, known, look.Look.of(rows), seeds=seeds)
    thin = [line for line in figure.axes[0].get_lines() if line.get_linewidth() < 1]
    plots.plt.close(figure)
    assert [list(line.get_ydata()) for line in thin] == [[0.3, 0.5]] * 3


def test_one_colour_a_policy_and_one_marker_a_method():
    rows = [
        {"policy": p, "method": m, "version": "pool", "mixture": None}
        for m in ("x", "y")
        for p in ("hard", "uniform", "easy")
    ]
    found = look.Look.of([*rows, {**rows[1], "version": "small"}])
    assert found.colours["uniform"] == look.GREY
    assert len(set(found.colours.values())) == 4
    assert "small" in found.colours
    assert found.markers == {"x": "o", "y": "s"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 5.0], [0.0, 5.0]), ([1.0, 1.0], [0.5, 1.5]), ([2.0, 0.0, 2.0], [1.5, 0.0, 2.5]), ([], [])],
)
def test_spread(values, expected):
    assert axes.spread(values, 1.0) == expected


@given(st.lists(st.floats(-100, 100), max_size=12))
def test_spread_keeps_apart_and_in_order(values):
    moved = axes.spread(values, 1.0)
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    heights = [moved[i] for i in order]
    assert all(high - low >= 1 - 1e-6 for low, high in pairwise(heights))
    assert sum(moved) == pytest.approx(sum(values), abs=1e-6)
