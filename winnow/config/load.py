"""The only reader of params.yaml. It costs no torch: plug-ins are looked up by their file.

`load` reads what `dvc repro` is about to use, and refuses a file that leaves a default to the code: DVC would
not see that default change. `parse` takes plain data that `winnow compose` has yet to complete.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from winnow.config.bounds import check
from winnow.config.checks import check_names
from winnow.config.derive import derive
from winnow.config.errors import ParamsError
from winnow.config.laboratory import LABORATORY
from winnow.config.parse import one_line
from winnow.config.schema import SECTIONS, Params
from winnow.config.shorthands import SHORTHANDS

MEND = "write it with: winnow compose"
# The key of conf/config.yaml by which DVC's own composition fills in defaults; see conf/hydra_plugins.
HOOK = "completed"
DERIVED = ("ingests", "datasheets", "oracles", "cells", "comparison")  # whole sections


def load(path: Path | str) -> Params:
    """Read and validate params.yaml.

    Raises:
        ParamsError: naming the key, the value and what is allowed.
    """
    raw = read(path)
    params = parse(raw)
    whole = asdict(params)
    if difference := _difference(raw, whole):
        raise ParamsError(difference)
    return params


def read(path: Path | str) -> dict[str, Any]:
    """The plain data of a YAML file.

    Raises:
        ParamsError: if it is not there, or no mapping.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; {MEND}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ParamsError(f"{Path(path).name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        found = type(raw).__name__
        raise ParamsError(f"{Path(path).name}: {found} at the top; it must be a mapping of sections")
    _refuse_cycles(raw, Path(path).name)
    raw.pop(HOOK, None)
    # DVC's own composition leaves the shorthands, which `complete` has written out, as null.
    left = {*SHORTHANDS, *LABORATORY}
    return {key: value for key, value in raw.items() if value is not None or key not in left}


def parse(raw: dict[str, Any]) -> Params:
    """Turn plain data into `Params`, with defaults and derived keys filled in.

    Raises:
        ParamsError: of one line.
    """
    try:
        given = OmegaConf.create(raw)
        _refuse_shapeless(given)
        config = OmegaConf.merge(OmegaConf.structured(Params), given)
        missing = sorted(OmegaConf.missing_keys(given) | OmegaConf.missing_keys(config))
        if missing:
            raise ParamsError(f"{missing[0]}: has no value (???); give it one")
        params = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ParamsError(one_line(error)) from None
    assert isinstance(params, Params)
    derive(params)
    check(params)
    check_names(params)
    return params


def _refuse_shapeless(given: Any) -> None:
    """A number where a section belongs would make OmegaConf merge nothing, and say nothing."""
    for name in set(SECTIONS) & set(given):
        if not (isinstance(given[name], DictConfig) or name in ("datasheets", "oracles")):
            raise ParamsError(f"{name}: {given[name]!r} is no section; allowed: a mapping of keys to values")


def _refuse_cycles(value: Any, key: str, above: tuple[int, ...] = ()) -> None:
    """A YAML alias can hold itself, and whoever walks such data never comes back."""
    if id(value) in above:
        raise ParamsError(f"{key}: an alias that contains itself; write the values out")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        _refuse_cycles(item, f"{key}: {name}" if not above else f"{key}.{name}", (*above, id(value)))


def _difference(raw: Any, whole: Any, key: str = "") -> str | None:
    """The first key that the file leaves out, or that is derived and holds something else."""
    if key in DERIVED and raw != whole:
        return f"{key}: differs from what the other keys make it; {MEND}"
    if not isinstance(whole, dict) or not isinstance(raw, dict):
        derived = ".dvc." in key
        return (
            f"{key}: {raw!r}, but the other keys make it {whole!r}; {MEND}"
            if derived and raw != whole
            else None
        )
    for name, value in whole.items():
        path = f"{key}.{name}" if key else str(name)
        if name not in raw:
            return (
                f"{path}: not in params.yaml, and its default is an input like any other: {value!r}; {MEND}"
            )
        if found := _difference(raw[name], value, path):
            return found
    return None
