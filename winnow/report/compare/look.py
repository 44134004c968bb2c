"""How the report tells things apart: a marker for each method, a colour for each policy, kind of corruption
and purpose of spending.

Okabe and Ito's colours for policies (uniform, the control, is grey) and Paul Tol's "muted" for corruption:
people with the common colour blindnesses can tell both apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.report.compare.columns import Row
from winnow.report.compare.table import CONTROL, choice

GREY = "#4d4d4d"
POLICIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933")
MARKERS = "osD^vPX*"
CORRUPTION = ("#cc6677", "#332288", "#88ccee", "#ddcc77", "#117733", "#44aa99", "#aa4499", "#999933")
SPENT = {
    "curate": "#ddc9a3",
    "reference": "#b8a9c9",
    "weights": "#a3c9a8",
    "score": "#7fb3d5",
    "train": "#34495e",
}
INK, SOFT, FAINT = "#222222", "#777777", "#c8c8c8"


@dataclass(frozen=True)
class Look:
    """The colour of each policy or version, and the marker of each method."""

    colours: dict[str, str]
    markers: dict[str, str]

    @classmethod
    def of(cls, table: Sequence[Row]) -> "Look":
        policies = list(dict.fromkeys(choice(row) for row in table))
        others = [policy for policy in policies if policy != CONTROL]
        colours = {CONTROL: GREY} | {policy: POLICIES[i % len(POLICIES)] for i, policy in enumerate(others)}
        methods = dict.fromkeys(row["method"] for row in table)
        return cls(colours, {method: MARKERS[i % len(MARKERS)] for i, method in enumerate(methods)})


def spent_colours(table: Sequence[Row]) -> dict[str, str]:
    """The purposes of FLOPs and their colours; curation and weights only where an arm paid for them."""
    return {
        part: colour
        for part, colour in SPENT.items()
        if part not in ("curate", "weights") or any(row["flops"].get(part) for row in table)
    }


def corruption_colours(kinds: Sequence[str]) -> dict[str, str]:
    """The colour of each kind, the same in bars and frames."""
    return {kind: CORRUPTION[i % len(CORRUPTION)] for i, kind in enumerate(kinds)}
