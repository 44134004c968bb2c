"""What a user types after `winnow compose`: ordinary things need none of Hydra's signs, and a mistake is one
line.
"""

import functools

import pytest

from winnow.config import compose as compose_module
from winnow.config.compose import composed
from winnow.config.errors import ParamsError
from winnow.config.schema import Backbone
from winnow.config.shorthands import first_seed
from winnow.pipeline.workspace import Workspace
from winnow.selection.compatibility import forward_error

pytestmark = pytest.mark.slow  # Hydra takes 0.1 s for each composition
CONF = Workspace.find().conf
VIT = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True, scope="module")
def once():
    """Let Hydra compose the same overrides once."""
    with pytest.MonkeyPatch.context() as patch:
        original = compose_module._compose
        hydra = functools.cache(lambda overrides, resolve: original(list(overrides), CONF, resolve))

        def composed_once(overrides, conf, resolve=True):
            return hydra(tuple(overrides), resolve)

        patch.setattr(compose_module, "_compose", composed_once)
        yield


def compose(*overrides):
    return composed(list(overrides), CONF)


def arms(*overrides):
    return list(compose(*overrides)["arms"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("easy", ["supervised-easy", "simclr-easy"]),
        ("uniform", ["supervised-uniform", "simclr-uniform"]),
        ("[supervised-hard,simclr-uniform]", ["simclr-uniform", "supervised-hard"]),
        ("simclr-*", ["simclr-uniform", "simclr-learnability"]),
        ("rho", ["supervised-rho", "simclr-rho"]),
        ("supervised-rho,supervised-uniform", ["supervised-uniform", "supervised-rho"]),
    ],
)
def test_arms_are_kept_or_made_by_name_policy_or_pattern(words, expected):
    assert arms("experiment=demo", f"arms={words}") == expected


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        ("uniform", []),  # reads no reference
        ("simclr-*", ["simclr"]),
        ("supervised-rho", ["supervised"]),  # an arm that the experiment does not have
    ],
)
def test_only_the_references_that_the_arms_need_are_trained(words, methods):
    assert compose("experiment=demo", f"arms={words}")["reference"]["methods"] == methods


def test_an_arm_that_is_made_has_a_reference_where_the_experiment_had_none():
    found = compose("experiment=methods", "arms=siglip-learnability")
    assert found["reference"]["methods"] == ["siglip"]
    assert found["arms"]["siglip-learnability"]["backbone"] == "test_resnet"


def test_seeds_repeat_each_arm():
    found = compose("arms=easy,hard", "seeds=2")["arms"]
    assert {name: arm["seed"] for name, arm in found.items()} == {
        "supervised-hard-s0": 0,
        "supervised-hard-s1": 1,
        "supervised-easy-s0": 0,
        "supervised-easy-s1": 1,
    }
    assert arms("arms=easy", "seeds=[7]") == ["supervised-easy-s7"]


def test_an_arm_has_seeds_of_its_own_and_seeds_of_all_arms_replace_them():
    some = ("arms=easy,hard", "arms.supervised-easy.seeds=[0,7]")
    assert arms(*some) == ["supervised-hard", "supervised-easy-s0", "supervised-easy-s7"]
    assert arms(*some, "seeds=1") == ["supervised-hard", "supervised-easy"]
    assert arms(*some, "seeds=[3]") == ["supervised-hard-s3", "supervised-easy-s3"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("easy", "easy-s2"), ("easy-s10", "easy-s10"), ("hard", "hard"), ("has", "has"), ("esy", "esy")],
)
def test_an_arm_without_its_seed_is_its_first(name, expected):
    assert first_seed(name, ["hard", "hard-s1", "easy-s10", "easy-s2", "has-some"]) == expected


def test_what_replays_an_arm_of_one_seed_shares_it():
    again = (
        "arms.again={policy: replay, method: supervised, backbone: resnet10t, replay_from: supervised-easy, "
        "seeds: 2}"
    )
    found = compose(
        "policy@policies.replay=replay", again, "keep=[again,easy]", "arms.supervised-easy.seeds=1"
    )
    assert [found["arms"][f"again-s{seed}"]["replay_from"] for seed in (0, 1)] == ["supervised-easy"] * 2


