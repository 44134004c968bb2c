"""One DVC stage as one Prefect task, and what DVC's output says about how it ended.

Ran         its command ran
Cached      DVC restored its outputs from an earlier run with the same inputs
Skipped     unchanged
Failed      its command failed twice
BadInput    its command exited with 2, a mistake in params.yaml: not tried again
NotRun      a stage that it needs has failed
Stopped     the pipeline was cancelled while its command ran
"""

import re
import time
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.dag import DVC
from flows.processes import Children, Stopped

EXIT_CODE = re.compile(r"ERROR: failed to reproduce .*exited with (-?\d+)$")
REASON = "error: "  # how winnow/pipeline/stage.py begins its last line
ERROR = re.compile(r"ERROR: (?:failed to reproduce '[^']*': )?")
HINTS = re.compile(
    r"\s*$|To track the changes with git|\s+git add |To enable auto staging|\s+dvc config core\.autostage"
    r"|Use `dvc push`|(Generating|Updating) lock file|Data and pipelines are up to date"
)


class Execution:
    """What the tasks of one flow run share. Not a dataclass: Prefect would copy one and replace the states in
    it.
    """

    def __init__(self, children: Children, affected: set[str], force: bool) -> None:
        self.children, self.affected, self.force = children, affected, force
        self.states: dict[str, State[Any]] = {}
        self.seconds: dict[str, float] = {}


def mendable(_task: Any, _run: Any, state: State[Any]) -> bool:
    """A second try mends neither a mistake in params.yaml, nor a failure upstream, nor a stop."""
    return state.name == "Failed"


@task(
    task_run_name="{stage}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=mendable,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def reproduce(stage: str, needs: list[str], execution: Execution) -> State[Any]:
    """Bring one stage up to date; the state that it returns says how."""
    start = time.monotonic()
    state: State[Any]
    if broken := [name for name in needs if not execution.states[name].is_completed()]:
        state = Failed(name="NotRun", message=f"not run, because of {', '.join(broken)}")
    elif stage not in execution.affected:
        state = Completed(name="Skipped", message="unchanged")
    else:
        state = _repro(stage, execution)
    execution.seconds[stage] = execution.seconds.get(stage, 0.0) + time.monotonic() - start
    execution.states[stage] = state
    return state


def _repro(stage: str, execution: Execution) -> State[Any]:
    lines: list[str] = []
    log = get_run_logger()

    def take(line: str) -> None:
        if not HINTS.match(line):
            lines.append(line)
            log.info(line)

    command = [*DVC, "repro", "--single-item", *(["--force"] if execution.force else []), stage]
    try:
        code = execution.children.run(command, take)
    except Stopped:
        return Failed(name="Stopped", message="the pipeline was stopped")
    return _failure(lines, code) if code else _success(lines)


def _success(lines: list[str]) -> State[Any]:
    if any(line.startswith("Running stage ") for line in lines):
        return Completed(name="Ran", message="its command ran")
    if any("is cached - skipping run" in line for line in lines):
        return Completed(name="Cached", message="restored from DVC's run cache")
    return Completed(name="Skipped", message="unchanged")


def _failure(lines: list[str], code: int) -> State[Any]:
    """DVC always exits with 255; the stage's own exit code ends DVC's last line.

    The reason is the stage's own `error:` line, whatever its threads said after it; of a crash, its last
    line.
    """
    ends = [EXIT_CODE.match(line) for line in lines]
    own = next((int(end[1]) for end in ends if end), None)
    if own is None:
        return Failed(message=ERROR.sub("", lines[-1]) if lines else f"dvc exited with {code}")
    said = [line for line in lines if not ERROR.match(line) and not line.startswith(("Running stage ", "> "))]
    reasons = [line.removeprefix(REASON) for line in said if line.startswith(REASON)]
    reason = [*said, *reasons][-1].strip() if said else "no reason given"
    return Failed(name="BadInput", message=reason) if own == 2 else Failed(message=f"{reason} (exit {own})")
