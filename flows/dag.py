"""The DAG as DVC's command line tells it: what needs what, and what has changed."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from graphlib import TopologicalSorter
from pathlib import Path

from flows.environment import defaults

Dag = dict[str, list[str]]
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")  # the flag must stand before the subcommand
DOT_LINE = re.compile(r'^"(?P<first>.+?)"(?: -> "(?P<second>.+)")?;$', re.MULTILINE)


class DvcError(RuntimeError):
    """A dvc command failed; the message is DVC's own, on one line."""


def graph(root: Path) -> Dag:
    """Stage -> the stages it needs, in the order of dvc.yaml."""
    dag: Dag = {}
    for match in DOT_LINE.finditer(_dvc(root, "dag", "--dot")):
        needed, stage = match["first"], match["second"]
        dag.setdefault(stage or needed, [])
        if stage:
            dag[stage].append(needed)
    if not dag:
        raise DvcError(f"no stages in {root / 'dvc.yaml'}")
    return dag


def select(dag: Dag, targets: Iterable[str] | None) -> Dag:
    """The targets and all they need. A target is a stage, or the name of a foreach or matrix group."""
    wanted: set[str] = set()
    frontier = [stage for target in targets or dag for stage in _expand(dag, target)]
    while frontier:
        stage = frontier.pop()
        if stage not in wanted:
            wanted.add(stage)
            frontier.extend(dag[stage])
    return {stage: needs for stage, needs in dag.items() if stage in wanted}


def order(dag: Dag) -> list[str]:
    """Every stage after the stages it needs, level by level, so that parallel workers find work."""
    return list(TopologicalSorter(dag).static_order())


def groups(dag: Dag) -> dict[str, list[str]]:
    """Stages that stand in dvc.yaml as one, `pretrain` with all its arms, as one group, every group after
    those that it needs.

    Where the stages of one name cannot all come before another's, because a version is made by the encoder of
    an arm and another arm trains on it, the name has several groups: `refine`, `refine 2`.
    """
    left, found, times = list(dag), dict[str, list[str]](), Counter[str]()
    while left:
        ready = {name: _together(dag, left, name) for name in dict.fromkeys(map(_name, left))}
        whole = [name for name in ready if len(ready[name]) == sum(_name(one) == name for one in left)]
        name = next(iter(whole), None) or next(name for name in ready if ready[name])
        times[name] += 1
        found[name if times[name] == 1 else f"{name} {times[name]}"] = ready[name]
        left = [stage for stage in left if stage not in ready[name]]
    return found


def _together(dag: Dag, left: list[str], name: str) -> list[str]:
    """Of the stages that are left, those of one name that need nothing else that is left, in their order."""
    missing, chosen = set(left), list[str]()
    for stage in order({one: [need for need in dag[one] if need in missing] for one in left}):
        if _name(stage) == name and missing.isdisjoint(dag[stage]):
            chosen.append(stage)
            missing.discard(stage)
    return chosen


def _name(stage: str) -> str:
    return stage.split("@")[0]


def affected(dag: Dag, changed: Iterable[str]) -> set[str]:
    """The changed stages and everything downstream of them."""
    found = set(changed) & dag.keys()
    for stage in order(dag):
        if found.intersection(dag[stage]):
            found.add(stage)
    return found


def changed(root: Path) -> set[str]:
    """The stages whose own command, dependencies, parameters or outputs differ from dvc.lock."""
    return set(json.loads(_dvc(root, "status", "--json")))


def _expand(dag: Dag, target: str) -> list[str]:
    found = [stage for stage in dag if target in (stage, _name(stage))]
    if not found:
        raise ValueError(f"no stage {target!r} in dvc.yaml; there are {', '.join(sorted(dag))}")
    return found


def _dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*DVC, *arguments], cwd=root, env={**defaults(root), **os.environ}, capture_output=True, text=True
    )
    if done.returncode:
        words = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        raise DvcError(f"dvc {arguments[0]}: {words.removeprefix('ERROR: ')}")
    return done.stdout
