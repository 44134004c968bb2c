"""What conf/shorthands.yaml allows, written out in the keys of params.yaml: `budget`, `keep`, `seeds`, those
of an arm, and `false` for a filter that shall not run.

They work on plain data before it is parsed, so `winnow compose`, an experiment of conf/ and `dvc exp run -S`
mean the same by them. What a key holds that is none of this is for the schema to refuse.
"""

import dataclasses
import difflib
import re
from collections.abc import Container, Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from winnow.config.derive import ENCODERS, needs_reference, reference_of_model, start_arm
from winnow.config.errors import ParamsError
from winnow.config.schema import Policy

SHORTHANDS = ("budget", "keep", "seeds")
Raw = dict[str, Any]


def expand(raw: Raw) -> Raw:
    """The same with every shorthand written out and left away.

    Raises:
        ParamsError: for a shorthand that means nothing here.
    """
    given = {name: raw.get(name) for name in SHORTHANDS}
    raw = {key: value for key, value in raw.items() if key not in SHORTHANDS}
    raw = _without_filters(raw)
    if given["budget"] is not None:
        raw["pretrain"] = {**(raw.get("pretrain") or {}), "budget": given["budget"]}
    if given["keep"] is not None:
        raw = _keep(raw, _names("keep", given["keep"]))
    raw, repeated = _repeat(raw, given["seeds"])
    if given["keep"] is not None or repeated:
        _check_models(raw)
    return raw


def matching(word: str, arms: Raw) -> list[str]:
    """The arms that a word stands for: the arm of that name, else those of that policy, else a pattern's."""
    if word in arms:
        return [word]
    of_policy = [name for name, arm in arms.items() if isinstance(arm, dict) and arm.get("policy") == word]
    return of_policy or [name for name in arms if fnmatchcase(name, word)]


def first_seed(name: str, arms: Iterable[str]) -> str:
    """The arm of that name, or where it has several seeds, the first of them; any other name as it is."""
    arms = list(arms)
    runs = [arm for arm in arms if re.fullmatch(re.escape(name) + r"-s\d+", arm)]
    return name if name in arms or not runs else min(runs, key=lambda arm: int(arm.rpartition("-s")[2]))


def unknown(key: str, word: str, allowed: Iterable[str]) -> ParamsError:
    """The error of a word that stands for no arm."""
    allowed = list(dict.fromkeys(allowed))
    near = difflib.get_close_matches(word, allowed, n=1)
    hint = f"; did you mean {near[0]}? Allowed" if near else "; allowed"
    return ParamsError(f"{key}: {word!r} is no arm and no policy{hint}: {', '.join(allowed)}")


def _without_filters(raw: Raw) -> Raw:
    """Drop the filters that are `false`; `true` is a filter with its defaults."""
    raw = dict(raw)
    if isinstance(curate := raw.get("curate"), dict):
        raw["curate"] = _chosen(curate)
    if isinstance(versions := raw.get("versions"), dict):
        raw["versions"] = {name: _chosen(version) for name, version in versions.items()}
    return raw


def _chosen(block: Any) -> Any:
    if not isinstance(block, dict) or not isinstance(filters := block.get("filters"), dict):
        return block
    on = {name: {} if value is True else value for name, value in filters.items() if value is not False}
    return {**block, "filters": on}


