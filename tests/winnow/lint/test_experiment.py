"""What an experiment misses in its data, told before anything runs."""

from dataclasses import replace

import pytest
import yaml

from tests.pictures import noise
from winnow.config.compose import composed
from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.ingest.example import Example, Unreadable
from winnow.lint.contents import Contents, Part
from winnow.lint.experiment import missing, remarks
from winnow.lint.lint import lint, lint_all
from winnow.pipeline.workspace import Workspace


@pytest.fixture
def params():
    """The default experiment on digits: half trusted, 40 + 50 + 10 and 30 test images held out."""
    raw = yaml.safe_load(Workspace(CODE).params.read_text())
    pool = {"digits": {"source": "digits", "trusted": 0.5, "corruption": {"noise": 0.1}}}
    reference = {"trusted": {"held_out_of": "digits", "examples": 40}}
    splits = {"probe": 50, "val": 10, "test": 30}
    tasks = ["linear_probe", "semi_supervised", "detection"]
    held_out = {"held_out": {"held_out_of": "digits", "splits": splits, "tasks": tasks}}
    return parse({**raw, "datasets": {"pool": pool, "reference": reference, "tasks": held_out}})


def contents(train: int = 400, test: int = 30, **changes) -> Contents:
    """Labelled and captioned examples of two classes, as many as are asked for."""
    whole = {"count": train, "labelled": train, "captioned": train, "classes": {0, 1}}
    return Contents(Part(**{**whole, **changes}), Part(test, test, test, {0, 1}))


def lines(params, found):
    return list(missing(params, dict.fromkeys(params.datasets.pool, found)))


def test_nothing_is_missing_where_everything_is_there(params):
    assert lines(params, contents()) == []
    (few,) = remarks(params, {"digits": contents()})
    assert few.startswith("arms: 1 seed each, too few to tell arms apart from the noise of training; seeds=3")
    params.arms = {
        f"{name}-s{seed}": replace(arm, seed=seed) for name, arm in params.arms.items() for seed in range(3)
    }
    assert list(remarks(params, {"digits": contents()})) == []


def test_labels_that_a_method_or_a_task_needs(params):
    arms = ", ".join(f"arms.{name}" for name, arm in params.arms.items() if arm.method == "supervised")
    some, none = lines(params, contents(labelled=390)), lines(params, contents(labelled=0))
    needs = f"{arms}, reference.methods: supervised needs labels, and"
    assert some == [f"{needs} 10 of 400 training images have none; take simclr or dino"]
    tasks = "datasets.tasks.held_out: linear_probe, semi_supervised measure by labels, and no"
    assert none == [
        f"{needs} 400 of 400 training images have none; take simclr or dino",
        f"{tasks} training image has one",
    ]
    unlabelled_test = contents()
    unlabelled_test.test.labelled = 0
    assert lines(params, unlabelled_test) == [f"{tasks} test image has one"]


@pytest.mark.slow
def test_captions_that_siglip_needs():
    params = parse(composed(["dataset=digits", "experiment=captions", "scale=debug"], Workspace(CODE).conf))
    found = lines(params, contents(4000, 400, captioned=0))
    assert len(found) == 1
    assert (
        "reference.methods: siglip needs captions, and 4,000 of 4,000 training images have none" in found[0]
    )


@pytest.mark.parametrize(
    ("train", "test", "limit", "says"),
    [
        (
            150,
            30,
            None,
            "datasets: reference.trusted 40 + tasks.held_out.splits.probe 50 + tasks.held_out.splits.val 10 "
            "is 100, and datasets.pool.digits.trusted 0.5 of 150 training images is 75; lower them, or raise",
        ),
        (400, 30, 150, "datasets.pool.digits.trusted 0.5 of 150 training images is 75"),
        (
            400,
            0,
            None,
            "splits.test: 30, and the source has no test split; add one to its files",
        ),
        (
            400,
            29,
            None,
            "splits.test: 30, and the source's test split has 29; lower it",
        ),
    ],
)
def test_images_that_the_splits_need(params, train, test, limit, says):
    params.datasets.pool["digits"].limit = limit
    (found,) = lines(params, contents(train, test))
    assert says in found


def test_fewer_images_than_a_batch(params):
    params.datasets.pool["digits"].trusted = 1.0
    found = lines(params, contents(110))
    assert found == ["methods.*.batch_size: at least 128, and there are 110 images to train on; lower it"]


def test_pictures_far_larger_than_what_they_are_trained_at(params):
    """The first folder that a user tried: 500 px, silently trained at 28."""
    found = contents()
    found.sides = [300, 375, 500]
    remark, _ = remarks(params, {"digits": found})
    assert remark.startswith("backbones.resnet10t.image_size: 28, and the median shorter side is 375 px; ")
    assert remark.endswith("image_size 224 shows it")


def test_contents_are_counted_while_they_pass():
    given = [
        Example("a", noise(0, (9, 12)), label=3, caption="a dog"),
        Example("b", noise(1, (20, 8)), label=None),
        Example("c", b"no image", split="test", label=0),
        Unreadable("d", b""),
    ]
    found = Contents()
    assert list(found.counting(given)) == given
    assert found == Contents(Part(2, 1, 1, {3}), Part(1, 1, 0, {0}), [9, 8])


@pytest.mark.slow
def test_lint_of_a_folder_and_of_an_experiment_on_it(tmp_path):
    """Fifty pictures of 64 px in two classes, a tenth of which the source takes as test."""
    for n in range(50):
        path = tmp_path / "mine" / f"class{n % 2}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(n, (64, 80)))
    (note,) = lint(str(tmp_path / "mine")).notes
    assert note.startswith("fitting: image_size 64 (shorter sides: median 64 px), splits reference ")
    overrides = ["dataset=folder", f"dataset.path={tmp_path / 'mine'}", "arms=easy"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(composed(overrides, Workspace(CODE).conf)))
    source, report = lint_all(str(tmp_path / "params.yaml"))
    assert source.good == 50
    assert report.failed
    shown = "\n".join(report.lines())
    assert "  missing: datasets: reference.trusted 1,000 + tasks.held_out.splits.probe 800 + " in shown
    assert "  note: backbones.resnet10t.image_size: 28, and the median shorter side is 64 px" in shown
