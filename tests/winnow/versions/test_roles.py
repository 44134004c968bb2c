"""Curation keeps the held-out apart, gives a reason for every drop, and repeats itself."""

import copy
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from tests.versions import PLAIN_CPU
from winnow.pool.hashes import hashes
from winnow.versions.roles import assign_roles, stratified, with_classes


@pytest.fixture(scope="module")
def roles(digits_pool, digits_params):
    return assign_roles(digits_pool.table, digits_params)


@pytest.fixture
def params(digits_params):
    """A copy that a test may change."""
    return copy.deepcopy(digits_params)


def test_every_row_has_one_role_and_every_drop_a_reason(roles, digits_params):
    assert set(roles.role) == {"pool", "reference", "test", "probe", "val", "dropped"}
    assert ((roles.role == "dropped") == [reason is not None for reason in roles.reason]).all()
    splits = digits_params.datasets.tasks["held_out"].splits
    for name in ("probe", "val", "test"):
        assert (roles.role == name).sum() == len(roles.held_out("held_out", name)) == getattr(splits, name)
    assert (roles.role == "reference").sum() == digits_params.datasets.reference["trusted"].examples


def test_nothing_that_is_trained_on_is_held_out_or_near_to_it(roles, digits_pool, digits_params):
    """Brute force over all pairs of hashes, and over uids."""
    table = digits_pool.table
    uids = table["uid"].to_numpy(zero_copy_only=False)
    bits = np.unpackbits(hashes(table), axis=1).astype(np.int16)
    trained, held = roles.rows("pool", "reference"), roles.rows("test", "probe", "val")
    assert not set(uids[trained]) & set(uids[held])
    distances = bits[trained] @ (1 - bits[held]).T + (1 - bits[trained]) @ bits[held].T
    assert distances.min() > digits_params.curate.filters["near_duplicate"]["max_distance"]


def test_splits_come_from_trusted_rows_and_the_sources_own_test_split(roles, digits_pool):
    table = digits_pool.table
    trusted, split = (table[name].to_numpy(zero_copy_only=False) for name in ("trusted", "split"))
    assert (split[roles.rows("test")] == "test").all()
    for name in ("probe", "val", "reference"):
        assert trusted[roles.rows(name)].all()
        assert (split[roles.rows(name)] == "train").all()


def test_without_a_near_duplicate_filter_the_held_out_still_stay_apart(digits_pool, params):
    params.curate.filters = {}
    roles = assign_roles(digits_pool.table, params)
    uids = digits_pool.table["uid"].to_numpy(zero_copy_only=False)
    assert not set(uids[roles.rows("pool", "reference")]) & set(uids[roles.rows("test", "probe", "val")])


def test_same_seed_same_roles_another_seed_others(roles, digits_pool, params):
    assert (assign_roles(digits_pool.table, params).role == roles.role).all()
    params.seed = 1
    assert (assign_roles(digits_pool.table, params).role != roles.role).any()


RUN = """
import json, sys
from winnow.config.load import parse
from winnow.pool.pool import Pool
from winnow.versions.roles import assign_roles
roles = assign_roles(Pool.open(sys.argv[1]).table, parse(json.loads(sys.argv[2])))
print(json.dumps([roles.role.tolist(), roles.reason.tolist(), roles.steps]))
"""


@pytest.mark.slow
def test_a_processor_without_vector_instructions_gives_the_same_roles(roles, digits_pool, digits_params):
    """The roles decide every byte of the versions and splits, which are promised on every machine."""
    command = [sys.executable, "-c", RUN, digits_pool.folder, json.dumps(dataclasses.asdict(digits_params))]
    run = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **PLAIN_CPU})
    assert json.loads(run.stdout) == [roles.role.tolist(), roles.reason.tolist(), roles.steps]


def test_the_order_of_the_pool_does_not_choose_the_splits(digits_pool, params):
    """Rank comes from the key: reversing the rows gives the same splits (duplicates aside, of which the first
    is kept).
    """
    params.curate.filters = {}
    forward = assign_roles(digits_pool.table, params)
    reverse = np.arange(len(digits_pool))[::-1].copy()
    backward = assign_roles(digits_pool.table.take(pa.array(reverse)), params)
    assert (backward.role[::-1] == forward.role).all()


def test_too_few_trusted_examples_is_one_clear_line(digits_pool, params):
    params.datasets.reference["trusted"].examples = 10_000
    line = (
        r"^datasets.reference.trusted.examples: 10000 is more than the \d+ examples left; lower it, or raise "
        r"the dataset's `trusted`$"
    )
    with pytest.raises(ValueError, match=line):
        assign_roles(digits_pool.table, params)


def test_a_filter_that_drops_all_is_the_same_clear_line(digits_pool, params):
    """It was "zip() argument 2 is shorter", because the filters after it did not run."""
    params.curate.filters = {"tiny": {"min_side": 10_000}, "blank": {}}
    line = "^datasets.tasks.held_out.splits.probe: .* is more than the 0 examples left"
    with pytest.raises(ValueError, match=line):
        assign_roles(digits_pool.table, params)


def test_a_stratified_subset_has_the_same_share_of_every_class():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 3)
    chosen = labels[stratified(labels, 0.1)]
    assert [(chosen == c).sum() for c in range(3)] == [5, 3, 1]  # ceil(0.1 n)
    assert len(stratified(labels, 1.0)) == len(labels)


def test_steps_account_for_every_row(roles, digits_params, digits_pool):
    """Each step gets what the one before it left, and all drops together are those of the roles."""
    names = ["take_test", *digits_params.curate.filters, "take_probe", "take_val", "take_reference"]
    assert [step["name"] for step in roles.steps] == names
    assert roles.steps[0]["rows_in"] == len(digits_pool)
    dropped = [sum(step["dropped"].values()) for step in roles.steps]
    assert sum(dropped) == (roles.role == "dropped").sum()
    splits = digits_params.datasets.tasks["held_out"].splits
    taken = {"take_test": splits.test, "take_probe": splits.probe, "take_val": splits.val}
    for before, step, gone in zip(roles.steps, roles.steps[1:], dropped, strict=False):
        assert step["rows_in"] == before["rows_in"] - gone - taken.get(before["name"], 0)


def test_filters_get_the_names_of_the_classes(digits_pool):
    assert json.loads(with_classes(digits_pool).schema.metadata[b"classes"]) == digits_pool.classes
