"""How many images there are: unknown or a bound on a fresh clone, exact once curate has written versions."""

import dataclasses
from dataclasses import replace

import pytest

from winnow.config.load import parse
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EITHER, MOST, UNKNOWN, Amount
from winnow.plan.known import CLASSES, Known
from winnow.pool import uids as uid_files


@pytest.fixture
def known(digits_params, tmp_path):
    """A function: what is known in an empty workspace, under changed settings of the pool's dataset."""

    def make(images=None, **changes):
        plain = dataclasses.asdict(digits_params)
        plain["datasets"]["pool"]["digits"] |= changes
        return Known(parse(plain), Workspace(tmp_path), images)

    return make


@pytest.fixture
def ingested(digits_pool, tmp_path):
    """The digits pool in that workspace."""
    folder = Workspace(tmp_path).dataset("pool", "digits")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(digits_pool.folder)


def test_without_a_limit_the_pool_of_a_fresh_clone_is_unknown(known):
    assert known(limit=None).version("pool") == UNKNOWN
    assert known(limit=None).version("clean") == UNKNOWN
    assert known(limit=None).union(["pool", "reference"]).sign != ""


@pytest.mark.parametrize(("near", "exact", "kinds"), [(0.0, 0.0, 1), (0.1, 0.0, 2), (0.1, 0.1, 3)])
def test_a_limit_bounds_it(known, digits_params, near, exact, kinds):
    """The train and the test split each, with a copy of every kind."""
    wrong = dataclasses.asdict(digits_params.datasets.pool["digits"].corruption)
    corruption = {**wrong, "near_duplicate": near, "exact_duplicate": exact}
    assert known(limit=100, corruption=corruption).version("pool") == Amount(2 * 100 * kinds, MOST)


def test_the_bound_holds(known, ingested, digits_pool):
    assert known().version("pool") == Amount(len(digits_pool), MOST)


def test_a_version_that_was_made_is_counted(known, tmp_path, digits_pool):
    uids = sorted({digits_pool.index.uid(row) for row in range(50)})
    for name in ("pool", "reference"):
        folder = Workspace(tmp_path).version(name)
        folder.mkdir(parents=True)
        uid_files.save(folder / "uids.npy", uids[: 30 if name == "pool" else 20])
    assert known().version("pool") == Amount(30)
    assert known().version("clean") == Amount(30, MOST)
    assert known().union(["pool", "reference"]) == Amount(50, MOST)
    assert known(images=7).version("pool") == Amount(7)


def test_splits_of_a_held_out_set_stand_in_params(known, digits_params):
    splits = digits_params.datasets.tasks["held_out"].splits
    assert known().split("held_out", "probe") == Amount(splits.probe)
    assert known().split("held_out", "labels-0.1") == Amount(round(0.1 * splits.probe), EITHER)


def test_classes_are_assumed_until_ingest(known, digits_params):
    assert known().pool_classes() == (CLASSES, False)
    assert known().set_classes("held_out") == (CLASSES, False)


def test_classes_are_those_of_the_pool(known, ingested, digits_pool):
    assert known().pool_classes() == (len(digits_pool.classes), True)


def test_a_reference_that_is_held_out_has_the_size_that_params_say(known, digits_params):
    trusted = digits_params.datasets.reference["trusted"]
    assert known().version("reference") == Amount(trusted.examples)
    known_here = known()
    known_here.params.datasets.reference["trusted"] = replace(trusted, held_out_of=None, source="digits")
    assert known_here.version("reference") == Amount(trusted.examples, MOST)
