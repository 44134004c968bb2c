"""Who pays for embeddings: a version for those that none of its ancestors had made by the same model."""

import numpy as np
import pyarrow as pa
import pytest

from tests.vectors import numbered
from winnow.embedding.columns import Columns, embedded_before
from winnow.pipeline.files import write_json
from winnow.pool import uids
from winnow.versions.version import load


def write_lineage(workspace, name, parent, model, embedded):
    folder = workspace.version(name)
    folder.mkdir(parents=True)
    uids.save(folder / "uids.npy", numbered(2))
    model = model and {"sha256": model, "embedded": embedded}
    write_json(folder / "lineage.json", {"name": name, "parent": parent and {"name": parent}, "model": model})


def test_what_ancestors_had_embedded_is_by_model(workspace):
    write_lineage(workspace, "pool", None, None, [])
    write_lineage(workspace, "a", "pool", "one", ["pool.embedding"])
    write_lineage(workspace, "b", "a", "two", ["pool.embedding", "reference.embedding"])
    write_lineage(workspace, "c", "b", "one", ["held_out.embedding"])
    assert embedded_before(load(workspace.version("c")), workspace) == {
        "one": {"pool.embedding", "held_out.embedding"},
        "two": {"pool.embedding", "reference.embedding"},
    }
    assert embedded_before(load(workspace.version("pool")), workspace) == {}


@pytest.mark.slow
def test_a_model_and_its_embeddings_are_paid_for_once(open_embeddings, digits_pool, version):
    rows = np.arange(9)
    table = digits_pool.table.take(rows).append_column("row", pa.array(rows))
    first = Columns(open_embeddings(), ["embedding"], {})
    assert "embedding" in first("pool", table).column_names
    each = first.embeddings.embedder.image_flops
    assert first.flops == {"embeddings": len(set(table["uid"].to_pylist())) * each, "model": 0}
    weights = first.model(version)["sha256"]
    assert first.model(version)["embedded"] == ["pool.embedding"]
    second = Columns(open_embeddings(), ["embedding"], {weights: {"pool.embedding"}})
    second("pool", table)
    assert second.flops["embeddings"] == 0
    second("reference", digits_pool.table.take([11]).append_column("row", pa.array([11])))
    assert second.flops["embeddings"] == each
