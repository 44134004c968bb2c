"""A comparison small enough to check by hand: eight images, two arms, every file that the stages write."""

import io
import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.data import uids as uid_files
from stages.data.images import measure
from stages.data.pool import Pool
from stages.data.pool_writer import PoolWriter
from stages.params import Params, parse
from stages.sources import Example

ARMS = {
    "plain": {"policy": "uniform", "method": "supervised", "backbone": "tiny", "seed": 0},
    "chosen": {"policy": "learnability", "method": "supervised", "backbone": "tiny", "seed": 0},
}
RAW = {
    "dataset": {"source": "digits", "trusted": 0.5},
    "curate": {
        "filters": {"blank": {"min_std": 4.0}, "exact_duplicate": {}},
        "splits": {"reference": 1, "probe": 1, "val": 1, "test": 1000},
    },
    "backbones": {"tiny": {"name": "test_resnet"}},
    "methods": {"supervised": {}},
    "policies": {"uniform": {"criterion": "uniform"}, "learnability": {"criterion": "learnability", "ratio": 0.5}},
    "arms": ARMS,
    "reference": {"methods": ["supervised"], "backbone": "tiny", "examples": 10},
    "pretrain": {"budget": 1000.0},
}
# Row 5 has the bytes of row 0, which is clean; so its dirt is never seen in a trace.
DIRT = {2: "wrong_label", 3: "noise", 5: "exact_duplicate", 6: "near_duplicate"}
LABELS = [0, 1, 0, 1, 0, 0, 1, 1]


@dataclass
class World:
    """A results tree and what it was made of."""

    root: Path
    params: Params
    uids: list[str]

    @property
    def pool(self) -> Pool:
        return Pool.open(self.root / "data/pool")

    def write(self, name: str, value: object) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    def trace(self, arm: str, steps: list[int], rows: list[int], scores: list[float]) -> None:
        columns = {"step": pa.array(steps, pa.int32()), "uid": pa.array([self.uids[row] for row in rows]).dictionary_encode()}
        columns["score"] = pa.array(scores, pa.float32())
        columns["selected"] = pa.array([True] * len(steps))
        pq.write_table(pa.table(columns), self.root / f"results/pretrain/{arm}/trace.parquet")


def cost(seconds: float, kwh: float | None, gco2e: float | None, quality: str, **flops: int) -> dict:
    energy = {"country": "WORLD", "pue": 1.0}
    if kwh is not None:
        energy |= {"intensity_g_per_kwh": 400.0, "intensity_source": "a test"}
    spent = {purpose: flops.get(purpose, 0) for purpose in ("curate", "reference", "score", "train", "evaluate")}
    return {"flops": spent, "seconds": seconds, "kwh": kwh, "gco2e": gco2e, "energy_quality": quality, "energy": energy}


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
            pool.add(example, image, trusted=False, dirt=DIRT.get(row), source=example.key)
            uids.append(image.uid)
        pool.drop("torn", "truncated")
    return uids


def make_arm(world: World, arm: str, flops: dict, curve: list[tuple[int, float]], top1: float, pretrain_cost: dict) -> None:
    seen = {"plain": 8, "chosen": 4}[arm]
    world.write(
        f"results/pretrain/{arm}/metrics.json",
        {"flops": flops, "examples_seen": seen, "budget": 1000.0, "stopped_by": "budget", "val_top1": curve[-1][1]},
    )
    world.write(f"results/pretrain/{arm}/cost.json", pretrain_cost)
    lines = ["step,flops,examples_seen,loss,val_top1", *(f"1,{x},4,0.5,{y}" for x, y in curve)]
    (world.root / f"results/pretrain/{arm}/curve.csv").write_text("\n".join(lines) + "\n")
    tasks = {
        "linear_probe": {"top1": top1, "top5": 0.9, "l2": 0.01, "protocol": "a <linear> protocol"},
        "semi_supervised": {"top1_10pct": 0.6, "top1_1pct": 0.4, "protocol": "few labels"},
        "detection": {"box_ap50": None if arm == "plain" else 0.25, "protocol": "boxes"},
    }
    for task, metrics in tasks.items():
        world.write(f"results/{task}/{arm}/metrics.json", metrics)
        world.write(f"results/{task}/{arm}/cost.json", cost(1.0, 0.1, 40.0, "estimated", evaluate=50))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Arm `plain` trains on 8 examples in two steps, arm `chosen` on 4, and pays half of the reference."""
    world = World(tmp_path, parse(RAW), make_pool(tmp_path / "data/pool"))
    (tmp_path / "data/versions/pool").mkdir(parents=True)
    uid_files.save(tmp_path / "data/versions/pool/uids.npy", world.uids[:5])
    world.write("data/versions/cost.json", cost(1.0, 0.1, 40.0, "estimated"))
    world.write("results/reference/cost.json", cost(40.0, 0.004, 1.6, "estimated", reference=400))
    spent = {"curate": 0, "reference": 0, "score": 0, "train": 1000, "total": 1000}
    make_arm(world, "plain", spent, [(500, 0.3), (1000, 0.5)], 0.5, cost(10.0, 0.001, 0.4, "estimated", train=1000, evaluate=7))
    spent = {"curate": 0, "reference": 200, "score": 300, "train": 500, "total": 1000}
    make_arm(
        world, "chosen", spent, [(600, 0.4), (1000, 0.7)], 0.7, cost(20.0, 0.002, 0.8, "counter", train=500, score=300, evaluate=7)
    )
    world.trace("plain", [0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 3, 0, 0, 4, 4], [0.0] * 8)
    world.trace("chosen", [0, 0, 1, 1], [0, 2, 1, 4], [1.0, 3.0, 0.5, 2.0])
    return world


@pytest.fixture(name="cost")
def the_cost():
    """`cost` above."""
    return cost


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
        assert tag != "script"
        self.references += [value for name, value in attrs if name in ("src", "href")]
        self.images += tag == "img"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
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
