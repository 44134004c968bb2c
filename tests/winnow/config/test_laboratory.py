"""`dataset`, `each_dataset` and paths written out as `datasets`."""

import contextlib

import pytest

from winnow.config.errors import ParamsError
from winnow.config.laboratory import datasets_of

SPLITS = {"reference": 5, "probe": 3, "val": 2, "test": 4}
HELD_OUT = {"held_out_of": "digits", "splits": {"probe": 3, "val": 2, "test": 4}}
ALL = ["linear_probe", "semi_supervised", "detection"]


def test_one_dataset_is_the_pool_and_lends_the_reference_and_a_task_set():
    raw = {"seed": 1, "dataset": {"source": "digits", "trusted": 0.5, "splits": SPLITS}}
    assert datasets_of(raw) == {
        "seed": 1,
        "datasets": {
            "pool": {"digits": {"source": "digits", "trusted": 0.5}},
            "reference": {"trusted": {"held_out_of": "digits", "examples": 5}},
            "tasks": {"held_out": {**HELD_OUT, "tasks": ALL}},
        },
    }
    assert raw["dataset"]["splits"] is SPLITS
    assert SPLITS["reference"] == 5, "what was given is left as it was"


def test_its_tasks_may_be_named():
    found = datasets_of({"dataset": {"source": "digits", "splits": SPLITS, "tasks": ["linear_probe"]}})
    assert found["datasets"]["tasks"]["held_out"]["tasks"] == ["linear_probe"]


def test_what_it_does_not_hold_out_is_not_there():
    found = datasets_of({"dataset": {"source": "digits"}})["datasets"]
    assert found == {"pool": {"digits": {"source": "digits"}}, "reference": {}, "tasks": {}}
    found = datasets_of({"dataset": {"source": "digits", "splits": {"reference": 7}}})["datasets"]
    assert found["tasks"] == {}
    assert found["reference"]["trusted"]["examples"] == 7


def test_references_and_sets_of_their_own_stand_beside_it():
    """The held-out set comes first: readings during training are of the first."""
    birds = {"source": "folder", "path": "birds"}
    raw = {
        "dataset": {"source": "digits", "splits": SPLITS},
        "datasets": {"tasks": {"birds": birds}, "reference": {"mine": birds}},
    }
    found = datasets_of(raw)["datasets"]
    assert list(found["tasks"]) == ["held_out", "birds"]
    assert list(found["reference"]) == ["trusted", "mine"]


def test_a_pool_of_ones_own_takes_its_place():
    raw = {
        "dataset": {"source": "digits", "splits": SPLITS},
        "datasets": {"pool": {"a": {"source": "folder"}}},
    }
    assert datasets_of(raw) == {"datasets": {"pool": {"a": {"source": "folder"}}}}


def test_two_pools_at_once_are_one_line():
    raw = {"dataset": {"source": "folder", "path": "b"}, "datasets": {"pool": {"a": {"source": "folder"}}}}
    with pytest.raises(
        ParamsError, match="^dataset.path: 'b', and datasets.pool has a; give one of the two$"
    ):
        datasets_of(raw)


@pytest.mark.parametrize("many", [False, True])
def test_a_path_stands_for_the_dataset_that_lies_there(tmp_path, many):
    """Named after its last part and its role, so that equal folders of two roles have two names."""
    (tmp_path / "my photos").mkdir()
    (tmp_path / "list.csv").touch()
    photos, table = str(tmp_path / "my photos"), str(tmp_path / "list.csv")
    pool = [photos, table] if many else photos
    raw = {"datasets": {"pool": pool, "reference": photos, "tasks": {"birds": table}}}
    found = datasets_of(raw)["datasets"]
    folder = {"source": "folder", "path": photos, "options": {}}
    listed = {"source": "table", "path": table, "options": {}}
    assert found["pool"] == {"my_photos_pool": folder, **({"list_pool": listed} if many else {})}
    assert found["reference"] == {"my_photos_reference": folder}
    assert found["tasks"] == {"birds": listed}


def test_no_path_is_lost_to_another_of_the_same_name(tmp_path):
    """photos/train and drawings/train are two datasets, or a mistake; not one of them."""
    paths = [tmp_path / "photos/train", tmp_path / "drawings/train"]
    for path in paths:
        path.mkdir(parents=True)
    given, found = [str(path) for path in paths], None
    with contextlib.suppress(ParamsError):
        found = datasets_of({"datasets": {"pool": given}})["datasets"]["pool"]
    assert found is None or [block["path"] for block in found.values()] == given


@pytest.mark.parametrize("pool", [3, {"a": 3}, [3]])
def test_what_is_no_dataset_is_one_line(pool):
    with pytest.raises(ParamsError) as caught:
        datasets_of({"datasets": {"pool": pool}})
    assert "\n" not in str(caught.value)


def test_each_dataset_is_for_all_that_are_ingested():
    raw = {
        "dataset": {},
        "each_dataset": {"limit": 9},
        "datasets": {
            "pool": {"a": {"source": "folder", "limit": 100}},
            "reference": {"trusted": {"held_out_of": "a", "examples": 3}},
            "tasks": {"birds": {"source": "folder"}},
        },
    }
    found = datasets_of(raw)["datasets"]
    assert found["pool"]["a"]["limit"] == found["tasks"]["birds"]["limit"] == 9
    assert "limit" not in found["reference"]["trusted"]
    assert raw["datasets"]["pool"]["a"]["limit"] == 100


def test_each_dataset_is_also_for_those_beside_a_laboratory_run():
    raw = {
        "dataset": {"source": "digits", "splits": SPLITS},
        "each_dataset": {"limit": 9},
        "datasets": {"tasks": {"birds": {"source": "folder"}}},
    }
    found = datasets_of(raw)["datasets"]
    assert found["pool"]["digits"]["limit"] == found["tasks"]["birds"]["limit"] == 9
    assert "limit" not in found["tasks"]["held_out"]


def test_params_without_shorthands_stay_as_they_are():
    raw = {"datasets": {"pool": {"a": {"source": "folder"}}}, "seed": 0}
    assert datasets_of(raw) == raw
    assert datasets_of({"seed": 0}) == {"seed": 0}
