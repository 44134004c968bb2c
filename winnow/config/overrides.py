"""The overrides of `winnow compose`, translated to Hydra's.

Hydra wants `+` before a key that conf/ does not write out, merges a mapping into the one that is there, and
has no word for a part of the arms. Here:

    KEY=VALUE        any key that params.yaml may hold, whether conf/ writes it out or not
    KEY={}           empties a mapping; for `kwargs` any mapping replaces the one that is there
    GROUP@SECTION.NAME=FILE   also adds an item
    backbone=FILE    the learner of every arm
    arms=WORD,WORD   keeps the arms of these names, policies or patterns; a policy of conf/policy that the
                     experiment has no arm for gets one for each method of the experiment, METHOD-POLICY one

`winnow compose --dvc` prints the translation as arguments of `dvc exp run`, which speaks Hydra's language.
"""

import difflib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, OverrideType
from hydra.errors import HydraException

from winnow.config.bounds import known
from winnow.config.errors import ParamsError
from winnow.config.laboratory import LABORATORY
from winnow.config.schema import SECTIONS
from winnow.config.shorthands import SHORTHANDS, matching, unknown

NAMED = ("arms", "versions", "policies", "methods", "backbones")  # sections of items that a user names
Raw = dict[str, Any]
Compose = Callable[[list[str]], Raw]


def to_hydra(overrides: list[str], conf: Path, compose: Compose) -> list[str]:
    """Hydra overrides that mean the same, in an order that does.

    Args:
        conf: the folder of Hydra groups.
        compose: composes conf/ with Hydra's overrides; plain data, `???` where a value is missing.

    Raises:
        ParamsError: of one line, for an override that is not one.
    """
    parsed = [_parse(text) for text in overrides]
    groups, learners, values, arms = _sorted(parsed, conf)
    done = [_line(o) for o in groups if o.package is None or o.type != OverrideType.CHANGE]
    if len(done) == len(parsed):
        return done
    raw = compose(done)
    done = [line for override in groups for line in _group(override, raw)]
    for override in learners:
        done += _backbone(override, compose(done))
    raw = compose(done)
    done += [line for override in values for line in _value(override, raw)]
    for override in arms:
        done += _arms(override, compose(done), conf)
    return done


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        reason = "; ".join(
            line for line in str(error).splitlines()[1:] if line and not line.startswith("See ")
        )
        shown = f" ({reason})" if reason else ""
        raise ParamsError(
            f"{text}: write KEY=VALUE or GROUP=NAME, in quotes what has spaces{shown}"
        ) from None
    if not override.key_or_group:
        raise ParamsError(f"{text}: write KEY=VALUE or GROUP=NAME")
    return override


def _sorted(parsed: list[Override], conf: Path) -> tuple[list[Override], ...]:
    """Those that choose files of conf/, that choose the learner, that set keys, and that choose arms."""
    groups: list[Override] = []
    learners: list[Override] = []
    values: list[Override] = []
    arms: list[Override] = []
    for override in parsed:
        key, plain = override.key_or_group, override.type == OverrideType.CHANGE and override.package is None
        if plain and key == "arms" and not isinstance(override.value(), dict):
            arms.append(override)
        elif plain and key == "backbone":
            learners.append(override)
        elif plain and key in ("policy", "method"):
            raise ParamsError(_instead(override))
        else:
            (groups if (conf / key).is_dir() else values).append(override)
    return groups, learners, values, arms


def _instead(override: Override) -> str:
    """What to type instead of `policy=NAME` or `method=NAME`: an experiment has several of each."""
    kind, name = override.key_or_group, override.value()
    section = {"policy": "policies", "method": "methods"}[kind]
    other = "method: METHOD" if kind == "policy" else "policy: uniform"
    arm = f"'arms.NAME={{{kind}: {name}, {other}, backbone: BACKBONE}}'"
    whole = f"arms={name}" if kind == "policy" else f"{kind}@{section}.{name}={name} {arm}"
    return f"{_line(override)}: an experiment has several arms, each with its own {kind}; write {whole}"


