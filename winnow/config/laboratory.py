"""Keys of conf/ that params.yaml does not have: they stand for several entries of `datasets`.

    dataset        a laboratory run: one source, which is the pool, and of which the reference and a task set
                   are held out (`splits` says how much); `datasets.pool` takes its place
    each_dataset   settings of every dataset of `datasets`, such as {limit: 2000}
    photos         where the photographs of photos_labels and photos_ssl lie: conf/photos

In `datasets` a path stands for a dataset whose source is found out (winnow/config/detect.py):

    datasets.pool: FOLDER                 or a list of them
    datasets.reference: FOLDER
    datasets.tasks: {flowers: FOLDER}
"""

import re
from pathlib import PurePath
from typing import Any

from winnow.config.detect import detect
from winnow.config.errors import ParamsError
from winnow.config.schema import CLEAN, POOL, REFERENCE, TASKS

LABORATORY = DATASET, EACH, PHOTOS = "dataset", "each_dataset", "photos"
TRUSTED, HELD_OUT = "trusted", "held_out"  # the names of what a laboratory run holds out
ALL_TASKS = ["linear_probe", "semi_supervised", "detection"]  # unless `tasks` says which


def datasets_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with `datasets` in the place of the shorthands.

    Raises:
        ParamsError: if both say what the pool is.
    """
    out = {key: value for key, value in raw.items() if key not in LABORATORY}
    one, each = raw.get(DATASET) or {}, raw.get(EACH) or {}
    given = raw.get("datasets") or {}
    datasets = {role: _blocks(role, given[role]) for role in given if given[role] and role != "dvc"}
    if datasets.get(POOL):
        if one.get("path"):
            names, path = ", ".join(datasets[POOL]), one["path"]
            raise ParamsError(f"dataset.path: {path!r}, and datasets.pool has {names}; give one of the two")
    elif one.get("source"):
        datasets = _laboratory(one, datasets)
    for some in datasets.values():
        for name, block in some.items():
            some[name] = {**block, **({} if block.get("held_out_of") else each)}
    out |= {"datasets": datasets} if datasets else {}
    return _without_oracles(out)


def _without_oracles(raw: dict[str, Any]) -> dict[str, Any]:
    """Without the arms on what is clean, where nothing was corrupted on purpose: an experiment has them for
    pools of laboratory runs.
    """
    pool, arms = (raw.get("datasets") or {}).get(POOL) or {}, raw.get("arms")
    planted = any(any((block.get("corruption") or {}).values()) for block in pool.values())
    if planted or not isinstance(arms, dict):
        return raw
    kept = {name: arm for name, arm in arms.items() if not _on_clean(arm)}
    return {**raw, "arms": kept}


def _on_clean(arm: Any) -> bool:
    return isinstance(arm, dict) and CLEAN in str(arm.get("version", "")).split("+")


def _blocks(role: str, value: Any) -> dict[str, Any]:
    """Name -> block of the datasets of a role, where paths stand for some.

    Raises:
        ParamsError: for what is neither, or two paths that would have one name.
    """
    if isinstance(value, str | list):
        found: dict[str, Any] = {}
        for path in [value] if isinstance(value, str) else value:
            block = _block(f"datasets.{role}", path)
            if (name := _name(role, str(block["path"]))) in found:
                given = f"{found[name]['path']} and {path}"
                raise ParamsError(f"datasets.{role}: {given} would both be {name}; name them: {{NAME: PATH}}")
            found[name] = block
        return found
    if not isinstance(value, dict):
        raise ParamsError(f"datasets.{role}: {value!r}; give a path, a list of paths, or {{NAME: ...}}")
    return {name: _block(f"datasets.{role}.{name}", block) for name, block in value.items()}


def _block(key: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return _detected(value)
    if not isinstance(value, dict):
        raise ParamsError(f"{key}: {value!r}; give a path, or {{source: ..., path: ...}}")
    return dict(value)


def _detected(path: str) -> dict[str, Any]:
    found = detect(path)
    return {"source": found.source, "path": found.path, "options": found.options}


def _name(role: str, path: str) -> str:
    """A name for what lies at a path: its last part, with the role behind it where that says nothing new."""
    last = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePath(path).stem).strip("_") or "data"
    return last if last in (POOL, REFERENCE, TASKS) else f"{last}_{role}"


def _laboratory(one: dict[str, Any], datasets: dict[str, Any]) -> dict[str, Any]:
    """The pool, and what is held out of it, beside the datasets that are given already."""
    block = dict(one)
    splits, tasks = dict(block.pop("splits", None) or {}), block.pop("tasks", None)
    source, count = str(block["source"]), splits.pop(REFERENCE, 0)
    reference = {TRUSTED: {"held_out_of": source, "examples": count}} if count else {}
    held_out: dict[str, Any] = {}
    if any(splits.values()):
        chosen = ALL_TASKS if tasks is None else tasks
        held_out = {HELD_OUT: {"held_out_of": source, "splits": splits, "tasks": chosen}}
    return {
        POOL: {source: block},
        REFERENCE: {**reference, **datasets.get(REFERENCE, {})},
        TASKS: {**held_out, **datasets.get(TASKS, {})},
    }
