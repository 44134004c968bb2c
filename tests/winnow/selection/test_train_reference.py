"""Training a reference, applying it to the pool, and taking a finished one of another run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.flops import count
from tests.loops import weights
from winnow.config.schema import Run
from winnow.pipeline.errors import TableError
from winnow.selection import train_reference
from winnow.selection.mixture import Mixture
from winnow.selection.reference_record import POOL_MODEL, WHOLE, Record, write_record
from winnow.selection.scorers import scored
from winnow.selection.train_reference import judge, open_finished
from winnow.training.device import generator, launch


@pytest.fixture
def params(start):
    settings = replace(start.params.reference, backbone="test_resnet", examples=256)
    return replace(start.params, reference=settings)


@pytest.fixture
def fabric():
    return launch(Run(accelerator="cpu", threads=1))


@pytest.fixture
def finished(start, params, fabric, tmp_path):
    """A folder with a finished reference of `supervised`, its objective and record."""
    data = start.examples("supervised")
    loop, spent = train_reference.train_reference(params, fabric, "supervised", data)
    judged, scoring = judge(params, fabric, loop.objective, data, "supervised")
    record = Record.of(params, "supervised", data.classes, {"train": spent, "score": scoring})
    write_record(tmp_path, record, loop.objective, data.uids, judged)
    return tmp_path, loop.objective, record


@pytest.mark.slow
def test_its_steps_and_flops_are_those_of_the_examples(start, params, fabric):
    """256 examples are 256 / b steps, of b times the encoder's and three times the head's cost each."""
    data, size = start.examples("supervised"), params.methods["supervised"].batch_size
    loop, spent = train_reference.train_reference(params, fabric, "supervised", data)
    one, head = count(loop.objective.encoder, (3, 28, 28)), 2 * 96 * data.classes
    assert loop.state.step == 256 // size
    assert spent == loop.state.step * size * (one.train + 3 * head)


@pytest.mark.slow
def test_it_is_trained_on_the_share_of_the_pool_that_was_asked_for(start, params, fabric):
    data, size = start.examples("supervised"), params.methods["supervised"].batch_size
    mixture = Mixture([np.arange(20), np.arange(20, len(data))], [size - size // 4, size // 4])
    loop, _ = train_reference.train_reference(params, fabric, "supervised", data, mixture=mixture)
    trusted = loop.state.column("index").reshape(-1, size) < 20
    assert trusted.sum(dim=1).tolist() == [size - size // 4] * (256 // size)


@pytest.mark.slow
def test_losses_of_the_pool_are_those_of_its_examples(start, finished, params, fabric):
    _, objective, _ = finished
    data = start.examples("supervised")
    judged, spent = judge(params, fabric, objective, data, "supervised")
    recipe, indices = params.methods["supervised"], torch.arange(len(data)).numpy()
    images, noise = data.pixels.get(indices), generator(train_reference.reference_seed(params), "score", 0)
    batch = data.batch(indices, images, recipe.score_views, noise, fabric.device)
    assert torch.equal(judged.losses, scored(objective, batch).example)
    assert judged.embeddings is None
    one, head = count(objective.encoder, (3, 28, 28)), 2 * 96 * data.classes
    assert spent == len(data) * (one.forward + head)


def test_losses_do_not_depend_on_the_chunk_where_there_are_no_pairs(
    start, finished, params, fabric, monkeypatch
):
    _, objective, _ = finished
    data = start.examples("supervised")
    whole = judge(params, fabric, objective, data, "supervised")
    monkeypatch.setattr(train_reference, "CHUNK", 64)
    parts = judge(params, fabric, objective, data, "supervised")
    torch.testing.assert_close(parts[0].losses, whole[0].losses)
    assert parts[1] == whole[1]


@pytest.mark.slow
def test_the_last_chunk_of_a_contrastive_reference_is_as_large_as_the_others(
    start, params, fabric, monkeypatch
):
    """NT-Xent among fewer is less. Expected: the last losses in a chunk filled up with those before them."""
    monkeypatch.setattr(train_reference, "CHUNK", 64)
    data = start.examples("simclr")
    objective = train_reference.train_reference(params, fabric, "simclr", data)[0].objective
    judged, _ = judge(params, fabric, objective, data, "simclr")
    assert len(judged.losses) == len(judged.embeddings[0]) == len(data)
    rest = len(data) % 64
    assert 0 < rest < 32
    indices = torch.arange(len(data) - 64, len(data)).numpy()
    noise = generator(train_reference.reference_seed(params), "score", len(data) - rest)
    views = params.methods["simclr"].score_views
    batch = data.batch(indices, data.pixels.get(indices), views, noise, fabric.device)
    expected = scored(objective, batch).example[-rest:]
    torch.testing.assert_close(judged.losses[-rest:], expected)
    alone = objective.compare(*(side[-rest:] for side in judged.embeddings)).example
    assert (judged.losses[-rest:] > alone).all()


def test_losses_that_are_not_finite_are_named(start, finished, params, fabric):
    _, objective, _ = finished
    data = start.examples("supervised")
    with torch.no_grad():
        objective.head.bias.fill_(float("inf"))
    says = f"reference of supervised: {len(data)} losses are not finite, uids .*; lower methods.supervised.lr"
    with pytest.raises(TableError, match=says) as caught:
        judge(params, fabric, objective, data, "supervised")
    assert caught.value.columns["uid"] == list(data.uids)


def test_a_finished_reference_is_taken_with_its_price(finished, fabric):
    folder, objective, record = finished
    taken, price = open_finished(folder, WHOLE, fabric, record)
    assert price == record.flops["train"] > 0
    assert weights(taken) == weights(objective)


def test_a_finished_reference_without_a_pool_model_is_one_line(finished, fabric):
    folder, _, record = finished
    with pytest.raises(
        ValueError, match="reference.finished: .* has no pool model; take another run's, or set"
    ):
        open_finished(folder, POOL_MODEL, fabric, record)


@pytest.mark.parametrize(
    ("key", "value"), [("classes", 37), ("settings", {"label_smoothing": 0.3}), ("method", "simclr")]
)
def test_a_finished_reference_of_another_model_is_one_line(finished, fabric, key, value):
    """Its losses would be compared with those of a learner that computes others."""
    folder, _, record = finished
    expected = (
        replace(record, settings={}, **{key: value}) if key == "method" else replace(record, **{key: value})
    )
    says = f"reference.finished: {folder} has {key} .*, and this run .*; take another run's, or null"
    with pytest.raises(ValueError, match=says) as caught:
        open_finished(folder, WHOLE, fabric, expected)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_reference_is_one_line(finished, fabric, tmp_path):
    with pytest.raises(ValueError, match="nothing/reference.json: no finished reference there"):
        open_finished(tmp_path / "nothing", WHOLE, fabric, finished[2])