def _group(override: Override, raw: Raw) -> Iterator[str]:
    """`GROUP@PACKAGE=NAME` with Hydra's `+` where the package is not there yet."""
    new = override.package is not None and _at(raw, override.package.split(".")) is None
    yield f"+{_line(override)}" if new and override.type == OverrideType.CHANGE else _line(override)


def _value(override: Override, raw: Raw) -> Iterator[str]:
    """`KEY=VALUE` with what Hydra needs before it."""
    line, key = _line(override), override.key_or_group
    if override.type != OverrideType.CHANGE:
        yield line
        return
    if override.is_sweep_override():
        raise ParamsError(f"{line}: one key takes one value; write a list in brackets: '{key}=[A,B]'")
    path, value = key.split("."), override.value()
    held = _at(raw, path)
    if held and isinstance(held, dict) and isinstance(value, dict) and (not value or path[-1] == "kwargs"):
        yield f"~{key}"
        yield f"+{line}"
        return
    if not _exists(raw, path):
        _check_key(path, raw)
    yield line if _exists(raw, path) and not isinstance(value, dict) else f"++{line}"


def _check_key(path: list[str], raw: Raw) -> None:
    """Refuse a section that does not exist, and a key of an item whose name looks like that of another."""
    known(".".join(path), path[0], ["seed", *SECTIONS, *SHORTHANDS, *LABORATORY])
    if path[0] not in NAMED or len(path) < 3 or path[1] in raw[path[0]]:
        return
    if near := difflib.get_close_matches(path[1], raw[path[0]], n=1):
        item = ".".join(path[:2])
        raise ParamsError(f"{item}: not there; did you mean {near[0]}? To add it, write '{item}={{...}}'")


def _backbone(override: Override, raw: Raw) -> Iterator[str]:
    name = override.value()
    if name not in raw["backbones"]:
        yield f"+backbone@backbones.{name}={name}"
    for arm in raw["arms"]:
        yield f"++arms.{arm}.backbone={name}"


def _arms(override: Override, raw: Raw, conf: Path) -> Iterator[str]:
    """Hydra overrides that make the arms that are not there, and keep those that the words stand for."""
    arms, kept, policies = raw["arms"], [], set(raw["policies"])
    files = sorted(path.stem for path in (conf / "policy").glob("*.yaml"))
    learners: dict[str, str] = {}
    for arm in arms.values():
        learners.setdefault(arm["method"], arm["backbone"])
    for word in _words(override):
        if found := matching(word, arms):
            kept += found
            continue
        made = [(m, p) for m in learners for p in files if word in (p, f"{m}-{p}")]
        if not made:
            raise unknown("arms", word, [*arms, *files])
        for method, policy in made:
            if policy not in policies:
                yield f"+policy@policies.{policy}={policy}"
            policies.add(policy)
            name = f"{method}-{policy}"
            if name not in [*kept, *arms]:
                yield f"+arms.{name}={{policy: {policy}, method: {method}, backbone: {learners[method]}}}"
            kept.append(name)
    yield f"++keep=[{','.join(dict.fromkeys(kept))}]"


def _line(override: Override) -> str:
    """What the user wrote."""
    assert override.input_line is not None
    return override.input_line


def _words(override: Override) -> list[str]:
    """The words of `arms=a,b` or `arms=[a,b]`."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        value = value.list
    return [str(word) for word in (value if isinstance(value, list) else [value])]


def _at(raw: Any, path: list[str]) -> Any:
    """What stands under a path of keys; None where nothing does."""
    for part in path:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return raw


def _exists(raw: Raw, path: list[str]) -> bool:
    parent = _at(raw, path[:-1])
    return isinstance(parent, dict) and path[-1] in parent
