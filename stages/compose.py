"""Compose conf/ into params.yaml with Hydra, as `dvc exp run -S` does, and validate the result before writing it."""

import difflib
import re
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stages.params import NOTHING, POOL, ROOT, ParamsError, parse

# What dvc.yaml reads of each arm and version, and conf/ need not say: DVC's templates know no defaults.
FILLED = {"arms": {"after": NOTHING, "version": POOL}, "versions": {"parent": POOL, "model": NOTHING}}
HEADER = """\
# Written by `winnow compose` from conf/, where each key is explained. `dvc repro` reads this file and nothing else.
# To change it: edit conf/ and run `winnow compose`, or edit here (a test tells when the two have drifted apart).
"""


def composed(overrides: list[str], conf: Path = ROOT / "conf") -> dict[str, Any]:
    """Compose and validate; returns plain data.

    Raises:
        ParamsError: one line with the key, the value and what is allowed.
    """
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf)):
            raw = OmegaConf.to_container(hydra_compose("config", overrides=overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ParamsError(_hydra_line(error, overrides)) from None
    assert isinstance(raw, dict)
    plain = {str(key): value for key, value in raw.items()}
    parse(plain)
    for section, defaults in FILLED.items():
        plain[section] = {
            name: {**block, **{k: v for k, v in defaults.items() if k not in block}} for name, block in plain[section].items()
        }
    return plain


def write(overrides: list[str], path: Path = ROOT / "params.yaml") -> None:
    """Compose, validate, and replace `path` in one step."""
    text = HEADER + yaml.safe_dump(composed(overrides), sort_keys=False, default_flow_style=None, width=120)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _hydra_line(error: Exception, overrides: list[str]) -> str:
    """Hydra's message without its search path, and for a key that does not exist the keys that do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "; ".join(line for line in lines if "path=" not in line and not line.startswith("Config search path"))
    unknown = re.match(r"Could not override '([^']+)'", text)
    if unknown:
        return _allowed(unknown.group(1))
    return f"{' '.join(overrides)}: {text}"[:500]


def _allowed(key: str) -> str:
    node: Any = composed([])
    *path, last = key.split(".")
    for part in path:
        node = node.get(part, {}) if isinstance(node, dict) else {}
    names = [str(name) for name in node] if isinstance(node, dict) else []
    near = difflib.get_close_matches(last, names, n=1)
    return f"{key}: not a key;{f' did you mean {near[0]}?' if near else ''} allowed there: {', '.join(names) or 'nothing'}"
