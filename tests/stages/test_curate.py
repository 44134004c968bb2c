"""Curation keeps the held-out apart, gives a reason for every drop, and repeats itself."""

import copy
import json

import numpy as np
import pyarrow as pa
import pytest

from stages import curate
from stages.data import version
from stages.filters.near_duplicate import hashes


@pytest.fixture(scope="module")
def roles(digits_pool, digits_params):
    return curate.assign(digits_pool.table, digits_params)


def test_every_row_has_one_role_and_every_drop_a_reason(roles, digits_pool, digits_params):
    assert set(roles.role) == {"pool", "reference", "test", "probe", "val", "dropped"}
    assert all((role == "dropped") == (reason is not None) for role, reason in zip(roles.role, roles.reason, strict=True))
    splits = digits_params.curate.splits
    for name in ("reference", "probe", "val", "test"):
        assert (roles.role == name).sum() == getattr(splits, name)


def test_nothing_that_is_trained_on_is_held_out_or_near_to_it(roles, digits_pool, digits_params):
    """Brute force over all pairs of hashes, and over uids."""
    table = digits_pool.table
    uids = table["uid"].to_numpy(zero_copy_only=False)
    bits = np.unpackbits(hashes(table), axis=1).astype(np.int16)
    trained, held = roles.rows("pool", "reference"), roles.rows("test", "probe", "val")
    assert not set(uids[trained]) & set(uids[held])
    distances = bits[trained] @ (1 - bits[held]).T + (1 - bits[trained]) @ bits[held].T
    assert distances.min() > digits_params.curate.filters["near_duplicate"]["max_distance"]


def test_splits_do_not_overlap_nor_come_from_untrusted_rows(roles, digits_pool):
    table = digits_pool.table
    trusted, split = table["trusted"].to_numpy(zero_copy_only=False), table["split"].to_numpy(zero_copy_only=False)
    assert (split[roles.rows("test")] == "test").all()
    for name in ("probe", "val", "reference"):
        assert trusted[roles.rows(name)].all()
        assert (split[roles.rows(name)] == "train").all()


def test_without_a_near_duplicate_filter_the_held_out_still_stay_apart(digits_pool, digits_params):
    params = copy.deepcopy(digits_params)
    params.curate.filters = {}
    roles = curate.assign(digits_pool.table, params)
    uids = digits_pool.table["uid"].to_numpy(zero_copy_only=False)
    assert not set(uids[roles.rows("pool", "reference")]) & set(uids[roles.rows("test", "probe", "val")])


def test_same_seed_same_roles_another_seed_others(roles, digits_pool, digits_params):
    assert (curate.assign(digits_pool.table, digits_params).role == roles.role).all()
    other = copy.deepcopy(digits_params)
    other.seed = 1
    assert (curate.assign(digits_pool.table, other).role != roles.role).any()


def test_the_order_of_the_pool_does_not_choose_the_splits(roles, digits_pool, digits_params):
    """Rank comes from the key: reversing the rows gives the same probe split (duplicates aside, which depend on who is first)."""
    params = copy.deepcopy(digits_params)
    params.curate.filters = {}
    forward = curate.assign(digits_pool.table, params)
    back = np.arange(len(digits_pool))[::-1].copy()
    backward = curate.assign(digits_pool.table.take(pa.array(back)), params)
    assert (backward.role[::-1] == forward.role).all()


def test_too_few_trusted_examples_is_one_clear_line(digits_pool, digits_params):
    params = copy.deepcopy(digits_params)
    params.curate.splits.reference = 10_000
    with pytest.raises(ValueError, match="curate.splits.reference: 10000 examples are wanted and .* raise dataset.trusted"):
        curate.assign(digits_pool.table, params)


def test_balanced_takes_the_same_share_of_every_class():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 3)
    chosen = labels[curate.balanced(labels, 0.1)]
    assert [(chosen == c).sum() for c in range(3)] == [5, 3, 1]  # ceil(0.1 n)
    assert len(curate.balanced(labels, 1.0)) == len(labels)


def test_steps_account_for_every_row(roles, digits_params, digits_pool):
    """What goes into each step is what the one before it left, and all drops together are those of the roles."""
    names = ["take_test", *digits_params.curate.filters, "take_probe", "take_val", "take_reference"]
    assert [step["name"] for step in roles.steps] == names
    assert roles.steps[0]["rows_in"] == len(digits_pool)
    dropped = [sum(step["dropped"].values()) for step in roles.steps]
    assert sum(dropped) == (roles.role == "dropped").sum()
    splits = digits_params.curate.splits
    taken = {"take_test": splits.test, "take_probe": splits.probe, "take_val": splits.val}
    for before, step, gone in zip(roles.steps, roles.steps[1:], dropped, strict=False):
        assert step["rows_in"] == before["rows_in"] - gone - taken.get(before["name"], 0)


def test_filters_are_told_the_names_of_the_classes(digits_pool):
    assert json.loads(curate.with_classes(digits_pool).schema.metadata[b"classes"]) == digits_pool.classes


def test_both_versions_are_made_from_one_account(roles, digits_pool, digits_params, tmp_path):
    why = np.where(roles.role == "dropped", roles.reason, roles.role)
    for name in curate.VERSIONS:
        version.write(tmp_path / name, name, digits_pool, roles.role == name, why, curate.lineage(digits_params, roles))
    pool, reference = (version.load(tmp_path / name) for name in curate.VERSIONS)
    assert not set(pool.uids) & set(reference.uids)
    assert pool.lineage["steps"] == reference.lineage["steps"] == roles.steps
    assert pool.lineage["reasons"]["reference"] == digits_params.curate.splits.reference
