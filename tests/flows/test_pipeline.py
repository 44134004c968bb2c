"""The flow over a real DVC repository and a real Prefect server: states, retries, artifacts, and what a stop
leaves.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.dag import DvcError, affected, changed, graph, groups, order, select
from flows.processes import Children, Stopped

DAG = {
    "source": [],
    "part@a": ["source"],
    "part@b": ["source"],
    "join": ["part@a", "part@b"],
    "side": [],
    "after": ["side"],
}


def dvc(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True)


def command(root: Path, environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "flows.pipeline", *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
def test_the_graph_is_the_one_of_dvc_yaml(toy: Path) -> None:
    assert {stage: sorted(needs) for stage, needs in graph(toy).items()} == DAG
    assert list(graph(toy)) == dvc(toy, "stage", "list", "--name-only").stdout.split()


def test_order_and_selection() -> None:
    place = {stage: i for i, stage in enumerate(order(DAG))}
    assert all(place[need] < place[stage] for stage, needs in DAG.items() for need in needs)
    assert set(select(DAG, ["part"])) == {"source", "part@a", "part@b"}
    assert set(select(DAG, ["after", "part@a"])) == {"side", "after", "source", "part@a"}
    assert select(DAG, None) == DAG
    assert affected(DAG, {"part@b", "a.csv.dvc"}) == {"part@b", "join"}
    with pytest.raises(ValueError, match=r"no stage .prat. in dvc\.yaml; there are after, join"):
        select(DAG, ["prat"])


def test_stages_of_one_name_are_one_group_unless_others_come_between() -> None:
    assert groups(DAG) == {
        "source": ["source"],
        "part": ["part@a", "part@b"],
        "join": ["join"],
        "side": ["side"],
        "after": ["after"],
    }
    # a version made by the encoder of an arm, and an arm that trains on it
    chain = {"train@a": [], "refine@x": ["train@a"], "train@b": ["refine@x"], "train@c": ["train@a"]}
    split = {"train": ["train@a", "train@c"], "refine": ["refine@x"], "train 2": ["train@b"]}
    assert groups(chain) == split


@pytest.mark.slow
def test_changed_stages_and_a_broken_dvc_yaml(toy: Path) -> None:
    assert changed(toy) == set(DAG)
    (toy / "dvc.yaml").write_text("stages:\n  source: [")
    with pytest.raises(DvcError, match=r"dvc dag: .*dvc.yaml.* is invalid") as caught:
        graph(toy)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_ran_then_skipped_then_cached(toy: Path, run: Any) -> None:
    (toy / "results" / "compare").mkdir(parents=True)
    (toy / "results" / "compare" / "table.md").write_text("| arm |\n|---|\n| uniform |\n")

    first = run()
    assert first.states == dict.fromkeys(DAG, "Ran")
    assert first.state.is_completed()
    assert first.state.message == "6 Ran"
    assert first.artifacts["comparison"].startswith("| arm |")
    assert all(row["seconds"] > 0 for row in first.rows.values())

    assert run().states == dict.fromkeys(DAG, "Skipped")

    params = (toy / "params.yaml").read_text()
    (toy / "params.yaml").write_text(params.replace("size: 2", "size: 3"))
    changed = dict.fromkeys(DAG, "Skipped") | {"part@b": "Ran", "join": "Ran"}
    assert run(max_parallel=2).states == changed

    (toy / "params.yaml").write_text(params)
    assert run().states == changed | {"part@b": "Cached", "join": "Cached"}
    assert (toy / "join.txt").read_text() == "1\n1\n1\n2\n"

    executions = (toy / "published.txt").read_text().splitlines()
    assert len(set(executions)) == 4
    assert all(line.startswith("publish ") for line in executions)


@pytest.mark.slow
def test_force_and_target(toy: Path, run: Any) -> None:
    assert run(targets=["part@a"]).states == {"source": "Ran", "part@a": "Ran"}
    assert run(targets=["part@a"], force=True).states == {"source": "Ran", "part@a": "Ran"}
    refused = run(max_parallel=0)
    assert refused.state.is_failed()
    assert refused.state.message == "max_parallel=0: at least one stage must run at a time"


@pytest.mark.slow
def test_a_failure_stops_its_descendants_and_no_other_stage(toy: Path, run: Any) -> None:
    (toy / "side.sh").write_text("echo try >> tries.txt\necho no space left >&2\nexit 7\n")
    failed = run()
    assert failed.states == dict.fromkeys(DAG, "Ran") | {"side": "Failed", "after": "NotRun"}
    assert failed.rows["after"]["message"] == "not run, because of side"
    assert failed.state.is_failed()
    assert failed.state.message == "side: no space left (exit 7) [1 Failed, 1 NotRun, 4 Ran]"
    assert (toy / "tries.txt").read_text().split() == ["try", "try"]


@pytest.mark.slow
def test_a_mistake_in_params_is_not_tried_again(toy: Path, run: Any) -> None:
    (toy / "side.sh").write_text(
        "echo try >> tries.txt\necho 'params.yaml: value: many is no number' >&2\nexit 2\n"
    )
    failed = run(targets=["after"])
    assert failed.states == {"side": "BadInput", "after": "NotRun"}
    assert failed.rows["side"]["message"] == "params.yaml: value: many is no number"
    assert (toy / "tries.txt").read_text().split() == ["try"]


@pytest.mark.slow
def test_a_flaky_stage_gets_a_second_try(toy: Path, run: Any) -> None:
    (toy / "side.sh").write_text(
        "echo try >> tries.txt\n[ $(wc -l < tries.txt) -gt 1 ] || exit 1\necho ok > side.txt\n"
    )
    assert run(targets=["after"]).states == {"side": "Ran", "after": "Ran"}
    assert (toy / "tries.txt").read_text().split() == ["try", "try"]


@pytest.mark.slow
def test_the_command_line_ends_with_one_clear_line(toy: Path, server: str) -> None:
    (toy / "side.sh").write_text("echo out of luck >&2\nexit 2\n")
    failing = command(toy, {**os.environ, "PREFECT_API_URL": server}, "--target", "side")
    output, _ = failing.communicate(timeout=120)
    assert failing.returncode == 1
    assert "pipeline failed: side: out of luck [1 BadInput]" in output.splitlines()
    assert "Traceback" not in output
    assert "git add" not in output

    unknown = command(toy, {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"}, "--target", "sied")
    output, _ = unknown.communicate(timeout=120)
    assert (unknown.returncode, len(output.splitlines())) == (2, 1)
    assert output.startswith("no stage 'sied'")

    lonely = command(toy, {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:1/api"})
    output, _ = lonely.communicate(timeout=120)
    assert (lonely.returncode, len(output.splitlines())) == (2, 1)
    assert "does not answer: start it (`make ui`)" in output


@pytest.mark.slow
def test_sigterm_leaves_no_process_and_no_lock(toy: Path, server: str) -> None:
    script = (toy / "side.sh").read_text()
    (toy / "side.sh").write_text("echo $$ > pid.txt\nsleep 300\n")
    flow = command(toy, {**os.environ, "PREFECT_API_URL": server})
    wait_for((toy / "pid.txt").exists)
    tree = psutil.Process(flow.pid).children(recursive=True)
    assert any(process.name() == "sleep" for process in tree)

    flow.send_signal(signal.SIGTERM)
    flow.communicate(timeout=60)

    assert flow.returncode == 128 + signal.SIGTERM
    assert not psutil.wait_procs(tree, timeout=5)[1]
    locks = json.loads((toy / ".dvc" / "tmp" / "rwlock").read_text())
    assert not locks.get("write")
    assert not locks.get("read")
    (toy / "side.sh").write_text(script)
    again = dvc(toy, "repro")
    assert again.returncode == 0, again.stderr


@pytest.mark.slow
def test_children_that_ignore_sigterm_are_killed(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ)
    stubborn = children.start(["sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.2; done"])
    wait_for((tmp_path / "ready").exists)
    children.stop(seconds=0.3)
    assert stubborn.wait(timeout=5) == -signal.SIGKILL
    with pytest.raises(Stopped):
        children.start(["true"])


@pytest.mark.slow
def test_without_a_server_it_starts_and_stops_its_own(toy: Path, surroundings: dict[str, str]) -> None:
    flow = command(toy, surroundings, "--target", "side")
    output, _ = flow.communicate(timeout=180)
    assert flow.returncode == 0, output
    assert output.startswith("No Prefect server is running: starting a temporary one")
    assert "pipeline done: 1 Ran" in output.splitlines()
    homes = [(p.info["environ"] or {}).get("PREFECT_HOME") for p in psutil.process_iter(["environ"])]
    assert surroundings["PREFECT_HOME"] not in homes


def test_the_reason_of_a_failure_is_the_stages_own_whatever_is_printed_after_it() -> None:
    """A thread that still decodes may name an unreadable picture after the error that ended the stage."""
    from flows.stage import _failure

    lines = [
        "Running stage 'pretrain@x':",
        "> python -m stages.pretrain x",
        "error: pretrain@x: step 3: the losses of 2 examples are not finite",
        "unreadable 00ff: its bytes were altered; 01ab stands in for it",
        "ERROR: failed to reproduce 'pretrain@x': failed to run: python -m stages.pretrain x, exited with 1",
    ]
    state = _failure(lines, 255)
    assert state.message == "pretrain@x: step 3: the losses of 2 examples are not finite (exit 1)"
    crash = [lines[0], "Traceback (most recent call last):", "KeyError: 'x'", lines[-1]]
    assert _failure(crash, 255).message == "KeyError: 'x' (exit 1)"
