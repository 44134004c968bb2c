"""table.md: the comparison as a table for a terminal and for GitHub."""

from collections.abc import Mapping, Sequence

from winnow.config.schema import POOL
from winnow.ledger.energy import QUALITIES
from winnow.report.compare.columns import Row, headlines, main_column, sets_of
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.table import CONTROL, FLOPS, choice, ranked
from winnow.report.compare.verdict import against_best_control
from winnow.report.compare.worth import known
from winnow.report.page import numbers

SHORT = {"reference": "ref"}


def markdown(
    groups: Sequence[Group],
    corrupted: Mapping[str, float],
    intervals: Intervals,
    note: str | None = None,
) -> str:
    """The table, whose columns line up without being rendered; seeds of one choice are one line.

    Args:
        corrupted: maps each group to the share of corrupted examples among those that it trained on.
        note: stands above the table.
    """
    seeds, against = {one.name: len(one.rows) for one in groups}, against_best_control(groups, intervals)
    table = ranked(one.row for one in groups)
    if not table:
        return "No arms: this run curates and trains nothing; `winnow show pool` says what it kept.\n"
    columns = headlines(table)
    several = len({one.group for one in columns}) > 1
    titles = [one.name if several else one.title for one in columns]
    refined = any(row["version"] != POOL for row in table)  # else the column would only say `pool`
    qualities = "/".join(sorted({row["energy_quality"] for row in table}, key=QUALITIES.index))
    names = ["arm", "policy", "method", *(["version"] if refined else [])]
    several_seeds = max(seeds.values()) > 1
    shown = {"curate": refined, "weights": any("weights" in row for row in table)}
    parts = [part for part in FLOPS[:-1] if shown.get(part, True)]
    planted = any(corrupted.values())
    head = [*names, *(["seeds"] if several_seeds else []), *titles]
    head += [f"against the best control{_of(table)}"] if against else []
    head += [
        *(["corrupted share"] if planted else []),
        "FLOPs total",
        " + ".join(SHORT.get(part, part) for part in parts),
        f"CO2e ({qualities})",
        "time",
    ]
    body = []
    for row in table:
        arm = row["arm"]
        line = _chosen(row, names) + ([str(seeds[arm])] if several_seeds else [])
        line += [numbers.percent_of(one.value(row), intervals.of(arm, one)) for one in columns]
        line += [against.get(arm, "–")] if against else []
        body.append(line + _corrupted(row, corrupted, planted) + _costs(row, parts))
    known = any("±" in cell for line in body for cell in line)
    text = _aligned([head, *body], len(names)) + (f"\n{legend(several_seeds)}\n" if known else "")
    return f"> **{note}**\n\n{text}" if note else text


def _of(table: Sequence[Row]) -> str:
    """What the difference is of, where there are several sets."""
    column = main_column(table)
    return f", {column.name}" if column and len(sets_of(table)) > 1 else ""


def legend(several_seeds: bool) -> str:
    """What the intervals of the table are."""
    over = "seeds and test images" if several_seeds else "the test images alone, for there is one seed an arm"
    return f"± and brackets: 95 % intervals over {over}, in percentage points."


def _corrupted(row: Row, corrupted: Mapping[str, float], planted: bool) -> list[str]:
    """The cell of the corrupted share, where corruption was planted."""
    share = corrupted[row["arm"]] if row["examples_seen"] else None
    return [numbers.percent(share)] if planted else []


def _chosen(row: Row, names: list[str]) -> list[str]:
    row = {**row, "policy": choice(row) if row.get("frozen") else row["policy"]}
    return [_of_mixture(row) if name == "version" else str(row[name]) for name in names]


def _costs(row: Row, parts: list[str]) -> list[str]:
    spent = row["flops"]
    split = " + ".join(_share(spent.get(part, 0), spent["total"]) for part in parts)
    return [
        numbers.flops(spent["total"]) + ("" if known(row) else f" + {numbers.UNKNOWN}"),
        f"{split} %",
        numbers.grams(row["gco2e"]),
        numbers.seconds(row["seconds"]),
    ]


def _share(spent: int | None, total: int) -> str:
    return numbers.UNKNOWN if spent is None else f"{100 * spent / (total or 1):.0f}"


def _of_mixture(row: Row) -> str:
    """The version, with the shares of a mixture."""
    return choice(row | {"policy": CONTROL, "selects_from": None}) if row["mixture"] else str(row["version"])


def _aligned(lines: list[list[str]], left: int) -> str:
    """Markdown of a head and its rows, the first `left` columns aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    text = ""
    for line in (lines[0], rule, *lines[1:]):
        cells = [
            c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ]
        text += f"| {' | '.join(cells)} |\n"
    return text
