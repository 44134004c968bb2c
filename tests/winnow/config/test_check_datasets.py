"""What no dataset can be is one line that names the key, the value and the mend."""

import pytest

from tests.params import broken
from winnow.config.derive import folder_of_set, roles
from winnow.config.errors import ParamsError
from winnow.config.load import parse

GOOD = {
    "datasets": {
        "pool": {"shop": {"source": "digits", "corruption": {"noise": 0.1}}, "web": {"source": "digits"}},
        "reference": {
            "trusted": {"held_out_of": "shop", "examples": 5},
            "own": {"source": "digits", "path": "a"},
        },
        "tasks": {
            "held_out": {
                "held_out_of": "shop",
                "splits": {"probe": 3, "val": 2, "test": 4},
                "tasks": ["linear_probe"],
            },
            "birds": {"source": "digits", "tasks": ["linear_probe", "semi_supervised"]},
        },
    },
    "tasks": {"linear_probe": {}, "semi_supervised": {}},
    "curate": {"filters": {}},
    "backbones": {"tiny": {"name": "test_resnet"}},
    "methods": {"supervised": {}},
    "policies": {
        "uniform": {"criterion": "uniform"},
        "easy": {"criterion": "easy", "filter_ratio": 0.5},
    },
    "arms": {"plain": {"policy": "uniform", "method": "supervised", "backbone": "tiny"}},
    "reference": {"methods": ["supervised"], "backbone": "tiny", "examples": 10},
    "pretrain": {"budget": 1.0},
}
OWN = {"source": "digits", "held_out_of": "shop"}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("datasets.pool", {}, "datasets.pool: empty; name at least one dataset: {source: folder, path: "),
        ("datasets.pool.shop", {}, "datasets.pool.shop.source: null; allowed: coco, digits,"),
        ("datasets.pool.a/b", {"source": "digits"}, "datasets.pool.a/b: a name becomes a folder; allowed: "),
        (
            "datasets.reference.shop",
            {"source": "digits"},
            "datasets: 'shop' names 2 datasets; give each a name of its own",
        ),
        (
            "datasets.reference.own",
            {},
            "datasets.reference.own: source None, held_out_of None; give one of the two",
        ),
        (
            "datasets.tasks.birds",
            OWN,
            "datasets.tasks.birds: source digits, held_out_of shop; give one of the two",
        ),
        (
            "datasets.tasks.held_out.held_out_of",
            "shpo",
            "datasets.tasks.held_out.held_out_of: 'shpo' is unknown; did you mean shop? Allowed: shop, web",
        ),
        (
            "datasets.reference.trusted.held_out_of",
            "own",
            "datasets.reference.trusted.held_out_of: 'own' is unknown; allowed: shop, web",
        ),
        (
            "datasets.tasks.held_out.path",
            "here",
            "datasets.tasks.held_out.path: 'here', but it is held out of shop, where that is set; leave",
        ),
        (
            "datasets.tasks.held_out.limit",
            7,
            "datasets.tasks.held_out.limit: 7, but it is held out of shop, where that is set; leave it out",
        ),
        (
            "datasets.reference.trusted.labels",
            False,
            "datasets.reference.trusted.labels: False, but it is held out of shop, where that is set; leave",
        ),
        (
            "datasets.pool.shop.labels",
            False,
            "datasets.pool.shop.labels: false, but linear_probe, pretrain.readings of "
            "datasets.tasks.held_out need labels; set it to true, or leave them out",
        ),
        (
            "datasets.tasks.birds.labels",
            False,
            "datasets.tasks.birds.labels: false, but linear_probe, semi_supervised of datasets.tasks.birds ",
        ),
        (
            "datasets.tasks.first",
            {"source": "digits"},
            "datasets.tasks.first: pretrain.readings means something else by 'first'; choose another name",
        ),
        (
            "datasets.tasks.birds.trusted",
            0.5,
            "datasets.tasks.birds: trusted and corruption are for the pool; leave them out",
        ),
        (
            "datasets.reference.own.corruption",
            {"blank": 0.5},
            "datasets.reference.own: trusted and corruption are for the pool; leave them out",
        ),
        (
            "datasets.reference.trusted",
            {"held_out_of": "shop"},
            "datasets.reference.trusted.examples: null; give how many examples of shop it takes",
        ),
        (
            "datasets.tasks.held_out.splits",
            {"probe": 3, "test": 4},
            "datasets.tasks.held_out.splits.val: null; give how many of shop it takes",
        ),
        (
            "datasets.tasks.birds.splits",
            {"test": 0},
            "datasets.tasks.birds.splits.test: 0, but linear_probe, semi_supervised read it; give a number",
        ),
        (
            "datasets.tasks.birds.tasks",
            ["linear_prob"],
            "datasets.tasks.birds.tasks: 'linear_prob' is unknown; did you mean linear_probe? Allowed: ",
        ),
        (
            "pretrain.readings",
            "birbs",
            "pretrain.readings: 'birbs' is unknown; did you mean birds? Allowed: first, none, held_out,",
        ),
        (
            "arms.plain.version",
            "pool+clean+reference",
            "arms.plain.version: 'pool+clean+reference'; a union joins two different versions, as A+B",
        ),
        ("arms.plain.version", "pool+pool", "arms.plain.version: 'pool+pool'; a union joins two different"),
        ("arms.plain.version", "pool+refrence", "arms.plain.version: 'refrence' is unknown; did you mean "),
        (
            "arms.plain.mixture",
            [0.5, 0.5],
            "arms.plain.mixture: [0.5, 0.5] for 'pool'; give a share for each part, 1 in total, or null",
        ),
        (
            "arms.plain",
            {**GOOD["arms"]["plain"], "version": "pool+reference", "mixture": [0.5, 0.4]},
            "arms.plain.mixture: [0.5, 0.4] for 'pool+reference'; give a share for each part, 1 in total",
        ),
        (
            "arms.plain",
            {**GOOD["arms"]["plain"], "policy": "easy", "version": "reference+pool"},
            "arms.plain.version: 'reference+pool', but policy easy chooses by a reference, which judges",
        ),
        (
            "arms.plain",
            {**GOOD["arms"]["plain"], "policy": "easy", "version": "reference+pool", "selects_from": "pool"},
            "arms.plain.selects_from: 'pool', but mixture is null; give a share for each part",
        ),
        (
            "arms.plain",
            {
                **GOOD["arms"]["plain"],
                "version": "reference+pool",
                "mixture": [0.5, 0.5],
                "selects_from": "pool",
            },
            "arms.plain.selects_from: 'pool', but policy uniform selects nothing; set it to null",
        ),
        (
            "arms.plain",
            {**GOOD["arms"]["plain"], "version": "reference+pool", "selects_from": "pol"},
            "arms.plain.selects_from: 'pol' is unknown; did you mean pool? Allowed: reference, pool",
        ),
        (
            "arms.plain",
            {
                **GOOD["arms"]["plain"],
                "policy": "easy",
                "version": "reference+pool",
                "mixture": [0.5, 0.5],
                "selects_from": "reference",
            },
            "arms.plain.version: 'reference+pool' and selects_from 'reference', but policy easy chooses by a",
        ),
        (
            "datasets.reference",
            {},
            "reference.methods: supervised, but datasets.reference is empty; give a reference, or []",
        ),
        (
            "reference.examples",
            0,
            "reference.examples: 0; give how many training examples a reference sees",
        ),
    ],
)
def test_a_mistake_is_one_line(key, value, says):
    with pytest.raises(ParamsError) as caught:
        parse(broken(GOOD, key, value))
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["reference", "pool+reference"])
def test_an_arm_needs_the_reference_that_it_trains_on(version):
    raw = broken(broken(GOOD, "datasets.reference", {}), "reference.methods", [])
    with pytest.raises(ParamsError, match=r"^arms.plain.version: .* but datasets.reference is empty; give"):
        parse(broken(raw, "arms.plain.version", version))


