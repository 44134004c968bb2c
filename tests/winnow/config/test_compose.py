"""conf/ composes to the committed params.yaml, every choice of it composes, and DVC composes the same."""

import subprocess
import sys

import pytest
import yaml

from tests.pictures import noise
from winnow.config.compose import composed, translated, write
from winnow.config.errors import ParamsError
from winnow.config.laboratory import LABORATORY
from winnow.config.load import HOOK, load, parse
from winnow.config.plugins import plugins
from winnow.config.shorthands import SHORTHANDS
from winnow.pipeline.workspace import Workspace
from winnow.preflight import check_plugins

WORKSPACE = Workspace.find()
CONF = WORKSPACE.conf
SIMCLR = "+method@methods.simclr=simclr"


PHOTOS = ("photos.cifar10.path=FOLDER", "photos.flowers.path=FOLDER")
ITS_DATASETS = {  # where the images lie that these files leave to the user
    "dataset=none": ("experiment=curate_only", "datasets.pool=FOLDER"),
    "experiment=curate_only": ("datasets.pool=FOLDER",),
    "experiment=own_images": ("datasets.pool=FOLDER", "datasets.reference=FOLDER", "datasets.tasks.a=FOLDER"),
    "experiment=photos_labels": PHOTOS,
    "experiment=photos_ssl": PHOTOS,
}


def files(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_committed_params_are_what_conf_composes_to():
    committed = yaml.safe_load(WORKSPACE.params.read_text())
    assert composed([], CONF) == committed, "params.yaml has drifted from conf/; run: winnow compose"


@pytest.mark.slow
@pytest.mark.parametrize("name", files("policy"))
def test_every_committed_policy_composes(name):
    params = parse(composed([f"+policy@policies.tried={name}"], CONF))
    assert params.policies["tried"].criterion in plugins("models.criteria")


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [f"{group}={name}" for group in ("experiment", "scale", "dataset") for name in files(group)],
)
def test_every_committed_choice_composes(override, tmp_path):
    """With a path where a dataset needs one; what its source's options must say is said."""
    (tmp_path / "one.png").write_bytes(noise(0, (32, 32)))
    more = [f"dataset.path={tmp_path}"] if "dataset.path" in missing(override) else []
    more += ["dataset.options.name=CIFAR10"] if "dataset.options.name" in missing(override) else []
    more += [one.replace("FOLDER", str(tmp_path)) for one in ITS_DATASETS.get(override, ())]
    check_plugins(parse(composed([override, *more], CONF)))


def missing(override):
    """The keys that a file of conf/ leaves to the user."""
    group, name = override.split("=")
    found = yaml.safe_load((CONF / group / f"{name}.yaml").read_text()).get("dataset", {})
    options = {f"options.{key}": value for key, value in (found.get("options") or {}).items()}
    return [f"dataset.{key}" for key, value in {**found, **options}.items() if value == "???"]


@pytest.mark.slow
@pytest.mark.parametrize("group", ["method", "backbone"])
def test_every_committed_method_and_backbone_composes(group):
    chosen = composed([], CONF)[f"{group}s"]
    overrides = [f"+{group}@{group}s.{name}={name}" for name in files(group) if name not in chosen]
    check_plugins(parse(composed(overrides, CONF)))


def test_a_plugins_own_defaults_are_written_too():
    """What a user leaves out of a filter's or a method's block stands in params.yaml all the same."""
    overrides = [
        SIMCLR,
        "+curate.filters.aspect={}",
        "+versions.mine={model: results/reference/models/simclr, filters: {semantic_duplicate: {}}}",
        "~methods.simclr.settings.hidden",
    ]
    found = composed(overrides, CONF)
    assert found["curate"]["filters"]["aspect"] == {"max_ratio": 3.0}  # winnow/filters/aspect.py
    assert "max_similarity" in found["versions"]["mine"]["filters"]["semantic_duplicate"]
    assert found["methods"]["simclr"]["settings"]["hidden"] == 256  # models/methods/simclr.py
    assert found["versions"]["mine"]["dvc"] == {
        "model": "results/reference/models/simclr",
        "method": "models/methods/simclr.py",
    }
    assert found["datasheets"] == ["pool", "reference", "mine", "clean"]  # `clean`: arms train on it


