"""A comparison small enough to check by hand: eight images, two arms, every file that the stages write."""

import dataclasses
import io
import json
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.config.schema import Params
from winnow.evaluation.curve import write_curve
from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.images import measure
from winnow.pool.pool import Pool, open_pool
from winnow.report.compare.groups import grouped
from winnow.report.compare.intervals import Intervals
from winnow.selection.trace import FLOATS, Trace, read_trace, write_trace

TASKS = (
    "linear_probe",
    "semi_supervised",
    "detection",
    "segmentation",
    "zero_shot",
    "retrieval",
    "robustness",
)

ARMS = {
    "plain": {"policy": "uniform", "method": "supervised", "backbone": "tiny", "seed": 0},
    "chosen": {"policy": "learnability", "method": "supervised", "backbone": "tiny", "seed": 0},
}
RAW = {
    "datasets": {
        "pool": {"digits": {"source": "digits", "trusted": 0.5}},
        "reference": {"trusted": {"held_out_of": "digits", "examples": 1}},
        "tasks": {
            "held_out": {
                "held_out_of": "digits",
                "splits": {"probe": 1, "val": 1, "test": 1000},
                "tasks": ["linear_probe", "semi_supervised", "detection"],
            }
        },
    },
    "tasks": {name: {} for name in TASKS},
    "curate": {
        "filters": {"blank": {"min_std": 4.0}, "exact_duplicate": {}},
    },
    "backbones": {"tiny": {"name": "test_resnet"}},
    "methods": {"supervised": {}},
    "policies": {
        "uniform": {"criterion": "uniform"},
        "learnability": {"criterion": "learnability", "filter_ratio": 0.5},
    },
    "arms": ARMS,
    "reference": {"methods": ["supervised"], "backbone": "tiny", "examples": 10},
    "pretrain": {"budget": 1000.0},
}
# Row 5 has the bytes of row 0, which is clean; so its corruption is never seen in a trace.
CORRUPTION = {2: "wrong_label", 3: "noise", 5: "exact_duplicate", 6: "near_duplicate"}
LABELS = [0, 1, 0, 1, 0, 0, 1, 1]


@dataclass
class World:
    """A workspace and what it was made of."""

    workspace: Workspace
    params: Params
    uids: list[str]

    @property
    def pool(self) -> Pool:
        return open_pool(self.workspace, self.params.datasets)

    @property
    def traces(self) -> dict[str, Trace]:
        return {arm: read_trace(self.workspace.arm(arm) / "trace.parquet") for arm in self.params.arms}

    def record(self, name: str) -> Path:
        """The file of what only reports may know of the dataset."""
        return self.workspace.provenance("digits") / f"{name}.parquet"

    def read(self, name: str) -> dict:
        return json.loads((self.workspace.root / name).read_text())

    def write(self, name: str, value: object) -> None:
        path = self.workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def trace(self, arm: str, steps: list[int], rows: list[int], scores: list[float]) -> None:
        none = {name: np.full(len(steps), np.nan) for name in FLOATS}
        whole = {"step": steps, "index": rows, "rank": [0] * len(steps)}
        trained = {name: np.array(values, np.int64) for name, values in whole.items()} | none
        rejected = {name: column[:0] for name, column in trained.items()}
        path = self.workspace.arm(arm) / "trace.parquet"
        write_trace(path, self.uids, {**trained, "score": np.array(scores)}, rejected)


def cost(seconds: float, kwh: float | None, gco2e: float | None, quality: str, **flops: int) -> dict:
    energy = {"country": "WORLD", "pue": 1.0}
    if kwh is not None:
        energy |= {"intensity_g_per_kwh": 400.0, "intensity_source": "a test"}
    purposes = ("curate", "reference", "score", "train", "evaluate")
    return {
        "flops": {purpose: flops.get(purpose, 0) for purpose in purposes},
        "seconds": seconds,
        "kwh": kwh,
        "gco2e": gco2e,
        "energy_quality": quality,
        "energy": energy,
    }


def make_pool(folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (8, 8), dtype=np.uint8) for _ in range(8)]
    pictures[5] = pictures[0]
    uids = []
    with PoolWriter(folder, ["cat", "dogs & <co>"]) as pool:
        for row, (pixels, label) in enumerate(zip(pictures, LABELS, strict=True)):
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            image = measure(buffer.getvalue(), 10_000)
            example = Example(key=f"s{row}", image=b"", label=label)
            pool.add(example, image, trusted=False, corruption=CORRUPTION.get(row), source=example.key)
            uids.append(image.uid)
        pool.drop("torn", "truncated")
    return uids


def make_arm(
    world: World, arm: str, metrics: dict, curve: dict[int, float], top1: float, spent: dict
) -> None:
    """Files of an arm; `curve` maps FLOPs to the kNN top-1 on val."""
    last = list(curve.values())[-1]
    finished = {"budget": 1000.0, "stopped_by": "budget", "val_top1": last}
    world.write(f"results/pretrain/{arm}/metrics.json", metrics | finished)
    world.write(f"results/pretrain/{arm}/cost.json", spent)
    readings = [
        {"step": step, "flops": flops, "examples_seen": 4.0 * step, "loss": 0.5, "val_top1": y}
        for step, (flops, y) in enumerate(curve.items(), 1)
    ]
    write_curve(world.workspace.arm(arm) / "curve.csv", readings)
    tasks = {
        "linear_probe": {"top1": top1, "top5": 0.9, "l2": 0.01, "protocol": "a <linear> protocol"},
        "semi_supervised": {"top1_10pct": 0.6, "top1_1pct": 0.4, "protocol": "few labels"},
        "detection": {"box_ap50": None if arm == "plain" else 0.25, "protocol": "boxes"},
    }
    for task, values in tasks.items():
        folder = f"results/tasks/{task}/{arm}/held_out"
        world.write(f"{folder}/metrics.json", values)
        world.write(f"{folder}/cost.json", cost(1.0, 0.1, 40.0, "estimated", evaluate=50))


