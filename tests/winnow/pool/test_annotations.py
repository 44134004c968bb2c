"""Annotations come out as they went in: the oracle is the json."""

import numpy as np
import pytest

from tests.annotated import COLOURS, IDS, coco_folder, facts, ingested, random_pictures
from tests.pools import digests, ingest, table
from winnow.config.datasets import Dataset
from winnow.ingest import writer
from winnow.pool.annotations import Annotations

TRAIN, TEST = random_pictures(7, 0), random_pictures(3, 1)
NAMES = sorted(IDS, key=IDS.get)


def test_every_object_of_the_json_is_read_back(tmp_path):
    dataset = coco_folder(tmp_path, [*TRAIN, ({}, (50, 40))], TEST)
    counts, pool, annotations = ingested(tmp_path, dataset)
    assert pool.classes == NAMES
    assert annotations.rows.tolist() == list(range(11))
    pictures = [*TRAIN, ({}, (50, 40)), *TEST]
    for row, (boxes, _) in enumerate(pictures):
        found = annotations.of(row)
        assert [tuple(box) for box in found.boxes] == list(boxes)
        assert [NAMES[label] for label in found.labels] == list(boxes.values())
        assert found.areas.tolist() == [wide * high for _, _, wide, high in boxes]
        assert not found.crowd.any()
        assert None not in found.masks
    total = sum(len(boxes) for boxes, _ in pictures)
    assert (counts["objects"], counts["pictures_without_objects"]) == (total, 1)
    rows = table(tmp_path / "pool", "annotations")
    assert [row["uid"] for row in rows] == pool.table["uid"].to_pylist()


def test_small_shards_and_other_processes_give_the_same_bytes(tmp_path, monkeypatch):
    dataset = coco_folder(tmp_path, TRAIN, TEST)
    ingest(tmp_path / "one", dataset)
    monkeypatch.setattr(writer, "MAX_COUNT", 2)
    ingest(tmp_path / "two", dataset)
    one, two = (Annotations.open(tmp_path / name) for name in ("one", "two"))
    assert all(one.of(row) == two.of(row) for row in range(10))
    ingest(tmp_path / "three", dataset)
    assert digests(tmp_path / "two") == digests(tmp_path / "three")


def test_a_source_without_annotations_has_none(tmp_path):
    _, pool = ingest(tmp_path / "pool", Dataset("digits", limit=5))
    assert (pool.folder / "annotations.parquet").is_file()  # so that DVC has its out
    assert Annotations.open(pool.folder) is None
    (pool.folder / "annotations.parquet").unlink()
    assert Annotations.open(pool.folder) is None
    (pool.folder / "annotations.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"annotations\.parquet: cannot be read"):
        Annotations.open(pool.folder)


def test_a_row_that_is_not_annotated_is_refused(tmp_path):
    annotations = ingested(tmp_path, coco_folder(tmp_path, TRAIN, TEST))[2]
    with pytest.raises(ValueError, match="row 10 of the pool is not annotated"):
        annotations.of(10)


def test_of_exact_copies_the_most_trusted_stays_and_conflicts_are_counted(tmp_path):
    # The same picture three times in train, once of them annotated otherwise, and once in test.
    def change(made, split):
        if split == "train":
            made["annotations"] = [a for a in made["annotations"] if a["image_id"] != 2]

    one = ({(4, 4, 20, 20): "red"}, (60, 60))
    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, [one, one, one, *TRAIN], [one], change))
    rows, conflicts = annotations.distinct(pool.index, annotations.rows)
    assert rows.tolist() == [*range(3, 11)]  # that of the test split, and the seven others
    assert conflicts == 1
    rows, conflicts = annotations.distinct(pool.index, np.arange(3))
    assert (rows.tolist(), conflicts) == ([0], 1)


def test_helpers_draw_what_they_say():
    assert set(IDS) == set(COLOURS)
    assert len(facts(TRAIN)["annotations"]) == sum(len(boxes) for boxes, _ in TRAIN)
