"""What curate finds out about the datasets' images, before any model is trained."""

import shutil

import pytest

from stages.curate import curate
from tests.pictures import noise
from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.ingest.ingest import ingest_source
from winnow.pipeline.stage import Stage
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace

SPLITS = {"probe": 4, "val": 2, "test": 4}


@pytest.fixture
def stage(tmp_path):
    """A function: the stage over a pool of 20 images in train/ and test/ without classes, with this set."""

    def of(task_set, **others):
        workspace, source = Workspace(tmp_path), tmp_path / "images"
        shutil.copy(CODE / "dvc.yaml", tmp_path)
        for number in range(20):
            path = source / ("train" if number % 2 else "test") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(noise(number, (16, 16)))
        block = {"source": "folder", "path": str(source), "trusted": 1.0}
        datasets = {"pool": {"shop": block}, "tasks": {"held_out": task_set}}
        tasks = {"linear_probe": {}, "semi_supervised": {}}
        params = parse({"datasets": datasets, "tasks": tasks, "pretrain": {"budget": 1.0}, **others})
        folder = workspace.dataset("pool", "shop")
        folder.mkdir(parents=True)
        ingest_source(params.datasets.pool["shop"], 0, folder, lambda items, **_: items)
        workspace.provenance("shop").mkdir(parents=True)
        for record in ("dropped", "corruption", "sources"):
            path = f"{record}.parquet"
            (folder / path).rename(workspace.provenance("shop") / path)
        found = Stage(Stages.read(CODE)["curate"], params, workspace, None)
        found.work.mkdir(parents=True)
        return found

    return of


ARMS = {
    "arms": {"plain": {"policy": "uniform", "method": "supervised", "backbone": "tiny"}},
    "policies": {"uniform": {"criterion": "uniform"}},
    "methods": {"supervised": {}},
    "backbones": {"tiny": {"name": "test_resnet"}},
}


def test_a_set_that_only_the_readings_read_needs_labels_too(stage):
    given = "10 of its 10 images have no label, and pretrain.readings read labels"
    with pytest.raises(ValueError, match=f"^datasets.tasks.held_out: {given}; "):
        curate(stage({"held_out_of": "shop", "splits": SPLITS, "tasks": []}, **ARMS))


def test_a_set_that_nothing_reads_needs_none(stage):
    found = stage({"held_out_of": "shop", "splits": SPLITS, "tasks": []})
    curate(found)
    assert found.metrics["rows"] == 20


def test_a_set_whose_tasks_read_labels_that_are_not_there_is_one_line(stage):
    found = stage({"held_out_of": "shop", "splits": SPLITS, "tasks": ["linear_probe", "semi_supervised"]})
    given = "10 of its 10 images have no label, and linear_probe, semi_supervised read labels"
    mend = "give labels, or leave them out"
    with pytest.raises(ValueError, match=f"^datasets.tasks.held_out: {given}; {mend}$"):
        curate(found)
