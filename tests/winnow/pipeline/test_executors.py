"""Local processes and a real Dask cluster: the same results in the same order, whoever dies."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from winnow.pipeline.executors import WorkerKilled, ordered

TOY = """
    import os, signal, time

    def square(x):
        return x * x

    def fail(x):
        if x == 5:
            raise RecursionError("five")
        return x

    class Logged:  # its chunks in the order in which they were begun, with who did them
        def __init__(self, path, deadly=(), always=False):
            self.path, self.deadly, self.always = str(path), deadly, always

        def __call__(self, chunk):
            begun = open(self.path).read().split() if os.path.exists(self.path) else []
            with open(self.path, "a") as file:
                file.write(f"{chunk}:{os.getpid()}\\n")
            time.sleep(0.01)
            before = any(line.startswith(f"{chunk}:") for line in begun)
            if chunk in self.deadly and (self.always or not before):
                os.kill(os.getpid(), signal.SIGKILL)
            return chunk * chunk
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A module that workers can import: they get this process's sys.path."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy_work.py").write_text(textwrap.dedent(TOY))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import toy_work

        yield toy_work
    del sys.modules["toy_work"]


@pytest.fixture(scope="module")
def scheduler(toy):
    """The address of a Dask cluster of two worker processes that stands before and after."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


def children():
    return psutil.Process().children(recursive=True)


def test_helpers_give_what_map_gives(toy):
    assert list(ordered(toy.square, range(40))) == [x * x for x in range(40)]
    assert list(ordered(toy.square, [])) == []


def test_chunks_are_taken_a_few_at_a_time(toy):
    taken = []
    results = ordered(toy.square, (taken.append(x) or x for x in range(1000)))
    assert next(results) == 0
    assert len(taken) <= 2 * len(os.sched_getaffinity(0)) + 1
    results.close()


def test_an_exception_is_the_callers_and_no_helper_stays(toy):
    before = {child.pid for child in children()}
    results = ordered(toy.fail, range(100))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(RecursionError, match="five"):
        next(results)
    left = [
        child for child in children() if child.pid not in before and "spawn_main" in " ".join(child.cmdline())
    ]
    assert left == []


@pytest.mark.slow
def test_a_killed_helpers_chunks_are_done_again(toy, tmp_path):
    work = toy.Logged(tmp_path / "log", deadly=(3, 17))
    assert list(ordered(work, range(30))) == [x * x for x in range(30)]
    begun = [line.split(":")[0] for line in (tmp_path / "log").read_text().split()]
    assert begun.count("3") == begun.count("17") == 2


@pytest.mark.slow
def test_a_helper_killed_from_outside(toy, tmp_path):
    results = ordered(toy.Logged(tmp_path / "log"), range(60))
    found = [next(results) for _ in range(10)]
    victim = int((tmp_path / "log").read_text().split()[-1].split(":")[1])
    os.kill(victim, signal.SIGKILL)
    assert found + list(results) == [x * x for x in range(60)]
    assert len({line.split(":")[1] for line in (tmp_path / "log").read_text().split()}) > 1


@pytest.mark.slow
def test_a_chunk_that_kills_twice_is_named_or_given_up(toy, tmp_path):
    work = toy.Logged(tmp_path / "log", deadly=(7,), always=True)
    with pytest.raises(WorkerKilled, match="died twice on the same chunk, 7;") as caught:
        list(ordered(work, range(20)))
    assert "\n" not in str(caught.value)
    (tmp_path / "log").unlink()
    assert list(ordered(work, range(20), killed=lambda chunk: -chunk)) == [
        x * x if x != 7 else -7 for x in range(20)
    ]
    begun = [line.split(":")[0] for line in (tmp_path / "log").read_text().split()]
    assert begun.count("7") == 2


def test_a_dask_cluster_gives_what_map_gives(toy, scheduler):
    assert list(ordered(toy.square, range(40), scheduler)) == [x * x for x in range(40)]
    with pytest.raises(RecursionError, match="five"):
        list(ordered(toy.fail, range(40), scheduler))


@pytest.mark.slow
def test_a_killed_dask_workers_chunks_are_done_again(toy, tmp_path, scheduler):
    results = ordered(toy.Logged(tmp_path / "log"), range(60), scheduler)
    found = [next(results) for _ in range(10)]
    victim = int((tmp_path / "log").read_text().split()[-1].split(":")[1])
    assert victim != os.getpid()
    os.kill(victim, signal.SIGKILL)
    assert found + list(results) == [x * x for x in range(60)]


@pytest.mark.slow
def test_a_chunk_that_kills_dask_workers_is_given_up_alone(toy, tmp_path):
    pytest.importorskip("distributed")
    work = toy.Logged(tmp_path / "log", deadly=(7,), always=True)
    before = {child.pid for child in children()}
    assert list(ordered(work, range(20), "local", killed=lambda chunk: -chunk)) == [
        x * x if x != 7 else -7 for x in range(20)
    ]
    assert not [
        child for child in children() if child.pid not in before and "spawn_main" in " ".join(child.cmdline())
    ]


def test_workers_without_the_code_are_one_line(scheduler, tmp_path, monkeypatch):
    (tmp_path / "not_there.py").write_text("def work(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import not_there

    with pytest.raises(
        ValueError,
        match=r"a worker cannot take the work \(No module named 'not_there'\); install this project there",
    ):
        list(ordered(not_there.work, [1], scheduler))


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line(toy, tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "scheduler.py"
    script.write_text(
        "import time\nfrom distributed import LocalCluster\nif __name__ == '__main__':\n"
        "    cluster = LocalCluster(1, threads_per_worker=1, dashboard_address='127.0.0.1:0')\n"
        "    print(cluster.scheduler_address, flush=True)\n    time.sleep(600)\n"
    )
    place = {**os.environ, "PYTHONPATH": str(Path(toy.__file__).parent)}
    run = subprocess.Popen(
        [sys.executable, script], env=place, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    try:
        results = ordered(toy.Logged(tmp_path / "log"), range(1000), run.stdout.readline().strip())
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        run.kill()
        with pytest.raises(
            ValueError, match=r"engine\.cluster: 'tcp:.*': the Dask scheduler is lost \(.*start it again"
        ) as caught:
            list(results)
        assert "\n" not in str(caught.value)
    finally:
        run.kill()
        run.wait()


@pytest.mark.slow
def test_no_scheduler_and_no_dask_are_one_line(toy, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("winnow.pipeline.dask_executor.CONNECT_SECONDS", 0.5)
    with pytest.raises(
        ValueError, match=r"engine\.cluster: 'tcp://127\.0\.0\.1:9': no Dask scheduler with workers"
    ) as caught:
        list(ordered(toy.square, [1], "tcp://127.0.0.1:9"))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ValueError,
        match=r"engine\.cluster: 'local' needs Dask; install it with: pip install 'winnow\[cluster\]'",
    ):
        list(ordered(toy.square, [1], "local"))


@pytest.mark.parametrize("cluster", [None, pytest.param("local", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_parent(toy, tmp_path, cluster, kind):
    """SIGINT goes to the whole group, as a terminal's Ctrl-C does; SIGKILL to the parent alone."""
    script = tmp_path / "run.py"
    script.write_text(
        "import signal\nfrom winnow.pipeline.executors import ordered\nimport toy_work\n"
        "if __name__ == '__main__':\n"
        # a job in the background is started with it ignored
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"    for x in ordered(toy_work.Logged({str(tmp_path / 'log')!r}), range(10**6), {cluster!r}):\n    "
        f"    pass\n"
    )
    place = {
        **os.environ,
        "PYTHONPATH": f"{Path(__file__).resolve().parents[3]}{os.pathsep}{Path(toy.__file__).parent}",
    }
    run = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, start_new_session=True, env=place, stderr=subprocess.DEVNULL
    )
    try:
        while not (tmp_path / "log").exists() or len((tmp_path / "log").read_text().split()) < 30:
            assert run.poll() is None, "it ended by itself"
            time.sleep(0.05)
        family = psutil.Process(run.pid).children(recursive=True)
        assert family
        os.killpg(run.pid, kind) if kind == signal.SIGINT else run.kill()
        assert run.wait(60) != 0
        _, alive = psutil.wait_procs(family, timeout=60)
        assert alive == []
    finally:
        run.kill()
