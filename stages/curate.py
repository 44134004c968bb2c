"""curate: from the pool to the first versions and the splits: sorted uids, a reason for every drop, lineage.

It reads the index alone, and runs before any model exists (winnow/versions/roles.py).
"""

import numpy as np
import pyarrow as pa

from winnow.config.schema import POOL, REFERENCE
from winnow.ledger.requested_by import requested_by
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import open_pool
from winnow.preflight import check_filters
from winnow.versions import lineage, version
from winnow.versions.flops import CurationFlops
from winnow.versions.roles import HELD_OUT, Roles, assign_roles, ranks, stratified, with_classes


def curate(stage: Stage) -> None:
    """Filter, give each row its role, keep the held-out apart, write."""
    pool, params = open_pool(stage.workspace), stage.params
    roles = assign_roles(with_classes(pool), params)
    reason = np.where(roles.role == "dropped", roles.reason, roles.role)
    origin = {"source": lineage.source(params.dataset), "parent": None, "model": None}
    facts = {**origin, "seed": params.seed, "steps": roles.steps}
    for name in (POOL, REFERENCE):
        folder = stage.work / "versions" / name
        version.write(folder, name, pool, roles.role == name, reason, facts)
        CurationFlops().write(folder)  # filters that read the index alone run no model
    _write_splits(stage, pool.table, roles)
    stage.metrics.update(version.counts(roles.role))
    stage.metrics["reasons"] = version.counts(roles.reason[roles.role == "dropped"])
    stage.metrics["rows"] = len(roles.role)
    stage.facts["requested"] = requested_by()


def _write_splits(stage: Stage, table: pa.Table, roles: Roles) -> None:
    folder = stage.work / "splits"
    folder.mkdir(parents=True)
    uids, labels = table["uid"].to_numpy(zero_copy_only=False), table["label"].to_numpy()
    for name in HELD_OUT:
        uid_files.save(folder / f"{name}.npy", set(uids[roles.rows(name)]))
    probe = roles.rows("probe")
    probe = probe[np.argsort(ranks(table, stage.params.seed)[probe], kind="stable")]
    for fraction in stage.params.curate.label_fractions:
        labelled = probe[stratified(labels[probe], fraction)]
        uid_files.save(folder / f"labels-{fraction:g}.npy", set(uids[labelled]))


if __name__ == "__main__":
    main(curate, check_filters)
