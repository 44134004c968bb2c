"""A workspace with the digits pool, the splits of its held-out set, and an arm's encoder."""

from dataclasses import replace

import pytest
import torch

from models import encoders
from winnow.config.schema import Arm
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.training.weights import save_encoder

SET, ARM = "held_out", "a"
SIZES = {"probe": 80, "val": 40, "test": 30}


@pytest.fixture
def measured(digits_pool, digits_params, tmp_path):
    """The workspace and its params; arm `a` has an untrained `test_resnet`."""
    workspace = Workspace(tmp_path)
    folder, records = workspace.dataset("pool", "digits"), workspace.provenance("digits")
    for parent in (folder.parent, records.parent, workspace.split(SET, "probe").parent):
        parent.mkdir(parents=True)
    folder.symlink_to(digits_pool.folder)
    records.symlink_to(digits_pool.folder)
    uids, first = sorted({digits_pool.index.uid(row) for row in range(300)}), 0
    for name, size in SIZES.items():
        uid_files.save(workspace.split(SET, name), uids[first : first + size])
        first += size
    backbone = digits_params.backbones["test_resnet"]
    torch.manual_seed(0)
    encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs)
    save_encoder(workspace.arm(ARM), encoder, backbone)
    arms = {ARM: Arm("uniform", "supervised", "test_resnet")}
    return workspace, replace(digits_params, arms=arms)
