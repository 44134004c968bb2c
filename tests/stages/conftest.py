"""A real small pool (scikit-learn's digits, polluted), made once, and what training tests need around it."""

import dataclasses

import pytest

from stages.params import Params, parse


@pytest.fixture(scope="session")
def digits_params() -> Params:
    from stages import compose

    return parse(
        compose.composed(
            ["dataset=digits", "scale=debug", "experiment=curation_policies", "+backbone@backbones.test_resnet=test_resnet"]
        )
    )


@pytest.fixture(scope="session")
def digits_pool(tmp_path_factory, digits_params):
    from stages.data.pool import Pool
    from stages.ingest import ingest_source

    folder = tmp_path_factory.mktemp("digits")
    ingest_source(digits_params.dataset, 0, folder, lambda items, **_: items)
    return Pool.open(folder)


@pytest.fixture
def digits(digits_pool, digits_params):
    """A function: the examples of a method over the first n training images of the pool."""
    from stages.training.build import open_for

    def take(method: str = "supervised", n: int = 200):
        table = digits_pool.table
        rows = [i for i, split in enumerate(table["split"].to_pylist()) if split == "train"][:n]
        uids = sorted(set(table["uid"].take(rows).to_pylist()))
        return open_for(digits_params, method, "test_resnet", digits_pool, uids)

    return take


@pytest.fixture
def recipe(digits_params):
    """A function: a method's recipe, with a small batch."""

    def take(method: str = "supervised", batch_size: int = 8):
        return dataclasses.replace(digits_params.methods[method], batch_size=batch_size)

    return take
