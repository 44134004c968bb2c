"""One file per curation step: a `Config` dataclass and `apply(pool, config) -> Table`.

A filter gets the rows that are still kept, most trusted first, and answers with a row for each of them: uid, keep, reason.
It decides; the caller counts and records. Where a filter keeps one of several rows, it keeps the first.
"""

import numpy as np
import pyarrow as pa


def verdicts(pool: pa.Table, keep: np.ndarray, reason: str) -> pa.Table:
    """The answer of a filter: uid, keep (n,) bool, and one reason for all rows that are not kept."""
    reasons = pa.array([None if kept else reason for kept in keep], pa.string())
    return pa.table({"uid": pool["uid"], "keep": pa.array(keep), "reason": reasons})