def test_what_an_arm_reads_is_derived():
    overrides = [
        "seeds=1",
        SIMCLR,
        "reference.methods=[supervised,simclr]",
        "+policy@policies.replay=replay",
        "+policy@policies.online=online",
        "+arms.again={policy: replay, method: supervised, backbone: resnet10t, replay_from: supervised-easy}",
        "+arms.beside={policy: online, method: supervised, backbone: resnet10t}",
        "+arms.other={policy: easy, method: supervised, backbone: resnet10t, reference_method: simclr}",
    ]
    arms = composed(overrides, CONF)["arms"]
    names = ("again", "beside", "other", "supervised-learnability", "supervised-half", "supervised-clean")
    derived = {name: arms[name]["dvc"] for name in names}
    trace = "results/pretrain/supervised-easy/trace.parquet"
    assert derived == {
        "again": dvc("uniform", trace=trace),
        "beside": dvc("learnability"),
        "other": dvc("easy", method="simclr"),
        "supervised-learnability": dvc("learnability", method="supervised"),
        "supervised-half": {
            **dvc("uniform"),
            "other_uids": "data/versions/reference/uids.npy",
            "other_flops": "data/versions/reference/flops.json",
        },
        "supervised-clean": {**dvc("uniform"), "version": "clean"},
    }


def dvc(criterion, method=None, trace="conf/nothing"):
    """The block of an arm on the pool alone that chooses by the reference of a method, or by none."""
    names = ("reference", "reference_code", "weights", "weights_config", "weights_record")
    paths = dict.fromkeys(names, "conf/nothing")
    paths |= {"version": "pool", "other_uids": "conf/nothing", "other_flops": "conf/nothing"}
    if method:
        paths["reference"] = f"results/reference/models/{method}"
        paths["reference_code"] = f"models/methods/{method}.py"
    return {"criterion": criterion, "trace": trace, **paths}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("scale=debg", "scale=debg"),
        ("pretrain.budgt=1", "pretrain.budgt: not a key; did you mean budget?"),
        ("pretrain.budget=abc", "pretrain.budget"),
        ("tasks.semi_supervised.lr=-1", "tasks.semi_supervised.lr: -1.0 is out of range"),
        ("tasks.detection.lr=nan", "tasks.detection.lr: nan is out of range"),
        ("tasks.linear_probe.l2=[]", "tasks.linear_probe: l2: empty"),
        ("=", "="),
    ],
)
def test_a_wrong_override_is_one_line(override, says):
    with pytest.raises(ParamsError) as caught:
        composed([override], CONF)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "file://" not in str(caught.value)


@pytest.mark.slow
def test_dvc_composes_the_same(tmp_path):
    """`dvc exp run -S` composes by itself; conf/hydra_plugins makes it fill in what `winnow compose` does."""
    code = (
        "import sys; from dvc.utils.hydra import compose_and_dump\n"
        "compose_and_dump(sys.argv[1], 'CONF', None, 'config', 'CONF/hydra_plugins', sys.argv[2:])"
    )
    out = tmp_path / "dvc.yaml"
    overrides = ["experiment=methods", "scale=debug", "curate.filters.blur={}", "curate.filters.tiny=false"]
    overrides += ["arms=siglip,easy", "seeds=2", "budget=1e11", "backbone=test_vit"]
    dvc = translated(overrides, CONF)
    command = [sys.executable, "-c", code.replace("CONF", str(CONF)), str(out), *dvc]
    subprocess.run(command, check=True, cwd=WORKSPACE.root)
    found = yaml.safe_load(out.read_text())
    assert found.pop(HOOK) is True
    written_out = [*SHORTHANDS, *LABORATORY]
    assert [found.pop(name) for name in written_out] == [None] * len(written_out)
    assert found == composed(overrides, CONF)
    assert load(out) == parse(found)


@pytest.mark.slow
def test_writing_replaces_the_file_in_one_step(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("old")
    with pytest.raises(ParamsError):
        write(["pretrain.budget=-1"], CONF, path)
    assert path.read_text() == "old"
    write(["pretrain.budget=2e12"], CONF, path)
    assert load(path).pretrain.budget == 2e12
    assert list(tmp_path.iterdir()) == [path]
