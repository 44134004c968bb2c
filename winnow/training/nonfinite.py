"""A loss that is not finite ends a run; the error names its examples, and the stage keeps a table of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from winnow.pipeline.errors import TableError

NAMED = 4  # uids in the message


def refuse_nonfinite(
    tested: Tensor, uids: Sequence[str], values: dict[str, Tensor], what: str, mend: str
) -> None:
    """Raise an error unless all of `tested` (n,) is finite.

    Args:
        uids: those of the n examples.
        values: name -> (n,), the columns of the table beside the uids.
        what: the start of the message; {count} in it becomes the number of examples.

    Raises:
        TableError: naming the first uids, with a table of all.
    """
    bad = (~torch.isfinite(tested)).nonzero().flatten().tolist()
    if not bad:
        return
    named = ", ".join(uids[i] for i in bad[:NAMED]) + (", ..." if len(bad) > NAMED else "")
    columns = {name: [float(column[i]) for i in bad] for name, column in values.items()}
    message = f"{what.format(count=len(bad))} not finite, uids {named}; {mend}"
    raise TableError(message, {"uid": [uids[i] for i in bad], **columns})
