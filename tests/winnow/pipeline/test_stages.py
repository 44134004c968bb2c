"""The one table of stages: what dvc.yaml says, read as DVC reads it."""

import re
import subprocess
import sys

import pytest

from winnow.config.compose import composed
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace

ROOT = Workspace.find().root


@pytest.fixture(scope="module")
def stages():
    return Stages.read(ROOT)


@pytest.mark.slow
def test_our_reading_of_the_dag_is_dvcs(stages):
    command = [sys.executable, "-m", "dvc", "dag", "--dot"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    edges = set(re.findall(r'"(\S+)" -> "(\S+)"', out))
    assert {(need, name) for name, needs in stages.graph.items() for need in needs} == edges
    command = [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.split() == list(stages.entries)


def test_downstream_of_one_arm_is_its_tasks_and_the_comparison(stages):
    assert stages.downstream("pretrain@supervised-hard") == {
        "pretrain@supervised-hard",
        "linear_probe@supervised-hard.held_out",
        "compare",
    }
    assert stages.downstream("ingest@fashion_mnist") == set(stages.entries) - {"plugins"}


def test_where_outs_and_records_lie(stages):
    expected = {
        "ingest@fashion_mnist": ("data", "data/ingest/fashion_mnist"),
        "curate": ("data", "data/versions"),
        "datasheet@pool": ("results/datasheet/pool", "results/datasheet/pool"),
        "reference": ("results/reference", "results/reference"),
        "pretrain@supervised-uniform-s0": (
            "results/pretrain/supervised-uniform-s0",
            "results/pretrain/supervised-uniform-s0",
        ),
        "linear_probe@supervised-uniform-s0.held_out": (
            "results/tasks/linear_probe/supervised-uniform-s0/held_out",
            "results/tasks/linear_probe/supervised-uniform-s0/held_out",
        ),
        "compare": ("results/compare", "results/compare"),
    }
    assert {name: (stages[name].out, stages[name].records) for name in expected} == expected


def test_versions_that_are_read_and_made_and_tasks(stages):
    assert stages["curate"].makes_versions == ["pool", "reference"]
    assert stages["pretrain@supervised-uniform-s0"].reads_versions == ["pool", "reference"]
    assert stages["datasheet@reference"].reads_versions == ["reference"]
    assert stages["ingest@fashion_mnist"].makes_versions == []
    assert stages["ingest@fashion_mnist"].reads_versions == []
    assert stages.tasks == ["linear_probe"], "no set is measured by the others"


@pytest.mark.slow
def test_a_version_is_made_by_refine_from_its_parent(tmp_path):
    """The table follows params.yaml: a version of the user's own is a stage, and an arm on it needs that
    stage.
    """
    overrides = [
        "+versions.mine={model: results/reference/models/supervised, filters: {blank: {}}}",
        "arms.supervised-hard.version=mine",
    ]
    conf = Workspace.find().conf
    params = composed(overrides, conf)
    stages = Stages.read(ROOT, params)
    assert stages["refine@mine"].makes_versions == ["mine"]
    assert "pool" in stages["refine@mine"].reads_versions
    assert stages["refine@mine"].out == "data/versions/mine"
    assert "refine@mine" in stages.graph["pretrain@supervised-hard"]
    assert stages.graph["datasheet@mine"] == {"refine@mine", "ingest@fashion_mnist", "plugins"}
