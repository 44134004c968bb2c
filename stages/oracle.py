"""oracle@clean: the version of all examples of the pool version that were not corrupted on purpose.

What no user can know, so it is a stage of its own: an arm that trains on it shows what a perfect filter would
buy, and no other stage can read the corruption by accident.
"""

import numpy as np

from winnow.config.schema import POOL
from winnow.pipeline.code import digest
from winnow.pipeline.stage import Stage, main
from winnow.pool.corruption import kinds_of_rows
from winnow.pool.pool import open_pool
from winnow.versions import lineage, version
from winnow.versions.flops import CurationFlops

REASON = "corrupted"


def oracle(stage: Stage) -> None:
    """Leave out what is corrupted."""
    params, pool = stage.params, open_pool(stage.workspace, stage.params.datasets)
    parent = version.load(stage.workspace.version(POOL))
    reason = parent.reasons["reason"].to_numpy(zero_copy_only=False).astype(object)
    held = parent.reasons["keep"].to_numpy(zero_copy_only=False)
    corrupted = np.array([kind is not None for kind in kinds_of_rows(pool)], bool)
    reason[held & corrupted] = REASON
    step = {"name": "oracle", "parameters": {}, "code": digest("stages.oracle")}
    facts = {
        "parent": {"name": parent.name, "digest": parent.digest},
        "model": None,
        "flops": {},
        "seed": params.seed,
        "steps": [lineage.done(step, int(held.sum()), reason[held & corrupted])],
    }
    keep, sources = held & ~corrupted, lineage.sources(params.datasets)
    version.write(stage.work, stage.key, pool, keep, reason, facts, sources)
    CurationFlops().write(stage.work)
    stage.metrics.update(rows=int(held.sum()), kept=int(keep.sum()))


if __name__ == "__main__":
    main(oracle)
