"""A real small pool (scikit-learn's digits, corrupted), ingested once, and what tests of training need."""

import dataclasses

import pytest

from tests.pictures import noise
from tests.pools import ingest
from winnow.config.compose import composed
from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.config.schema import Params
from winnow.ingest import writer
from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pipeline.workspace import Workspace
from winnow.pool import images
from winnow.pool.pool import Pool


@pytest.fixture(scope="session")
def digits_params() -> Params:
    """The params of a small run on digits, with a ResNet of the tests' own among the backbones."""
    overrides = ["dataset=digits", "scale=debug", "experiment=curation_policies", "seeds=1"]
    overrides += ["+backbone@backbones.test_resnet=test_resnet", "+method@methods.simclr=simclr"]
    overrides += ["reference.methods=[supervised,simclr]"]
    return parse(composed(overrides, Workspace(CODE).conf))


@pytest.fixture(scope="session")
def digits_pool(tmp_path_factory, digits_params):
    """The pool of these params, corrupted as they say."""
    folder = tmp_path_factory.mktemp("digits") / "data/datasets/pool/digits"
    return ingest(folder, digits_params.datasets.pool["digits"])[1]


@pytest.fixture
def digits(digits_pool, digits_params):
    """A function: the examples for a method, of the first n training images of the pool."""
    from winnow.training.build import open_for

    def open_first(method: str = "supervised", n: int = 200):
        table = digits_pool.table
        rows = [i for i, split in enumerate(table["split"].to_pylist()) if split == "train"][:n]
        uids = sorted(set(table["uid"].take(rows).to_pylist()))
        return open_for(digits_params, method, "test_resnet", digits_pool, uids)

    return open_first


@pytest.fixture
def recipe(digits_params):
    """A function: a method's recipe, with a small batch."""

    def small(method: str = "supervised", batch_size: int = 8):
        return dataclasses.replace(digits_params.methods[method], batch_size=batch_size)

    return small


@pytest.fixture(scope="session")
def start(digits_pool):
    """`tests.loops.Starter`, with every method."""
    from tests.loops import Starter

    overrides = ["dataset=digits", "scale=debug", "experiment=methods", "+method@methods.clip=clip"]
    overrides += ["+backbone@backbones.test_vit=test_vit"]
    return Starter(parse(composed(overrides, Workspace(CODE).conf)), digits_pool)


@pytest.fixture(scope="session")
def example():
    """A function: an example of noise by its number."""

    def make(number, kind="PNG", **fields):
        return Example(f"source-{number}", noise(number, (8 + number % 5, 9), kind), **fields)

    return make


@pytest.fixture
def examples(example):
    """25 examples in three formats, with and without labels and captions; the last is of the test split."""
    kinds = ["PNG", "JPEG", "WEBP"]
    made = [example(i, kinds[i % 3], label=i % 2, caption=f"a photo of {i}") for i in range(23)]
    return [*made, example(23), example(24, split="test", caption="é ø 猫")]


@pytest.fixture(scope="session")
def write():
    """A function: write examples, every tenth trusted, and one that is dropped; returns the opened pool."""

    def make(folder, examples, corruption=()):
        folder.mkdir(exist_ok=True)
        with PoolWriter(folder, ["cat", "dog"]) as pool:
            for one in examples:
                measured = images.measure(one.image, 10**6)
                facts = {"trusted": one.key.endswith("0"), "corruption": dict(corruption).get(one.key)}
                pool.add(one, measured, source=one.key, **facts)
            pool.drop("bad.jpg", "truncated")
        return Pool.open(folder)

    return make


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of ten images."""
    monkeypatch.setattr(writer, "MAX_COUNT", 10)