def test_an_arm_needs_the_corruption_that_its_oracle_leaves_out():
    raw = broken(GOOD, "arms.plain.version", "clean")
    assert parse(raw).oracles == ["clean"]
    line = "^arms.plain.version: clean is the part of the pool that was not corrupted on purpose, and"
    with pytest.raises(ParamsError, match=line):
        parse(broken(raw, "datasets.pool.shop.corruption", {}))


def test_what_dvc_must_know_of_the_datasets_is_derived():
    params = parse(GOOD)
    assert [(name, role) for name, (role, _) in roles(params).items()] == [
        ("shop", "pool"),
        ("web", "pool"),
        ("trusted", "reference"),
        ("own", "reference"),
        ("held_out", "tasks"),
        ("birds", "tasks"),
    ]
    ingested = {name: (one.role, one.source) for name, one in params.ingests.items()}
    assert ingested == {
        "shop": ("pool", "digits"),
        "web": ("pool", "digits"),
        "own": ("reference", "digits"),
        "birds": ("tasks", "digits"),
    }
    assert params.datasets.dvc.reference == "data/datasets/reference"
    assert params.datasets.dvc.names == ["shop", "web", "own"]
    assert folder_of_set(params, "held_out") == "data/datasets/pool/shop"
    assert folder_of_set(params, "birds") == "data/datasets/tasks/birds"


def test_a_cell_is_an_arm_on_a_set_by_a_task_that_the_set_names():
    params = parse(GOOD)
    found = {task: list(cells) for task, cells in params.cells.items()}
    assert found == {
        "linear_probe": ["plain.held_out", "plain.birds"],
        "semi_supervised": ["plain.birds"],
    }
    cell = params.cells["linear_probe"]["plain.birds"]
    assert (cell.arm, cell.set, cell.data) == ("plain", "birds", "data/datasets/tasks/birds")


def test_raw_pixels_are_measured_by_what_reads_features_alone():
    """Detection reads feature maps; the other arm is measured by it all the same."""
    raw = broken(GOOD, "datasets.tasks.birds.tasks", ["linear_probe", "detection"])
    raw["tasks"]["detection"] = {}
    raw["arms"]["raw"] = {**raw["arms"]["plain"], "backbone": "raw", "frozen": True}
    raw["backbones"]["raw"] = {"name": "pixels"}
    found = {task: list(cells) for task, cells in parse(raw).cells.items()}
    assert found["linear_probe"][-1] == "raw.birds"
    assert found["detection"] == ["plain.birds"]


def test_a_task_depends_on_the_lists_of_a_set_that_has_its_own():
    """Else DVC would not see that a list changed; the names of a set's images are those of its dataset."""
    params = parse(broken(GOOD, "tasks.semi_supervised", {"lists": {"birds": "lists/birds"}}))
    cell = params.cells["semi_supervised"]["plain.birds"]
    assert (cell.lists, cell.names) == ("lists/birds", "data/provenance/birds/sources.parquet")
    assert params.cells["linear_probe"]["plain.birds"].lists == "conf/nothing"


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ("first", ("held_out", "data/datasets/pool/shop", "data/splits/held_out")),
        ("birds", ("birds", "data/datasets/tasks/birds", "data/splits/birds")),
        ("none", (None, "conf/nothing", "conf/nothing")),
    ],
)
def test_readings_are_of_the_first_set_a_named_one_or_none(readings, expected):
    paths = parse(broken(GOOD, "pretrain.readings", readings)).pretrain.dvc
    assert (paths.set, paths.data, paths.splits) == expected
