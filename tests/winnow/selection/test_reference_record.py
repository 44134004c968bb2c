"""A finished reference on disk: what is written is read; what is damaged is one line with file and mend."""

import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.loops import embedded, weights
from winnow.selection.reference_record import (
    Judged,
    Record,
    open_objective,
    open_reference,
    rows_of,
    write_record,
)
from winnow.training.weights import load_encoder

AGAIN = "; make it again with: dvc repro -f reference$"
FLOPS = {"train": 100, "score": 20}


def written(start, folder, method="siglip", pool_model=False):
    """A record of an untrained model; and its loop, and what it judged."""
    loop = start(method=method, seed=3)
    params = replace(start.params, reference=replace(start.params.reference, backbone="test_resnet"))
    losses = torch.linspace(0, 1, len(loop.data))
    sides = embedded(loop).embeddings if loop.objective.PAIR else None
    flops = {**FLOPS, **({"pool_model_train": 7, "pool_model_score": 2} if pool_model else {})}
    record = Record.of(params, method, loop.data.classes, flops)
    other = (loop.objective, Judged(losses + 1)) if pool_model else None
    write_record(folder, record, loop.objective, loop.data.uids, Judged(losses, sides), other)
    return loop, losses, sides


def truncated(content):
    return content[: len(content) // 2]


def test_losses_are_those_of_the_same_uids(start, tmp_path):
    """Of a refined version, a part of what the reference judged."""
    loop, losses, _ = written(start, tmp_path, "supervised", pool_model=True)
    part = list(loop.data.uids)[3:50:2]
    reference = open_reference(tmp_path, part, pairs=False, seed=0)
    assert torch.equal(reference.example_losses, losses[3:50:2])
    assert torch.equal(reference.pool_model_losses, losses[3:50:2] + 1)
    assert reference.objective is None


def test_pairs_are_those_of_the_same_model(start, tmp_path):
    loop, _, _ = written(start, tmp_path)
    whole = embedded(loop).pairs(np.array([4, 10, 6]), torch.device("cpu"))
    part = [loop.data.uids[i] for i in (4, 6, 10)]
    found = open_reference(tmp_path, part, pairs=True, seed=9)
    assert found.pool_model_losses is None
    assert torch.equal(found.pairs(np.array([0, 2, 1]), torch.device("cpu")), whole)
    assert not found.objective.training
    assert not any(p.requires_grad for p in found.objective.parameters())


def test_the_encoder_stands_beside_it(start, tmp_path):
    loop, _, _ = written(start, tmp_path)
    encoder, size = load_encoder(tmp_path)
    assert size == 28
    assert weights(encoder) == weights(loop.objective.exported())


@pytest.mark.slow
def test_same_reference_same_bytes(start, tmp_path):
    for name in ("a", "b"):
        written(start, tmp_path / name, pool_model=True)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_example_that_was_not_judged_is_refused():
    known = sorted(f"{number:032x}" for number in (3, 17, 99, 256, 1 << 100))
    part = [known[1], known[4]]
    assert rows_of(known, part).tolist() == [1, 4]
    assert rows_of(known, known).tolist() == list(range(5))
    for unknown in ("0" * 32, "f" * 32):
        with pytest.raises(
            ValueError, match="made for another version of the pool; run: dvc repro reference"
        ):
            rows_of(known, [*part, unknown])
    with pytest.raises(ValueError, match="made for another version"):
        rows_of([], part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("losses.parquet", truncated, "losses.parquet: not readable"),
        ("losses.parquet", lambda _: b"", "losses.parquet: not readable"),
        ("losses.parquet", None, "losses.parquet: not readable"),
        ("method.safetensors", truncated, "method.safetensors: no readable weights"),
        ("method.safetensors", lambda _: b"", "method.safetensors: no readable weights"),
        ("method.safetensors", None, "method.safetensors: no readable weights"),
        ("embeddings.safetensors", truncated, "embeddings.safetensors: not readable"),
        ("embeddings.safetensors", None, "embeddings.safetensors: not readable"),
        ("reference.json", truncated, "reference.json: not valid JSON"),
        ("reference.json", lambda _: b"", "reference.json: not valid JSON"),
        ("reference.json", lambda _: b"[]", "reference.json: list at the top"),
        ("reference.json", lambda _: b"{}", "reference.json: no record of a reference"),
        ("reference.json", None, "reference.json: no finished reference there"),
    ],
)
def test_a_damaged_file_is_one_line(start, tmp_path, name, damage, says):
    """Were tracebacks, or lines without the file and the mend."""
    loop, _, _ = written(start, tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=f"{says}.*{AGAIN}") as caught:
        open_reference(tmp_path, loop.data.uids, pairs=True, seed=0)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"flops": {"train": 1}}, "lacks flops.score"),
        ({"flops": None}, "no record of a reference"),
        ({"backbone": {"title": "test_resnet"}}, "no record of a reference"),
        ({"twin": 3}, "no record of a reference"),
    ],
)
def test_a_record_with_other_keys_is_one_line(start, tmp_path, changes, says):
    loop, _, _ = written(start, tmp_path)
    path = tmp_path / "reference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=f"reference.json: {says}.*{AGAIN}"):
        open_reference(tmp_path, loop.data.uids, pairs=False, seed=0)


def test_losses_without_their_column_are_one_line(start, tmp_path):
    loop, _, _ = written(start, tmp_path)
    path = tmp_path / "losses.parquet"
    pq.write_table(pq.read_table(path).rename_columns(["uid", "lost"]), path)
    with pytest.raises(ValueError, match=f"losses.parquet: lacks the column loss{AGAIN}"):
        open_reference(tmp_path, loop.data.uids, pairs=False, seed=0)


def test_weights_of_another_model_are_one_line(start, tmp_path):
    written(start, tmp_path)
    record = Record.read(tmp_path)
    wider = replace(record, settings={**record.settings, "embed": 32})
    with pytest.raises(
        ValueError, match=r"method\.safetensors: weights of another model \(.*\)" + AGAIN
    ) as caught:
        open_objective(tmp_path, wider)
    assert "\n" not in str(caught.value)


def test_what_was_spent_counts_the_pool_model_only_where_it_scores(start, tmp_path):
    written(start, tmp_path, "supervised", pool_model=True)
    record = Record.read(tmp_path)
    assert (record.spent(pool_model=False), record.spent(pool_model=True)) == (120, 129)
    with pytest.raises(ValueError, match="reference.pool_model: the reference has no pool_model_train"):
        replace(record, flops=FLOPS).spent(pool_model=True)


def test_records_differ_where_their_models_do(start):
    params = replace(start.params, reference=replace(start.params.reference, backbone="test_resnet"))
    one = Record.of(params, "simclr", 10, FLOPS)
    assert one.difference(replace(one, flops={})) is None
    less = {name: value for name, value in one.settings.items() if name != "out"}
    assert one.settings["out"] == 64  # the default
    assert one.difference(replace(one, settings=less)) is None
    warmer = replace(one, settings={**one.settings, "temperature": 0.5})
    assert "has settings" in one.difference(warmer)
    wider = replace(one, backbone={**asdict(params.backbones["test_resnet"]), "image_size": 32})
    assert "has backbone" in one.difference(wider)
    assert one.difference(replace(one, classes=9)) == "has classes 10, and this run 9"