def test_a_replay_replays_the_arm_of_its_own_seed():
    again = (
        "arms.again={policy: replay, method: supervised, backbone: resnet10t, replay_from: supervised-easy}"
    )
    found = compose("policy@policies.replay=replay", again, "keep=[again,easy]", "seeds=2")["arms"]
    assert found["again-s1"]["replay_from"] == "supervised-easy-s1"
    assert found["again-s1"]["dvc"]["trace"] == "results/pretrain/supervised-easy-s1/trace.parquet"


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (("budget=1e13",), "pretrain.budget", 1e13),
        (("arms.supervised-hard.seed=3",), "arms.supervised-hard.seed", 3),
        (("policies.hard.chunks=8",), "policies.hard.chunks", 8),
        (("curate.filters.aspect={}",), "curate.filters.aspect", {"max_ratio": 3.0}),  # the filter's default
        (("curate.filters.aspect.max_ratio=2",), "curate.filters.aspect", {"max_ratio": 2.0}),
        (("curate.filters={}",), "curate.filters", {}),
        (("curate.filters.near_duplicate={}",), "curate.filters.near_duplicate", {"max_distance": 20}),
        # a mapping merges, unless it is empty
        (
            ("dataset.splits={val: 50}",),
            "datasets.tasks.held_out.splits",
            {"probe": 5000, "val": 50, "test": 10000},
        ),
        (("policy@policies.rho=rho",), "policies.rho.filter_ratio", 0.9),
        (("versions.small.filters={blur: {}}",), "versions.small.filters.blur.min_sharpness", 20.0),
        (("backbone=test_resnet",), "arms.supervised-hard.backbone", "test_resnet"),
        (("backbone=test_vit", "backbones.test_vit.image_size=64"), "backbones.test_vit.image_size", 64),
        (
            ("backbone=test_vit", "backbones.test_vit.kwargs={depth: 2}"),
            "backbones.test_vit.kwargs",
            {"depth": 2},
        ),
    ],
)
def test_keys_need_no_sign_of_hydra(overrides, key, value):
    found = compose(*overrides)
    for part in key.split("."):
        found = found[part]
    assert found == value


def test_false_takes_a_filter_out_and_true_puts_it_in_with_its_defaults():
    found = compose("curate.filters.tiny=false", "curate.filters.aspect=true")["curate"]["filters"]
    assert list(found) == ["blank", "exact_duplicate", "near_duplicate", "aspect"]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["arms=esy"],
            "arms: 'esy' is no arm and no policy; did you mean easy? Allowed: supervised-uniform,",
        ),
        (["keep=[esy]"], "keep: 'esy' is no arm and no policy; did you mean easy?"),
        (["keep=[]"], "keep: []; give names of arms or policies"),
        (["seeds=0"], "seeds: 0; give how many (3), or which ([0, 7]), each once"),
        (["seeds=[1,1]"], "seeds: [1, 1]; give how many"),
        (["arms.supervised-easy.seeds=0"], "arms.supervised-easy.seeds: 0; give how many (3), or which"),
        (
            ["arms.supervised-easy.seeds=2", "arms.supervised-easy.seed=1"],
            "arms.supervised-easy.seed: 1, but arms.supervised-easy.seeds is 2; give",
        ),
        (
            ["arms.supervised-esy.seed=3"],
            "arms.supervised-esy: not there; did you mean supervised-easy? To add",
        ),
        (["budgt=1"], "budgt: 'budgt' is unknown; did you mean budget?"),
        (["policy=easy"], "write arms=easy"),
        (
            ["method=dino"],
            "write method@methods.dino=dino 'arms.NAME={method: dino, policy: uniform, backbone:",
        ),
        (["dataset.limit=1,2"], "write a list in brackets: 'dataset.limit=[A,B]'"),
        (["scale"], "scale: write KEY=VALUE or GROUP=NAME"),
        (
            ["experiment=demo", "arms=simclr-*", "policies.learnability.filter_ratio=2"],
            "policies.learnability.filter_ratio: 2.0 is",
        ),
        (
            [
                "experiment=dataset_versions",
                "versions.balanced.model=results/pretrain/raw/x",
                "arms=balanced",
            ],
            "versions.balanced.model: results/pretrain/raw/x, but no arm is named raw; the arms are balanced",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_type(overrides, says):
    with pytest.raises(ParamsError) as caught:
        composed(overrides, CONF)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_kwargs_replace_those_of_a_preset():
    """They were merged, which changes nothing: a ViT at 224 px kept patch 8 and cost 14.1 GFLOP, not 2.5."""
    preset = ("backbone=vit_tiny_patch8_64", "backbones.vit_tiny_patch8_64.image_size=224")
    assert compose(*preset)["backbones"]["vit_tiny_patch8_64"]["kwargs"] == {"patch_size": 8}
    emptied = compose(*preset, "backbones.vit_tiny_patch8_64.kwargs={}")
    assert emptied["backbones"]["vit_tiny_patch8_64"]["kwargs"] == {}


def test_the_preset_of_a_vit_is_the_model_that_its_name_says():
    """FLOPs of timm's own models of this size, counted once: 2.507 GFLOP with patch 16 at 224 px."""
    from models import encoders
    from models.flops import count

    found = compose(f"backbone={VIT}")["backbones"][VIT]
    size = found["image_size"]
    model = encoders.create(found["name"], size, **found["kwargs"])
    assert (size, model.patch_embed.patch_size) == (224, (16, 16))
    assert count(model, (3, size, size)).forward == pytest.approx(2.507e9, rel=1e-3)


def test_a_size_is_honoured_or_refused():
    assert forward_error(Backbone(VIT, 96, {}), 96) is None
    with pytest.raises(ParamsError, match=r"kwargs.img_size: 64, but .*image_size is 224; leave"):
        compose(f"backbone={VIT}", f"backbones.{VIT}.kwargs={{img_size: 64}}")
