"""A loss that is not finite ends a run: nothing is ever selected by it, and the examples that it came from are kept to look at."""

import csv
from collections.abc import Sequence

import torch
from torch import Tensor

from stages.params import ROOT

FOLDER = ROOT / ".winnow" / "unfinite"
NAMED = 4  # uids in the message itself


def refuse(tested: Tensor, uids: Sequence[str], values: dict[str, Tensor], what: str, mend: str) -> None:
    """Nothing, where all of `tested` (n,) is finite. Else one csv with a row for each example that is not.

    Args:
        uids: of the n examples.
        values: name -> (n,), the columns beside the uid.
        what: the start of the message; {count} in it becomes their number.

    Raises:
        ValueError: naming the first uids, and the file with all of them.
    """
    bad = (~torch.isfinite(tested)).nonzero().flatten().tolist()
    if not bad:
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{uids[bad[0]]}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["uid", *values])
        rows.writerows([uids[i], *(float(column[i]) for column in values.values())] for i in bad)
    kept = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    named = ", ".join(uids[i] for i in bad[:NAMED]) + (", ..." if len(bad) > NAMED else "")
    raise ValueError(f"{what.format(count=len(bad))} not finite, uids {named} (all of them: {kept}); {mend}")
