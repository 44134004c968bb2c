"""Where a version comes from: its source, and the steps that made it, each with its parameters, code and
drops.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from winnow.config.datasets import Dataset, Datasets
from winnow.config.parse import plugin_config
from winnow.config.plugins import load_plugin
from winnow.filters import Step
from winnow.pipeline.code import digest
from winnow.pipeline.files import sha256
from winnow.versions.version import counts


def planned(filters: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """For each filter, in order, `name`, all its `parameters` (defaults filled in), and the hash of its
    `code`. A parameter that names a file has the file's SHA-256 in `files`.

    Args:
        filters: filter -> its block of params.yaml, or None.
        key: the key of params.yaml that holds them, for the text of errors.

    Raises:
        ParamsError: for a block that does not fit its filter's Config.
    """
    steps = []
    for name, block in filters.items():
        config = plugin_config(load_plugin("winnow.filters", name).Config, f"{key}.{name}", block)
        settings = asdict(config)
        files = {
            item: sha256(Path(value))
            for item, value in settings.items()
            if isinstance(value, str) and Path(value).is_file()
        }
        parameters = {item: portable(item, value) for item, value in settings.items()}
        step = {"name": name, "parameters": parameters, "code": digest(f"winnow.filters.{name}")}
        steps.append(step | ({"files": files} if files else {}))
    return steps


def done(step: Mapping[str, Any], rows: int, reasons: Iterable[object]) -> dict[str, Any]:
    """A planned step after it ran: how many rows it was given, and how many it dropped for what.

    Args:
        reasons: one for each row that it dropped.
    """
    return {**step, "rows_in": rows, "dropped": counts(reasons), "flops": 0}  # it runs no model of its own


def all_done(plan: Iterable[Mapping[str, Any]], ran: Iterable[Step]) -> list[dict[str, Any]]:
    """The planned filters that ran: not those after one that left nothing."""
    return [done(step, one.rows, one.dropped) for step, one in zip(plan, ran, strict=False)]


def sources(datasets: Datasets) -> dict[str, dict[str, Any]]:
    """Name -> where it comes from, of every dataset of the pool and the reference that is ingested."""
    named = {**datasets.pool, **datasets.reference}
    return {name: source(one) for name, one in named.items() if one.source}


def source(dataset: Dataset) -> dict[str, Any]:
    """A dataset's keys, in a form that is the same on any machine and holds no secret."""
    facts = asdict(dataset)
    # `storage` holds keys and tokens of a server.
    facts["options"] = {name: value for name, value in facts["options"].items() if name != "storage"}
    return {name: portable(name, value) for name, value in facts.items()}


def portable(key: str, value: Any) -> Any:
    """Of a path its last part, of a URL all but user, password and query; anything else as it is."""
    if isinstance(value, dict):
        return {name: portable(name, part) for name, part in value.items()}
    if not isinstance(value, str):
        return value
    if "://" in value:
        url = urlsplit(value)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    return PurePath(value).name if key == "path" or PurePath(value).is_absolute() else value
