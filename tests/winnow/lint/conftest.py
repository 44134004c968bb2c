"""A pool of twenty images that a test may damage, and a version of its first fifteen."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pictures import noise
from tests.pools import ingest
from tests.tars import write_tar
from winnow.config.datasets import Dataset
from winnow.pool import uids


@pytest.fixture(scope="session")
def whole_pool(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    members = []
    for n in range(20):
        members += [(f"{n}.png", noise(n, (8, 8))), (f"{n}.json", json.dumps({"uid": f"s{n}"}).encode())]
    shard = write_tar(root / "a.tar", *members)
    ingest(root / "pool", Dataset(source="webdataset", path=str(shard)))
    return root / "pool"


@pytest.fixture
def pool(whole_pool, tmp_path):
    return shutil.copytree(whole_pool, tmp_path / "data/datasets/pool/digits")


@pytest.fixture
def version(pool, tmp_path):
    folder = tmp_path / "data/versions/pool"
    folder.mkdir(parents=True)
    names = sorted(pq.read_table(pool / "index.parquet")["uid"].to_pylist())
    uids.save(folder / "uids.npy", names[:15])
    keep, reason = [n < 15 for n in range(20)], [None] * 15 + ["blur"] * 5
    pq.write_table(pa.table({"uid": names, "keep": keep, "reason": reason}), folder / "reasons.parquet")
    return folder


@pytest.fixture
def put():
    """A function: replace one value of a parquet file."""

    def replace(path, column, row, value):
        table = pq.read_table(path)
        columns = table.to_pydict()
        columns[column][row] = value
        pq.write_table(pa.table(columns, schema=table.schema), path)

    return replace
