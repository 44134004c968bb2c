"""Roles where pool, reference and task sets are datasets of their own, over tables of made-up hashes."""

import copy
import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.config.load import parse
from winnow.ingest.writer import PoolWriter
from winnow.pool import images
from winnow.pool.hashes import hashes
from winnow.pool.parts import Origin
from winnow.pool.pool import Pool
from winnow.versions.roles import assign_roles

NEAR = 20  # bits, the default of near_duplicate
SETS = {"held_out": {"held_out_of": "shop", "splits": {"probe": 2, "val": 1, "test": 2}, "tasks": []}}
POOL = {"shop": {"source": "digits"}, "web": {"source": "digits"}}
OWN = {"own": {"source": "digits"}}


def params(filters=(), reference=None, tasks=None):
    """Params of these datasets, and of the filters of these names."""
    datasets = {"pool": POOL, "reference": reference or {}, "tasks": tasks or {}}
    curate = {"filters": {name: {} for name in filters}}
    return parse({"datasets": datasets, "curate": curate, "pretrain": {"budget": 1.0}})


def picture(number, flips=0):
    """A hash of 256 bits, far from that of another number, with so many bits turned."""
    bits = np.random.default_rng(number).integers(0, 2, 256)
    bits[:flips] ^= 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def rows(*given):
    """A table of (dataset, picture, turned bits, facts); what is equal in picture and bits has one uid."""
    facts = [{"trusted": False, "split": "train", **dict(*more)} for _, _, _, *more in given]
    columns = {
        "key": [f"{dataset}/{row:09d}" for row, (dataset, *_) in enumerate(given)],
        "uid": [f"{number:016x}{flips:016x}" for _, number, flips, *_ in given],
        "dataset": [dataset for dataset, *_ in given],
        "phash": [picture(number, flips) for _, number, flips, *_ in given],
        "trusted": [one["trusted"] for one in facts],
        "split": [one["split"] for one in facts],
    }
    kinds = {"phash": pa.binary(32), "trusted": pa.bool_()}
    return pa.table({name: pa.array(value, kinds.get(name, pa.string())) for name, value in columns.items()})


def outcomes(roles):
    """The role of each row, or of a dropped one its reason."""
    return np.where(roles.role == "dropped", roles.reason, roles.role).tolist()


def test_a_reference_of_its_own_is_taken_whole_and_leaves_nothing_of_it_in_the_pool():
    table = rows(("shop", 1, 0), ("shop", 2, 0), ("web", 3, 0), ("own", 2, 0), ("own", 4, 0), ("web", 4, 0))
    found = assign_roles(table, params(reference=OWN))
    assert outcomes(found) == ["pool", "in_reference", "pool", "reference", "reference", "in_reference"]
    assert found.steps[-1]["name"] == "take_reference"
    assert found.steps[-1]["parameters"] == {"dataset": "own", "count": None}
    assert found.steps[-1]["dropped"] == {"in_reference": 2}


def test_filters_keep_the_reference_and_drop_its_copies_in_the_pool():
    """Though the pool's rows come first, and one of them is trusted."""
    table = rows(
        ("shop", 1, 0, {"trusted": True}), ("shop", 2, 5), ("own", 1, 0), ("own", 2, 0), ("own", 2, 3)
    )
    found = assign_roles(table, params(["exact_duplicate", "near_duplicate"], OWN))
    expected = ["exact_duplicate", "near_duplicate", "reference", "reference", "near_duplicate"]
    assert outcomes(found) == expected


def test_of_a_reference_as_many_are_taken_as_is_said():
    """Drawn by the key; an image that is left over is no reason to leave its copy out of the pool."""
    table = rows(*(("own", number, 0) for number in range(8)), *(("web", number, 0) for number in range(8)))
    everything = assign_roles(table, params(reference=OWN))
    assert outcomes(everything) == ["reference"] * 8 + ["in_reference"] * 8
    three = assign_roles(table, params(reference={"own": {"source": "digits", "examples": 3}}))
    taken = three.rows("reference")
    assert len(taken) == 3
    assert (three.reason[[row for row in range(8) if row not in taken]] == "spare_reference").all()
    copies = ["in_reference" if row in taken else "pool" for row in range(8)]
    assert outcomes(three)[8:] == copies
    five = assign_roles(table, params(reference={"own": {"source": "digits", "examples": 5}}))
    assert set(taken) < set(five.rows("reference"))
    many = assign_roles(table, params(reference={"own": {"source": "digits", "examples": 99}}))
    assert outcomes(many) == outcomes(everything)


def test_what_a_set_is_tested_on_is_trained_on_nowhere():
    """Copies and near copies of a guarded picture go from pool and reference; others stay."""
    table = rows(
        ("shop", 1, 0), ("web", 1, NEAR), ("web", 1, NEAR + 1), ("own", 1, 1), ("own", 2, 0), ("shop", 3, 0)
    )  # fmt: skip
    guarded = {"birds": rows(("birds", 1, 0), ("birds", 9, 0)), "cars": rows(("cars", 3, 2))}
    found = assign_roles(table, params(reference=OWN), guarded)
    near = "near_held_out"
    assert outcomes(found) == [near, near, "pool", near, "reference", near]
    first, second = found.steps[:2]
    assert (first["name"], first["parameters"]) == ("guard_birds", {"images": 2, "max_distance": NEAR})
    assert (first["rows_in"], first["dropped"]) == (6, {near: 3})
    assert (second["name"], second["rows_in"], second["dropped"]) == ("guard_cars", 3, {near: 1})


