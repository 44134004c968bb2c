"""Embeddings of a pool: computed once, independent of the batch, and counted as if computed now."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.pools import silent
from winnow.config.schema import Engine, Version
from winnow.embedding import embeddings
from winnow.embedding.embeddings import EmbedChunk, Embeddings
from winnow.filters import vectors
from winnow.selection.reference_record import Judged, Record, write_record


@pytest.mark.slow
def test_embeddings_do_not_depend_on_the_batch_or_its_order(
    open_embeddings, workspace, version, digits_pool, digits_params
):
    rows = np.arange(300)
    table, made = digits_pool.table.take(rows), open_embeddings()
    first = vectors(made.embedding(rows, table), "embedding")
    assert made.flops == len(set(table["uid"].to_pylist())) * made.embedder.image_flops
    chunk = EmbedChunk(workspace.root, tuple(digits_pool.origins), version, digits_params.run)
    alone, shuffled = chunk([7]), np.random.default_rng(0).permutation(rows)
    again = chunk(shuffled.tolist())
    np.testing.assert_array_equal(alone[0], again[shuffled.tolist().index(7)])
    np.testing.assert_allclose(first[shuffled], again, atol=1e-3)
    assert first[7] @ alone[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_finished_embeddings_are_read_and_their_flops_counted(open_embeddings, digits_pool):
    rows = np.arange(20)
    table, first = digits_pool.table.take(rows), open_embeddings()
    kept = first.embedding(rows, table)
    stores = {path: path.stat().st_mtime_ns for path in first.images.folder.iterdir()}
    again = open_embeddings()
    assert again.embedding(rows, table).equals(kept)
    assert (again.reused, first.reused) == (len(set(table["uid"].to_pylist())), 0)
    assert {path: path.stat().st_mtime_ns for path in again.images.folder.iterdir()} == stores
    assert again.flops == first.flops  # a version costs the same whatever was run before it


def test_what_is_paid_for_costs_nothing(open_embeddings, digits_pool):
    made = open_embeddings()
    made.embedding(np.arange(20), digits_pool.table.take(np.arange(20)), paid=True)
    assert made.flops == 0


@pytest.mark.slow
def test_captions_are_embedded_once_each_and_zeros_where_there_is_none(workspace, digits_pool, digits_params):
    record = Record(
        "clip", {}, dataclasses.asdict(digits_params.backbones["test_resnet"]), 10, {"train": 1, "score": 1}
    )
    write_record(workspace.reference("clip"), record, record.build(0), ["0" * 32], Judged(torch.zeros(1)))
    version = Version(model="results/reference/models/clip")
    made = Embeddings(digits_pool, version, digits_params, workspace, silent)
    table = digits_pool.table.take(np.arange(12))
    captions = table["caption"].to_pylist()
    captions[3] = None
    table = table.set_column(table.schema.get_field_index("caption"), "caption", [captions])
    table = made.text_embedding(np.arange(12), made.embedding(np.arange(12), table))
    texts, images = vectors(table, "text_embedding"), vectors(table, "embedding")
    assert texts.shape == images.shape
    assert not texts[3].any()
    assert np.allclose(np.linalg.norm(np.delete(texts, 3, 0), axis=1), 1)
    assert all((texts[i] == texts[0]).all() for i, caption in enumerate(captions) if caption == captions[0])
    distinct = len(set(captions) - {None}), len(set(table["uid"].to_pylist()))
    assert made.flops == distinct[0] * made.embedder.text_flops + distinct[1] * made.embedder.image_flops


def test_a_model_without_a_text_tower_is_one_line(open_embeddings, digits_pool):
    made, table = open_embeddings(), digits_pool.table.take(np.arange(2))
    with pytest.raises(
        ValueError, match="versions.*.model: arm embeds no captions; give a reference of clip"
    ):
        made.text_embedding(np.arange(2), made.embedding(np.arange(2), table))


@pytest.mark.slow
def test_a_dask_cluster_makes_the_same_bytes(open_embeddings, digits_pool, digits_params, monkeypatch):
    monkeypatch.setattr(embeddings, "CHUNK", 64)
    rows = np.arange(200)
    table, alone = digits_pool.table.take(rows), open_embeddings()
    kept = alone.embedding(rows, table)
    files = {path.name: path.read_bytes() for path in alone.images.folder.iterdir()}
    assert len(files) > 4
    for path in alone.images.folder.iterdir():
        path.unlink()
    spread = open_embeddings(dataclasses.replace(digits_params, engine=Engine(cluster="local")))
    assert spread.embedding(rows, table).equals(kept)
    assert {path.name: path.read_bytes() for path in spread.images.folder.iterdir()} == files