def _names(key: str, value: Any) -> list[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ParamsError(f"{key}: {value!r}; give names of arms or policies, such as [uniform, easy]")
    return words


def _keep(raw: Raw, words: list[str]) -> Raw:
    """Only the arms that the words stand for, in the experiment's order, and only the references that they or
    a version need.
    """
    arms: Raw = raw.get("arms") or {}
    chosen: set[str] = set()
    for word in words:
        found = matching(word, arms)
        if not found:
            policies = [arm["policy"] for arm in arms.values() if isinstance(arm, dict) and "policy" in arm]
            raise unknown("keep", word, [*arms, *policies])
        chosen.update(found)
    kept = {name: arm for name, arm in arms.items() if name in chosen}
    reference = {**(raw.get("reference") or {})}
    needed = _references(kept, raw)
    present = reference.get("methods") or []
    reference["methods"] = [*(m for m in present if m in needed), *(m for m in needed if m not in present)]
    return {**raw, "arms": kept, "reference": reference}


def _references(arms: Raw, raw: Raw) -> list[str]:
    """The methods of the references that arms choose by, and that versions get embeddings from."""
    fields = {f.name for f in dataclasses.fields(Policy)}
    needed = []
    for arm in arms.values():
        policy = (raw.get("policies") or {}).get(arm.get("policy")) if isinstance(arm, dict) else None
        if isinstance(policy, dict):
            known = Policy(**{key: value for key, value in policy.items() if key in fields})
            needed += [arm.get("reference_method") or arm.get("method")] if needs_reference(known) else []
    models = [version.get("model") for version in _versions(raw).values() if isinstance(version, dict)]
    needed += [reference_of_model(model) for model in models]
    return list(dict.fromkeys(method for method in needed if method))


def _seeds(key: str, value: Any) -> list[int] | None:
    """Of a count, 0 to count - 1; a list is taken as it is; of one, None: the arm as it is."""
    seeds = value if isinstance(value, list) else [value]
    if seeds and all(type(seed) is int for seed in seeds):
        if isinstance(value, list) and len(set(seeds)) == len(seeds):
            return seeds
        if not isinstance(value, list) and value > 0:
            return list(range(value)) if value > 1 else None
    raise ParamsError(f"{key}: {value!r}; give how many (3), or which ([0, 7]), each once")


def _repeat(raw: Raw, value: Any) -> tuple[Raw, bool]:
    """Each arm once for each seed, and whether any arm has several names now.

    Args:
        value: the seeds of all arms, None where each arm's own `seeds` say.
    """
    arms: Raw = {}
    names: dict[str, dict[int | None, str]] = {}  # of an arm: seed -> its name with that seed
    for name, arm in (raw.get("arms") or {}).items():
        arm = dict(arm) if isinstance(arm, dict) else arm
        own = arm.pop("seeds", None) if isinstance(arm, dict) else None
        if own is not None and "seed" in arm:
            both = f"arms.{name}.seed: {arm['seed']}, but arms.{name}.seeds is {own}"
            raise ParamsError(f"{both}; give arms.{name}.seeds alone, or set it to null")
        key, chosen = ("seeds", value) if value is not None else (f"arms.{name}.seeds", own)
        seeds = None if chosen is None else _seeds(key, chosen)
        names[name] = {None: name} if seeds is None else {seed: f"{name}-s{seed}" for seed in seeds}
        arms[name] = arm
    backbones: Raw = dict(raw.get("backbones") or {})
    repeated = {
        names[name][seed]: arm if seed is None else _with_seed(arm, seed, names, backbones)
        for name, arm in arms.items()
        for seed in names[name]
    }
    several = any(None not in some for some in names.values())
    return {**raw, "arms": repeated, "backbones": backbones} if several else {**raw, "arms": arms}, several


def _with_seed(arm: Any, seed: int, names: dict[str, dict[int | None, str]], backbones: Raw) -> Any:
    """The arm with a seed; one that replays another or starts from it takes that of its own seed, where the
    other has several.
    """
    if not isinstance(arm, dict):
        return arm
    own = {**arm, "seed": seed}
    if (replayed := str(own.get("replay_from"))) in names:
        own["replay_from"] = _of_seed(names[replayed], seed)
    if start := _start(own, names, backbones):
        backbone = own["backbone"]
        own["backbone"] = f"{backbone}-s{seed}"
        weights = f"{ENCODERS}/{_of_seed(names[start], seed)}"
        backbones[own["backbone"]] = {**backbones[backbone], "weights": weights}
    return own


def _of_seed(names: dict[int | None, str], seed: int) -> str:
    """The name of that seed, else of the first: what runs once is shared."""
    return names.get(seed) or next(iter(names.values()))


def _start(arm: Raw, arms: Container[str | None], backbones: Raw) -> str | None:
    """Which of the arms an arm starts from, if any."""
    backbone = backbones.get(str(arm.get("backbone")))
    weights = backbone.get("weights") if isinstance(backbone, dict) else None
    if not isinstance(weights, str) or not PurePosixPath(weights).is_relative_to(ENCODERS):
        return None
    start = start_arm(weights)
    return start if start in arms else None


def _check_models(raw: Raw) -> None:
    """A version may take its embeddings from an arm, which must still be there."""
    arms: Raw = raw.get("arms") or {}
    for name, version in _versions(raw).items():
        model = version.get("model") if isinstance(version, dict) else None
        parts = PurePosixPath(model).parts if isinstance(model, str) else ()
        if parts[:2] == ("results", "pretrain") and len(parts) > 2 and parts[2] not in arms:
            given = f"versions.{name}.model: {model}, but no arm is named {parts[2]}"
            raise ParamsError(f"{given}; the arms are {', '.join(arms)}")


def _versions(raw: Raw) -> Raw:
    versions = raw.get("versions")
    return versions if isinstance(versions, dict) else {}
