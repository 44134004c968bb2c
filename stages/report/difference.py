"""How two policies differ, by the traces of two runs: what both trained on, what only one did, and what each came back to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

SHOWN = 5


@dataclass(frozen=True)
class Summary:
    """One trace: steps, examples trained on, how often each came, and the mean score of those and of the rejected."""

    steps: int
    trained: int
    often: dict[str, int]
    mean_score: tuple[float, float]


def read(path: Path) -> Summary:
    """A trace.parquet.

    Raises:
        ValueError: if there is none.
    """
    try:
        table = pq.read_table(path)
        selected = table["selected"].to_numpy()
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: no trace there ({str(error).splitlines()[0]}); make it with: dvc repro pretrain") from None
    uids, counts = np.unique(np.array(table["uid"].to_pylist(), dtype=object)[selected].astype(str), return_counts=True)
    steps = int(table["step"].to_numpy().max()) + 1 if len(table) else 0
    often = dict(zip(uids.tolist(), counts.tolist(), strict=True))
    return Summary(steps, int(selected.sum()), often, _means(table["score"].to_numpy(), selected))


def _means(values: np.ndarray, selected: np.ndarray) -> tuple[float, float]:
    """Of those trained on, and of the sample of the rejected; NaN where there is none."""
    known = np.isfinite(values)
    parts = (values[known & selected], values[known & ~selected])
    return tuple(float(part.mean()) if len(part) else float("nan") for part in parts)  # type: ignore[return-value]


def compare(first: Path, second: Path) -> list[str]:
    """Lines to print."""
    a, b = read(first), read(second)
    both = a.often.keys() & b.often.keys()
    either = a.often.keys() | b.often.keys()
    lines = [_line("A", first, a), _line("B", second, b)]
    if not either:
        return lines
    lines.append(
        f"both trained on {len(both)} of {len(either)} examples ({100 * len(both) / len(either):.1f} %); only A on "
        f"{len(a.often) - len(both)}, only B on {len(b.often) - len(both)}"
    )
    lines.append(f"rank correlation of how often each example came: {_correlation(a, b, sorted(either)):.3f}")
    for name, more, less in (("A", a, b), ("B", b, a)):
        gained = {uid: count - less.often.get(uid, 0) for uid, count in more.often.items()}
        top = sorted((uid for uid in gained if gained[uid] > 0), key=lambda uid: (-gained[uid], uid))[:SHOWN]
        shown = ", ".join(f"{uid[:12]} ({more.often.get(uid, 0)} : {less.often.get(uid, 0)})" for uid in top)
        lines.append(f"{name} prefers (times trained on, {name} : the other): {shown or 'none'}")
    return lines


def _line(name: str, path: Path, what: Summary) -> str:
    repeated = what.trained / max(len(what.often), 1)
    text = (
        f"{name} {path.parent.name}: {what.steps} steps, {what.trained} examples, {len(what.often)} distinct, each {repeated:.2f} times"
    )
    if np.isfinite(what.mean_score).all():
        text += f"; mean score {what.mean_score[0]:.3f}, of the rejected {what.mean_score[1]:.3f}"
    return text


def _correlation(a: Summary, b: Summary, uids: list[str]) -> float:
    """Spearman's, over the examples that either trained on."""
    ranks = []
    for what in (a, b):
        counts = np.array([what.often.get(uid, 0) for uid in uids], dtype=float)
        _, place, number = np.unique(counts, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(number) - (number - 1) / 2)[place])
    if min(np.std(rank) for rank in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
