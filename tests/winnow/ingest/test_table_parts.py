"""Ingest that is killed and resumed: it ends with the bytes of an uninterrupted run."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context

import numpy as np
import psutil
import pytest
import yaml

from tests.pictures import noise
from tests.pools import digests, ingest, silent
from tests.tars import write_tar
from winnow.config.datasets import Corruption, Dataset
from winnow.config.load import parse
from winnow.ingest import ingest as module
from winnow.ingest import writer
from winnow.ingest.ingest import ingest_source
from winnow.ingest.table_parts import ResumeState
from winnow.pool import images


def captioned(path, count=400, **options):
    """A dataset of pictures with free captions in one tar, every ninth picture truncated."""
    members = []
    for number in range(count):
        picture = noise(number, (8, 8 + number % 50))
        members.append((f"{number:05d}.png", picture[:-30] if number % 9 == 0 else picture))
        members.append((f"{number:05d}.txt", f"words {number}".encode()))
    return Dataset("webdataset", path=str(write_tar(path, *members)), **options)


def kill_at(item, dataset, folder):
    """Ingest in a process of its own that kills itself, as by kill -9, before it stores this item."""

    def watch(items, **_):
        for number, one in enumerate(items):
            if number == item:
                os.kill(os.getpid(), signal.SIGKILL)
            yield one

    folder.mkdir(exist_ok=True)
    arguments = {"args": (dataset, 0, folder, watch), "kwargs": {"resume": True}}
    child = get_context("fork").Process(target=ingest_source, **arguments)
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of 23 images and chunks of 7, worked on in the stage's own process."""
    monkeypatch.setattr(writer, "MAX_COUNT", 23)
    monkeypatch.setattr(module, "CHUNK_COUNT", 7)
    monkeypatch.setattr(module, "ALONE_CHUNKS", 10**6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_it_ends_as_if_uninterrupted(tmp_path, small_shards, seed):
    kinds = Corruption(wrong_label=0.3, exact_duplicate=0.3, near_duplicate=0.3)
    dataset = captioned(tmp_path / "a.tar", limit=250, trusted=0.2, corruption=kinds)
    counts, _ = ingest(tmp_path / "whole", dataset)
    assert counts["dropped"] > 20
    assert counts["copies"] > 50
    draw = np.random.default_rng(seed)
    for _ in range(4):  # items count from the last complete shard, so each run gets further
        kill_at(int(draw.integers(60)), dataset, tmp_path / "broken")
        assert not (tmp_path / "broken" / "index.parquet").exists()
    assert ingest(tmp_path / "broken", dataset, resume=True)[0] == counts
    assert digests(tmp_path / "whole") == digests(tmp_path / "broken")
    assert not (tmp_path / "broken" / "parts").exists()


def test_complete_shards_are_not_made_again(tmp_path, small_shards, monkeypatch):
    dataset = captioned(tmp_path / "a.tar", 200)
    kill_at(150, dataset, tmp_path / "pool")
    state = ResumeState.load(tmp_path / "pool")
    assert state.shards == 5  # 150 examples, every ninth dropped: 133 stored, 23 a shard
    shards = [tmp_path / "pool" / name for name in state.sizes if name.startswith("shards")]
    before = [path.stat().st_mtime_ns for path in shards]
    decoded = []
    real = images.measure
    monkeypatch.setattr(images, "measure", lambda data, limit: decoded.append(1) or real(data, limit))
    ingest(tmp_path / "pool", dataset, resume=True)
    assert [path.stat().st_mtime_ns for path in shards] == before
    assert len(decoded) == 200 - state.progress["tasks"]


@pytest.mark.slow
def test_a_changed_source_is_ingested_from_the_start(tmp_path, small_shards):
    dataset = captioned(tmp_path / "a.tar", 200)
    kill_at(150, dataset, tmp_path / "broken")
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[content.index(b"words 3")] = ord("W")
    (tmp_path / "a.tar").write_bytes(content)
    counts, _ = ingest(tmp_path / "broken", dataset, resume=True)
    assert counts == ingest(tmp_path / "whole", dataset)[0]
    assert digests(tmp_path / "whole") == digests(tmp_path / "broken")


@pytest.mark.parametrize(
    "name", ["shards/shards-000001.tar", "parts/index-000001.arrows", "parts/resume.json"]
)
def test_incomplete_leftovers_are_ingested_from_the_start(tmp_path, small_shards, name):
    dataset = captioned(tmp_path / "a.tar", 100)
    kill_at(80, dataset, tmp_path / "pool")
    path = tmp_path / "pool" / name
    path.write_bytes(path.read_bytes()[:-10])
    assert ResumeState.load(tmp_path / "pool") is None
    counts, pool = ingest(tmp_path / "pool", dataset, resume=True)
    assert len(pool) == counts["ingested"]


STAGE = """\
from winnow.ingest import ingest, writer
writer.MAX_COUNT = 100
ingest.CHUNK_COUNT = 16
ingest.ALONE_CHUNKS = 2
from stages.ingest import ingest as stage
from winnow.pipeline.stage import main
main(stage)
"""


@pytest.mark.slow
def test_a_killed_stage_resumes_where_it_stopped(tmp_path, copy_project, monkeypatch):
    """`python -m stages.ingest digits` with helper processes, killed from outside in mid-run, then again."""
    root = copy_project(tmp_path / "project", "dataset=digits", "scale=debug")
    environment = {**os.environ, "PYTHONPATH": str(root), "WINNOW_EXECUTION": "test"}
    command = [sys.executable, "-c", STAGE, "digits"]
    first = subprocess.Popen(command, cwd=root, env=environment)
    while len(list((root / ".winnow/partial").glob("*/shards/*.tar"))) < 4:
        assert first.poll() is None, "it ended by itself"
        time.sleep(0.01)
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]
    again = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "ingest: resumes after the first" in again.stdout
    assert list((root / ".winnow/partial").iterdir()) == []
    monkeypatch.setattr(writer, "MAX_COUNT", 100)
    (tmp_path / "whole").mkdir()
    dataset = parse(yaml.safe_load((root / "params.yaml").read_text())).datasets.pool["digits"]
    ingest_source(dataset, 0, tmp_path / "whole", silent)
    whole = digests(tmp_path / "whole")
    assert len(whole) > 10
    made = digests(root / "data/datasets/pool/digits") | digests(root / "data/provenance/digits")
    assert whole.items() <= made.items()
