"""table.md: the comparison as a table for a terminal and for GitHub."""

from collections.abc import Iterable, Mapping

from winnow.config.schema import POOL
from winnow.ledger.energy import QUALITIES
from winnow.report.compare.columns import Column, Row, headlines
from winnow.report.compare.table import CONTROL, FLOPS, choice, ranked
from winnow.report.page import numbers

SHORT = {"reference": "ref"}


def markdown(table: Iterable[Row], corrupted: Mapping[str, float], note: str | None = None) -> str:
    """The table, whose columns line up without being rendered; `corrupted` maps each arm to the share of
    corrupted examples among those that it trained on. A note stands above it.
    """
    table = ranked(table)
    columns = headlines(table)
    several = len({one.group for one in columns}) > 1
    titles = [one.name if several else one.title for one in columns]
    refined = any(row["version"] != POOL for row in table)  # else the column would only say `pool`
    qualities = "/".join(sorted({row["energy_quality"] for row in table}, key=QUALITIES.index))
    names = ["arm", "policy", "method", *(["version"] if refined else [])]
    parts = [part for part in FLOPS[:-1] if refined or part != "curate"]
    planted = any(corrupted.values())
    head = [*names, *titles, *(["corrupted share"] if planted else []), "FLOPs total"]
    head += [" + ".join(SHORT.get(part, part) for part in parts), f"CO2e ({qualities})", "time"]
    shares = {arm: [numbers.percent(share)] if planted else [] for arm, share in corrupted.items()}
    body = [_cells(row, names, columns, parts, shares[row["arm"]]) for row in table]
    text = _aligned([head, *body], len(names))
    return f"> **{note}**\n\n{text}" if note else text


def _cells(
    row: Row, names: list[str], columns: list[Column], parts: list[str], corrupted: list[str]
) -> list[str]:
    spent = row["flops"]
    split = " + ".join(f"{100 * spent[part] / (spent['total'] or 1):.0f}" for part in parts)
    return [
        *(_of_mixture(row) if name == "version" else str(row[name]) for name in names),
        *(numbers.percent(column.value(row)) for column in columns),
        *corrupted,
        numbers.flops(spent["total"]),
        f"{split} %",
        numbers.grams(row["gco2e"]),
        numbers.seconds(row["seconds"]),
    ]


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