def test_the_distance_is_that_of_the_filter():
    settings = params(["near_duplicate"], OWN)
    settings.curate.filters["near_duplicate"]["max_distance"] = 2
    table = rows(("shop", 1, 2), ("web", 1, 5), ("own", 2, 0))
    found = assign_roles(table, settings, {"birds": rows(("birds", 1, 0))})
    assert outcomes(found) == ["near_held_out", "pool", "reference"]


def test_a_set_is_held_out_of_its_own_dataset_and_guards_the_others():
    trusted, test = {"trusted": True}, {"split": "test"}
    shop = [("shop", number, 0, test) for number in range(3)]
    shop += [("shop", number, 0, trusted) for number in range(10, 14)]
    web = [("web", number, 0, test) for number in range(20, 23)]
    web += [("web", number, 0, trusted) for number in (10, 0)]
    found = assign_roles(rows(*shop, *web), params(tasks=SETS))
    assert sorted(outcomes(found)[:3]) == ["spare_test", "test", "test"]
    assert sorted(outcomes(found)[3:7]) == ["pool", "probe", "probe", "val"]
    assert outcomes(found)[7:10] == ["pool"] * 3, "another dataset's test split is nobody's here"
    held = {0: outcomes(found)[3] != "pool", 1: outcomes(found)[0] == "test"}
    assert outcomes(found)[10:] == ["near_held_out" if held[place] else "pool" for place in (0, 1)]


def test_two_sets_of_one_dataset_share_no_image():
    one = SETS["held_out"] | {"splits": {"probe": 2, "val": 1, "test": 1}}
    table = rows(
        *(("shop", number, 0, {"split": "test"}) for number in range(3)),
        *(("shop", number, 0, {"trusted": True}) for number in range(10, 17)),
    )
    found = assign_roles(table, params(tasks={"one": one, "other": one}))
    for split, count in (("test", 1), ("probe", 2), ("val", 1)):
        held = [found.held_out(name, split).tolist() for name in ("one", "other")]
        assert [len(some) for some in held] == [count, count]
        assert not set(held[0]) & set(held[1])
    assert outcomes(found).count("pool") == 1
    assert found.task_set[found.rows("pool")].tolist() == [None]


@st.composite
def worlds(draw):
    """Rows of two pools and a reference that share pictures, and the pictures of a guarded set."""
    row = st.tuples(
        st.sampled_from(["shop", "web", "own"]),
        st.integers(0, 7),
        st.sampled_from([0, 0, 3, NEAR + 1]),
        st.fixed_dictionaries({"trusted": st.booleans(), "split": st.sampled_from(["train", "test"])}),
    )
    guarded = draw(st.lists(st.integers(0, 7), max_size=2, unique=True))
    limit = draw(st.none() | st.integers(1, 4))
    filters = draw(st.sampled_from([[], ["exact_duplicate"], ["exact_duplicate", "near_duplicate"]]))
    return draw(st.lists(row, min_size=1, max_size=25)), guarded, limit, filters


@pytest.fixture(scope="module")
def base():
    return params(reference=OWN)


@settings(deadline=None, max_examples=50)
@given(world=worlds())
def test_reference_pool_and_guarded_sets_are_always_apart(base, world):
    """Brute force over all pairs of rows."""
    given, guarded, limit, filters = world
    table, held = rows(*given), rows(*(("birds", number, 0) for number in guarded))
    changed = copy.deepcopy(base)
    changed.curate.filters = {name: {} for name in filters}
    changed.datasets.reference["own"].examples = limit
    found = assign_roles(table, changed, {"birds": held})
    uids, dataset = (table[name].to_numpy(zero_copy_only=False) for name in ("uid", "dataset"))
    pool, reference = found.rows("pool"), found.rows("reference")
    assert set(found.role) <= {"pool", "reference", "dropped"}
    assert set(dataset[reference]) <= {"own"}
    assert not set(dataset[pool]) & {"own"}
    assert not set(uids[pool]) & set(uids[reference])
    assert limit is None or len(reference) <= limit
    bits, kept = np.unpackbits(hashes(table), axis=1), [*pool, *reference]
    for one in np.unpackbits(hashes(held), axis=1):
        assert all((bits[row] != one).sum() > NEAR for row in kept)
    assert [reason is not None for reason in found.reason] == (found.role == "dropped").tolist()
    assert sum(sum(step["dropped"].values()) for step in found.steps) == (found.role == "dropped").sum()


@pytest.mark.parametrize(
    ("first", "second", "own"),
    [
        ({"split": "train"}, {"split": "train", "trusted": True}, False),
        ({"split": "train", "trusted": True}, {"split": "test"}, False),
        ({"split": "train"}, {"split": "test"}, True),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_uid_of_a_version_leads_to_the_row_that_it_holds(tmp_path, example, first, second, own, alone):
    """The same picture with two labels, in two datasets or in one: training must read the label that curation
    kept.
    """
    written = [[(0, first), (1, second)]] if alone else [[(0, first)], [(1, second)]]
    names = ["own"] if own and alone else ["shop", "own"] if own else ["shop", "web"]
    origins = []
    for name, copies in zip(names, written, strict=False):
        (tmp_path / name).mkdir()
        with PoolWriter(tmp_path / name, ["cat", "dog"]) as writer:
            for label, facts in copies:
                one = dataclasses.replace(example(1), label=label, split=facts["split"])
                trusted = facts.get("trusted", False)
                measured = images.measure(one.image, 10**6)
                writer.add(one, measured, trusted=trusted, corruption=None, source=one.key)
        origins.append(Origin(name, tmp_path / name, trusted=name == "own"))
    pool = Pool.join(origins)
    found = assign_roles(pool.table, params(["exact_duplicate"], OWN if own else None))
    kept = found.rows("pool", "reference")
    assert len(kept) == 1
    assert pool.rows([pool.index.uid(row) for row in kept]).tolist() == kept.tolist()
