"""How two policies differ, by the traces of two runs: what both trained on, what only one did, and what each
trained on again and again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from winnow.selection.trace import Trace, read_trace

SHOWN = 5


@dataclass(frozen=True)
class Summary:
    """Of a trace: its steps, how many examples were trained on, how often each was, and the mean scores of
    these and of the rejected, NaN where there are none.
    """

    steps: int
    trained: int
    times: dict[str, int]
    mean_scores: tuple[float, float]

    @classmethod
    def of(cls, trace: Trace) -> Self:
        counts = np.bincount(trace.index, minlength=len(trace.uids)).tolist()
        times = {uid: count for uid, count in zip(trace.uids, counts, strict=True) if count}
        steps = int(trace.step.max()) + 1 if len(trace.step) else 0
        return cls(steps, len(trace.index), times, (_mean(trace.score), _mean(trace.rejected_score)))


def compare(first: Path, second: Path) -> list[str]:
    """Lines to print.

    Raises:
        ValueError: naming a trace that is missing or cannot be read.
    """
    a, b = (Summary.of(read_trace(path)) for path in (first, second))
    both, either = a.times.keys() & b.times.keys(), sorted(a.times.keys() | b.times.keys())
    lines = [_line("A", first, a), _line("B", second, b)]
    if not either:
        return lines
    alone = f"only A on {len(a.times) - len(both)}, only B on {len(b.times) - len(both)}"
    share = f"{100 * len(both) / len(either):.1f} %"
    return [
        *lines,
        f"both trained on {len(both)} of {len(either)} examples ({share}); {alone}",
        f"rank correlation of how often each example was trained on: {_correlation(a, b, either):.3f}",
        _preferred("A", a.times, b.times),
        _preferred("B", b.times, a.times),
    ]


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _line(name: str, path: Path, what: Summary) -> str:
    repeated = what.trained / max(len(what.times), 1)
    text = (
        f"{name} {path.parent.name}: {what.steps} steps, {what.trained} examples, {len(what.times)} distinct"
    )
    text += f", each {repeated:.2f} times"
    if np.isfinite(what.mean_scores).all():
        text += f"; mean score {what.mean_scores[0]:.3f}, of the rejected {what.mean_scores[1]:.3f}"
    return text


def _preferred(name: str, times: Mapping[str, int], other: Mapping[str, int]) -> str:
    """What one trained on more often than the other, the largest differences first."""
    more = {uid: count - other.get(uid, 0) for uid, count in times.items()}
    top = sorted((uid for uid in more if more[uid] > 0), key=lambda uid: (-more[uid], uid))[:SHOWN]
    shown = ", ".join(f"{uid[:12]} ({times[uid]} : {other.get(uid, 0)})" for uid in top)
    return f"{name} prefers (times trained on, {name} : the other): {shown or 'none'}"


def _correlation(a: Summary, b: Summary, uids: Sequence[str]) -> float:
    """Spearman's, over the examples that either trained on; NaN where one trained on all equally often."""
    ranks = []
    for what in (a, b):
        counts = np.array([what.times.get(uid, 0) for uid in uids], dtype=float)
        _, place, number = np.unique(counts, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(number) - (number - 1) / 2)[place])
    if min(np.std(rank) for rank in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
