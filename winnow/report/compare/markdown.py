"""table.md: the comparison as a table for a terminal and for GitHub."""

from collections.abc import Iterable, Mapping

from winnow.config.schema import POOL
from winnow.ledger.energy import QUALITIES
from winnow.report.compare.columns import Column, Row, headlines
from winnow.report.compare.table import CONTROL, FLOPS, FROZEN, choice, ranked
from winnow.report.compare.worth import known
from winnow.report.page import numbers

SHORT = {"reference": "ref"}


def markdown(table: Iterable[Row], corrupted: Mapping[str, float], note: str | None = None) -> str:
    """The table, whose columns line up without being rendered; `corrupted` maps each arm to the share of
    corrupted examples among those that it trained on. A note stands above it.
    """
    table = ranked(table)
    if not table:
        return "No arms: this run curates and trains nothing; `winnow show pool` says what it kept.\n"
    columns = headlines(table)
    several = len({one.group for one in columns}) > 1
    titles = [one.name if several else one.title for one in columns]
    refined = any(row["version"] != POOL for row in table)  # else the column would only say `pool`
    qualities = "/".join(sorted({row["energy_quality"] for row in table}, key=QUALITIES.index))
    names = ["arm", "policy", "method", *(["version"] if refined else [])]
    shown = {"curate": refined, "weights": any("weights" in row for row in table)}
    parts = [part for part in FLOPS[:-1] if shown.get(part, True)]
    planted = any(corrupted.values())
    head = [*names, *titles, *(["corrupted share"] if planted else []), "FLOPs total"]
    head += [" + ".join(SHORT.get(part, part) for part in parts), f"CO2e ({qualities})", "time"]
    body = [_cells(row, names, columns, parts, _corrupted(row, corrupted, planted)) for row in table]
    text = _aligned([head, *body], len(names))
    return f"> **{note}**\n\n{text}" if note else text


def _corrupted(row: Row, corrupted: Mapping[str, float], planted: bool) -> list[str]:
    """The cell of the corrupted share, where corruption was planted."""
    share = corrupted[row["arm"]] if row["examples_seen"] else None
    return [numbers.percent(share)] if planted else []


def _cells(
    row: Row, names: list[str], columns: list[Column], parts: list[str], corrupted: list[str]
) -> list[str]:
    spent, row = row["flops"], {**row, "policy": FROZEN if row.get("frozen") else row["policy"]}
    split = " + ".join(_share(spent.get(part, 0), spent["total"]) for part in parts)
    return [
        *(_of_mixture(row) if name == "version" else str(row[name]) for name in names),
        *(numbers.percent(column.value(row)) for column in columns),
        *corrupted,
        numbers.flops(spent["total"]) + ("" if known(row) else f" + {numbers.UNKNOWN}"),
        f"{split} %",
        numbers.grams(row["gco2e"]),
        numbers.seconds(row["seconds"]),
    ]


def _share(spent: int | None, total: int) -> str:
    return numbers.UNKNOWN if spent is None else f"{100 * spent / (total or 1):.0f}"


def _of_mixture(row: Row) -> str:
    """The version, with the shares of a mixture."""
    return choice(row | {"policy": CONTROL}) if row["mixture"] else str(row["version"])


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
