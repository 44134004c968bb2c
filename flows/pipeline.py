"""One execution of the pipeline: a Prefect task for each DVC stage, in the order of DVC's DAG, and a flow
around the tasks of each name, so that a graph of dozens of stages is read as one of a dozen boxes.

`python -m flows.pipeline [--force] [--target STAGE ...] [--parallel N]` needs no server. DVC decides what
runs and remembers what ran; Prefect orders and reports.
"""

if __name__ == "__main__":  # Prefect reads its settings while it is imported
    from flows import environment

    environment.prepare(environment.root())

import argparse
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import allow_failure, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows import environment
from flows.dag import Dag, DvcError, affected, changed, graph, groups, order, select
from flows.processes import Children
from flows.stage import Execution, reproduce


@flow(name="pipeline", persist_result=False)
def pipeline(targets: list[str] | None = None, force: bool = False, max_parallel: int = 1) -> State[Any]:
    """Bring the pipeline, or the targets and all they need, up to date.

    Args:
        targets: names of stages, or of groups of stages such as `pretrain`; all stages where none are named
        force: run every stage, changed or not
        max_parallel: how many stages may run at once
    """
    root = environment.root()
    try:
        if max_parallel < 1:
            raise ValueError(f"max_parallel={max_parallel}: at least one stage must run at a time")
        dag = select(graph(root), targets)
        execution = _begin(root, dag, force)
    except (DvcError, ValueError) as error:
        return Failed(message=str(error))
    try:
        _run(dag, execution, max_parallel)
        _publish(execution)
    except BaseException:  # a failure, Ctrl-C, or Prefect's TerminationSignal on cancel
        execution.children.stop()
        raise
    _artifacts(root, dag, execution)
    return _verdict(execution.states)


def _begin(root: Path, dag: Dag, force: bool) -> Execution:
    # The id too: a name may come twice in a database's life, and this one names a file and runs in MLflow.
    name = re.sub(r"[^\w.-]+", "-", f"{flow_run.name}-{str(flow_run.id)[-8:]}")
    surroundings = {
        **environment.defaults(root),
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "WINNOW_EXECUTION": name,
    }
    todo = set(dag) if force else affected(dag, changed(root))
    get_run_logger().info("%d of %d stages may have changed; execution %s", len(todo), len(dag), name)
    return Execution(Children(root, surroundings), todo, force)


def _run(dag: Dag, execution: Execution, max_parallel: int) -> None:
    """Run one group after the other, each as a flow of its own, which the graph shows as a box that opens."""
    shared = _Shared(dag, execution)
    for name, stages in groups(dag).items():
        runner: Any = ThreadPoolTaskRunner(max_workers=max_parallel)
        stage_group.with_options(task_runner=runner)(name, stages, shared, return_state=True)


class _Shared:
    """What the groups share; a class, because Prefect would look into a dictionary and copy what it holds."""

    def __init__(self, dag: Dag, execution: Execution) -> None:
        self.dag, self.execution = dag, execution


@flow(name="stages", flow_run_name="{name}", persist_result=False, validate_parameters=False)
def stage_group(name: str, stages: list[str], shared: _Shared) -> State[Any]:
    """Bring the stages of one name up to date."""
    dag, execution = shared.dag, shared.execution
    futures: dict[str, Any] = {}
    for stage in stages:
        # allow_failure, because the task itself says which stage failed; Prefect would leave it pending for
        # ever.
        needs = [allow_failure(futures[need]) for need in dag[stage] if need in futures]
        submit: Any = reproduce.submit
        futures[stage] = submit(stage, dag[stage], execution, wait_for=needs)
    try:
        for future in futures.values():
            future.wait()
    except BaseException:  # stopped: before the runner waits for its threads, which wait for their children
        execution.children.stop()
        raise
    return _verdict({stage: execution.states[stage] for stage in stages})


def _publish(execution: Execution) -> None:
    """Show in MLflow what it does not show yet, if anything. Tracking never fails a flow."""
    lines = ["no reason given"]
    if execution.children.run([sys.executable, "-m", "winnow.cli.main", "publish"], lines.append):
        get_run_logger().warning("MLflow is not up to date: %s (`winnow publish` does it later)", lines[-1])
    else:
        get_run_logger().info("\n".join(lines[1:]) or "published to MLflow")


def _artifacts(root: Path, dag: Dag, execution: Execution) -> None:
    rows = [
        {
            "stage": stage,
            "state": state.name,
            "seconds": round(execution.seconds[stage], 1),
            "message": state.message,
        }
        for stage, state in ((stage, execution.states[stage]) for stage in order(dag))
    ]
    create_table_artifact(key="stages", table=rows, description="What each stage did, and how long it took")
    table = root / "results" / "compare" / "table.md"
    if table.exists():
        create_markdown_artifact(
            key="comparison", markdown=table.read_text(encoding="utf-8"), description="All arms"
        )


def _verdict(states: Mapping[str, State[Any]]) -> State[Any]:
    counts = Counter(str(state.name) for state in states.values())
    summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    failed = [
        f"{stage}: {s.message}" for stage, s in states.items() if not s.is_completed() and s.name != "NotRun"
    ]
    return Failed(message=f"{'; '.join(failed)} [{summary}]") if failed else Completed(message=summary)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flows.pipeline", description="Run the pipeline as a Prefect flow."
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="STAGE",
        help="a stage or a group, with all it needs (repeatable)",
    )
    parser.add_argument("--force", action="store_true", help="run every stage, changed or not")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="stages at once (default 1)")
    return parser.parse_args()


def main() -> int:
    """The command line: 0 all is up to date, 1 a stage failed, 2 a mistake in the arguments, dvc.yaml or the
    server.
    """
    arguments = _arguments()
    api = os.environ.get("PREFECT_API_URL")
    try:
        select(graph(environment.root()), arguments.target)
        if api and not environment.answers(api):
            raise ValueError(
                f"PREFECT_API_URL={api} does not answer: start it (`make ui`), or unset the variable"
            )
    except (DvcError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not api:
        print(
            "No Prefect server is running: starting a temporary one, 20-35 s (`make ui` keeps one)",
            flush=True,
        )
    # Prefect marks the run and then hands SIGTERM on to this handler: leaving by exit also ends the temporary
    # server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        state = pipeline(arguments.target, arguments.force, arguments.parallel, return_state=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    print(f"pipeline {'failed: ' if state.is_failed() else 'done: '}{state.message}", flush=True)
    return 1 if state.is_failed() else 0


if __name__ == "__main__":
    sys.exit(main())
