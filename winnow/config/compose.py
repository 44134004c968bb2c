"""Compose conf/ into params.yaml with Hydra, as `dvc exp run -S` does, and complete and validate the result.

Everything that shapes a result stands in params.yaml afterwards: defaults of the schema, those of the
plug-ins that are chosen, and what is derived (winnow/config/derive.py). Through DVC's own Hydra integration
the same is done by conf/hydra_plugins/complete.py.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from winnow.config.derive import roles
from winnow.config.errors import ParamsError
from winnow.config.fit import fit, open_sizes
from winnow.config.laboratory import datasets_of
from winnow.config.load import HOOK, parse
from winnow.config.overrides import to_hydra
from winnow.config.parse import plugin_config
from winnow.config.paths import check_path
from winnow.config.plugins import load_plugin
from winnow.config.shorthands import expand

HEADER = """\
# Written by `winnow compose` from conf/, where each key is explained; `dvc repro` reads this file and nothing
# else. To change it, edit conf/ and run `winnow compose`, or edit it here: a test says when the two have
# drifted apart.
"""


def composed(overrides: list[str], conf: Path) -> dict[str, Any]:
    """Compose, complete and validate; returns plain data.

    Args:
        overrides: such as `scale=debug` or `pretrain.budget=2e12`: winnow/config/overrides.py.
        conf: the folder of Hydra groups.

    Raises:
        ParamsError: one line with the key, the value and what is allowed.
    """
    raw = _compose(translated(overrides, conf), conf)
    return complete(raw)


def translated(overrides: list[str], conf: Path) -> list[str]:
    """The overrides of `winnow compose` as Hydra's own, which `dvc exp run -S` takes.

    Raises:
        ParamsError: of one line.
    """
    # Unresolved: a value that an interpolation needs may be one of those that are not set yet.
    return to_hydra(overrides, conf, lambda some: _compose(some, conf, resolve=False))


def write(overrides: list[str], conf: Path, path: Path) -> dict[str, Any]:
    """Compose, validate, and replace `path` in one step; returns what it holds now."""
    found = composed(overrides, conf)
    text = HEADER + yaml.safe_dump(found, sort_keys=False, default_flow_style=None, width=110)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return found


def complete(raw: dict[str, Any]) -> dict[str, Any]:
    """The same as plain data with every default filled in, plug-ins' own included, and with the derived keys.

    Raises:
        ParamsError: of one line; also for a data set whose path does not exist.
    """
    whole, open_ones = open_sizes(datasets_of(expand({key: v for key, v in raw.items() if key != HOOK})))
    params = parse(whole)
    for name, (role, one) in roles(params).items():
        check_path(f"datasets.{role}.{name}", one)
    fit(params, open_ones)
    plain = dataclasses.asdict(params)
    for name, method in params.methods.items():
        plain["methods"][name]["settings"] = _settings(
            "models.methods", name, f"methods.{name}.settings", method.settings
        )
    plain["curate"]["guard"] = _settings("winnow.leakage", "config", "curate.guard", params.curate.guard)
    plain["curate"]["filters"] = _filters("curate.filters", params.curate.filters)
    for name, version in params.versions.items():
        plain["versions"][name]["filters"] = _filters(f"versions.{name}.filters", version.filters)
    for name, (role, one) in roles(params).items():
        if one.source:
            key = f"datasets.{role}.{name}.options"
            options = _settings("winnow.sources", one.source, key, one.options)
            plain["datasets"][role][name]["options"] = options
    plain["tasks"] = {
        name: _settings("stages", name, f"tasks.{name}", block) for name, block in params.tasks.items()
    }
    return plain


def _filters(key: str, filters: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _settings("winnow.filters", name, f"{key}.{name}", block) for name, block in filters.items()
    }


def _settings(package: str, name: str, key: str, block: dict[str, Any] | None) -> dict[str, Any]:
    """A plug-in's block with its own defaults."""
    module = load_plugin(package, name)
    if not hasattr(module, "Config"):
        if block:
            raise ParamsError(f"{key}: {block}, but {name} has no settings; leave them out")
        return {}
    return dataclasses.asdict(plugin_config(module.Config, key, block))


def _compose(overrides: list[str], conf: Path, resolve: bool = True) -> dict[str, Any]:
    OmegaConf.register_new_resolver("complete", lambda: True, replace=True)
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf)):
            raw = OmegaConf.to_container(hydra_compose("config", overrides=overrides), resolve=resolve)
    except (HydraException, OmegaConfBaseException) as error:
        raise ParamsError(_hydra_line(error, overrides)) from None
    except yaml.YAMLError as error:
        raise ParamsError(f"conf: not valid YAML: {' '.join(str(error).split())}") from None
    assert isinstance(raw, dict)
    return {str(key): value for key, value in raw.items()}


def _hydra_line(error: Exception, overrides: list[str]) -> str:
    """Hydra's message without its search path, after the overrides that it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = "; ".join(
        line for line in lines if "path=" not in line and not line.startswith("Config search path")
    )
    about = [one for one in overrides if re.split("[=@]", one.lstrip("+~"))[0] in text]
    return f"{' '.join(about) or 'conf'}: {text}"[:500]
