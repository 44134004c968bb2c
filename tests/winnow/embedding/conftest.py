"""An untrained encoder in an empty workspace, and its embeddings."""

import pytest

from tests.pools import silent
from winnow.config.schema import Version
from winnow.embedding.embeddings import Embeddings
from winnow.pipeline.workspace import Workspace
from winnow.training.build import build
from winnow.training.weights import save_encoder


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


@pytest.fixture
def version(workspace, digits_params):
    """A version by an untrained encoder, which lies where an arm's would."""
    objective = build(digits_params, "supervised", "test_resnet", 10, 0)
    save_encoder(workspace.arm("arm"), objective.exported(), digits_params.backbones["test_resnet"])
    return Version(model="results/pretrain/arm/model.safetensors")


@pytest.fixture
def open_embeddings(workspace, version, digits_pool, digits_params):
    """A function: the embeddings of the digits by the encoder, or by that of another version."""

    def opened(params=digits_params, version=version):
        return Embeddings(digits_pool, version, params, workspace, silent)

    return opened
