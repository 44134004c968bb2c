"""The oracle: the pool version without what was corrupted on purpose, and without anything else."""

import shutil

import numpy as np
import pytest

from stages.oracle import oracle
from tests.pictures import noise
from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pipeline.stage import Stage
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.pool import images
from winnow.pool.pool import open_pool
from winnow.versions import version
from winnow.versions.flops import CurationFlops

STAGES = Stages.read(CODE)
# Row -> its corruption, in each of two datasets; row 3 is a copy of row 0, and curation dropped rows 3 and 4.
CORRUPTION = {"shop": {1: "noise", 3: "exact_duplicate", 4: "blank"}, "web": {2: "wrong_label"}}
DROPPED = {3: "exact_duplicate", 4: "blank"}


@pytest.fixture
def stage(tmp_path):
    """The stage in a workspace with two datasets of five images and the version `pool` of them."""
    workspace = Workspace(tmp_path)
    shutil.copy(CODE / "dvc.yaml", tmp_path)
    for first, (name, corruption) in enumerate(CORRUPTION.items()):
        folder = workspace.dataset("pool", name)
        folder.mkdir(parents=True)
        with PoolWriter(folder, []) as writer:
            for row in range(5):
                one = Example(f"{name}{row}", noise(10 * first + row % 3, (8, 8)))
                image = images.measure(one.image, 1000)
                writer.add(one, image, trusted=False, corruption=corruption.get(row), source=one.key)
        workspace.provenance(name).mkdir(parents=True)
        for record in ("dropped", "corruption", "sources"):
            path = f"{record}.parquet"
            (folder / path).rename(workspace.provenance(name) / path)
    block = {"source": "digits", "corruption": {"noise": 0.2}}
    params = parse({"datasets": {"pool": dict.fromkeys(CORRUPTION, block)}, "pretrain": {"budget": 1.0}})
    reason = np.array([*map(DROPPED.get, range(5))] * 2, object)
    facts = {"parent": None, "model": None, "seed": 0, "steps": []}
    pool = open_pool(workspace, params.datasets)
    version.write(workspace.version("pool"), "pool", pool, np.equal(reason, None), reason, facts)
    found = Stage(STAGES["oracle@clean"], params, workspace, None)
    found.work.mkdir(parents=True)
    return found


def test_the_clean_version_is_the_pool_version_without_the_corruption(stage):
    oracle(stage)
    pool, clean = version.load(stage.workspace.version("pool")), version.load(stage.work)
    reasons = [None, "corrupted", None, "exact_duplicate", "blank"]
    reasons += [None, None, "corrupted", "exact_duplicate", "blank"]
    assert clean.reasons["reason"].to_pylist() == reasons
    assert clean.reasons["keep"].to_pylist() == [reason is None for reason in reasons]
    uids = pool.reasons["uid"].to_pylist()
    assert clean.uids == sorted(uids[row] for row in (0, 2, 5, 6))
    assert clean.lineage["parent"] == {"name": "pool", "digest": pool.digest}
    assert {name: one["held"] for name, one in clean.lineage["datasets"].items()} == {"shop": 2, "web": 2}
    (step,) = clean.lineage["steps"]
    assert (step["name"], step["rows_in"], step["dropped"]) == ("oracle", 6, {"corrupted": 2})
    assert stage.metrics == {"rows": 6, "kept": 4}
    assert CurationFlops.read(stage.work) == CurationFlops()


def test_no_arm_but_its_own_depends_on_the_oracle():
    for name in STAGES.downstream("oracle@clean") - {"oracle@clean", "datasheet@clean", "compare"}:
        assert STAGES[name].arm.endswith("-clean"), name