def make_world(root: Path, seeds: int = 1) -> World:
    """Arm `plain` trains on 8 examples in two steps, arm `chosen` on 4, and pays half of the reference.

    With several seeds they are `plain-s0`, `plain-s1`, ..., of accuracies that differ by two points a seed.
    """
    workspace = Workspace(root)
    shutil.copy(CODE / "dvc.yaml", root)
    ends = {f"-s{seed}" if seeds > 1 else "": seed for seed in range(seeds)}
    arms = {name + end: {**arm, "seed": seed} for end, seed in ends.items() for name, arm in ARMS.items()}
    params = parse({**RAW, "arms": arms})
    workspace.params.write_text(yaml.safe_dump(dataclasses.asdict(params), sort_keys=False))
    world = World(workspace, params, make_pool(workspace.dataset("pool", "digits")))
    workspace.provenance("digits").mkdir(parents=True)
    for name in ("dropped", "corruption", "sources"):
        (workspace.dataset("pool", "digits") / f"{name}.parquet").rename(world.record(name))
    workspace.version("pool").mkdir(parents=True)
    uid_files.save(workspace.uids("pool"), world.uids[:5])
    workspace.split("held_out", "test").parent.mkdir(parents=True)
    uid_files.save(workspace.split("held_out", "test"), [f"{number:032x}" for number in range(1000)])
    uid_files.save(workspace.split("held_out", "val"), [f"{number:032x}" for number in range(2000, 2100)])
    world.write("results/reference/cost.json", cost(40.0, 0.004, 1.6, "estimated", reference=400))
    for end, seed in ends.items():
        _train(world, end, 0.02 * seed)
    return world


def _train(world: World, end: str, more: float) -> None:
    """Files of both arms of a seed, whose accuracies are `more` above those of the first."""
    spent = {"curate": 0, "reference": 0, "score": 0, "train": 1000, "total": 1000}
    own = cost(10.0, 0.001, 0.4, "estimated", train=1000, evaluate=7)
    curve, top1 = {500: 0.3 + more, 1000: 0.5 + more}, 0.5 + more
    make_arm(world, f"plain{end}", {"flops": spent, "examples_seen": 8}, curve, top1, own)
    spent = {"curate": 0, "reference": 200, "score": 300, "train": 500, "total": 1000}
    own = cost(20.0, 0.002, 0.8, "counter", train=500, score=300, evaluate=7)
    curve, top1 = {600: 0.4 + more, 1000: 0.7 + more / 2}, 0.7 + more / 2
    make_arm(world, f"chosen{end}", {"flops": spent, "examples_seen": 4}, curve, top1, own)
    world.trace(f"plain{end}", [0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3, 0, 0, 4, 4], [0.0] * 8)
    world.trace(f"chosen{end}", [0, 0, 1, 1], [0, 2, 1, 4], [1.0, 3.0, 0.5, 2.0])


@pytest.fixture
def world(tmp_path: Path) -> World:
    """`make_world` of one seed."""
    return make_world(tmp_path)


@pytest.fixture(scope="session")
def worlds():
    """`make_world`, for comparisons that several tests look at."""
    return make_world


@pytest.fixture(name="cost")
def the_cost():
    """`cost` above."""
    return cost


@pytest.fixture(name="make_arm")
def the_make_arm():
    """`make_arm` above."""
    return make_arm


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page refers to."""

    VOID = ("meta", "link", "img", "br", "hr", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.images = 0
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list) -> None:
        assert tag != "script" or not attrs, "a script of its own alone, which needs nothing from elsewhere"
        self.references += [value for name, value in attrs if name in ("src", "href")]
        self.images += tag == "img"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture
def page():
    """A function: parse HTML, and fail where it is not well-formed or refers to anything outside itself."""

    def read(text: str) -> Page:
        parsed = Page(text)
        assert all(reference.startswith("data:") for reference in parsed.references)
        assert "@import" not in text
        assert "url(" not in text
        return parsed

    return read


@pytest.fixture
def judge():
    """A function: the groups of rows, and their intervals over test images, of which as many are hits as the
    rows say; which ones is drawn for each arm.
    """

    def of(rows, images=1000):
        found = {}
        for row in rows:
            for task_set, values in row["tasks"].items():
                for metric, value in values.items():
                    if "top1" in metric and "pretrain" not in metric:
                        draw = np.random.default_rng(sum(map(ord, row["arm"] + task_set + metric)))
                        hits = np.arange(images) < round(value * images)
                        found[row["arm"], task_set, metric] = draw.permutation(hits.astype(float))
        groups = grouped(rows)
        return groups, Intervals(groups, found)

    return of
