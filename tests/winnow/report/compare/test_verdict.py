"""The verdict in words, over the world's rows with other accuracies."""

import pytest

from winnow.report.compare import corruption, table
from winnow.report.compare.verdict import verdict


@pytest.fixture
def say(world):
    """A function: the verdict on rows, with 1,000 test images."""
    found = corruption.read(world.pool, world.workspace, world.traces)
    return lambda rows: " ".join(verdict(rows, 1000, found))


def rows_of(world, **top1):
    """Rows of these policies with these linear top-1, each at the same spending."""
    plain = table.rows(world.params, world.workspace)[0]
    return [
        {**plain, "policy": policy, "tasks": {**plain["tasks"], "linear_probe.top1": value}}
        for policy, value in top1.items()
    ]


@pytest.mark.parametrize(
    ("top1", "expected"),
    [
        (
            {"uniform": 0.5, "hard": 0.7},
            "hard won: 70.0 % linear-probe top-1 against 50.0 % for uniform, 20.0 points more",
        ),
        # two standard errors at 50.5 % on 1,000 images: 2 sqrt(0.505 * 0.495 * 2 / 1000) = 4.47 points
        (
            {"uniform": 0.5, "hard": 0.505},
            "With supervised, there is no clear difference: hard reached 50.5 % linear-probe top-1 against "
            "50.0 % for uniform, and on 1,000 test images, less than 4.5 points is noise",
        ),
        ({"uniform": 0.5, "hard": 0.3}, "no policy beat uniform: it reached 50.0 % linear-probe top-1"),
        (
            {"uniform": 0.5, "hard": 0.3},
            "the next best, hard, 30.0 % (20.0 points less); hard trained on 8 images (25.0 % corrupted), "
            "uniform on 8",
        ),
        (
            {"uniform": 0.5, "hard": 0.49},
            "hard, 49.0 % (1.0 points less, within the noise of the test set)",
        ),
        ({"uniform": 0.5, "hard": 0.7, "easy": 0.2}, "Uniform beat easy (20.0 %)."),
        ({"easy": 0.5, "hard": 0.7}, "hard is best at 70.0 %; there is no uniform arm to compare with."),
        ({"uniform": 0.5}, "With supervised, only uniform was run: 50.0 % linear-probe top-1."),
    ],
)
def test_verdict(world, say, top1, expected):
    text = say(rows_of(world, **top1))
    assert expected in text
    assert text.startswith("Every arm spent the same, 1.00 kFLOPs")
    assert "n = 1), no statistical significance can be claimed" in text


def test_verdict_says_where_uniform_is_ahead(world, say):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["tasks"]["semi_supervised.top1_1pct"] = 0.1
    assert "By other metrics, uniform is ahead of hard: 1 % labels (40.0 % against 10.0 %)." in say(rows)


def test_verdict_at_unequal_spending_says_so(world, say):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["flops"] = {**rows[1]["flops"], "total": 2000}
    assert say(rows).startswith("The arms spent unequal amounts, 1.00 kFLOPs to 2.00 kFLOPs")


def test_verdict_over_seeds_takes_means(world, say):
    more = [{**row, "seed": 1} for row in rows_of(world, uniform=0.4, hard=0.6)]
    text = say(rows_of(world, uniform=0.5, hard=0.7) + more)
    assert "hard won: 65.0 % linear-probe top-1 against 45.0 %" in text
    assert "Means over at least 2 seeds" in text
