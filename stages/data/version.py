"""A version on disk: which examples of a pool it holds, why not the others, where it comes from, and all of it for machines.

    uids.npy           sorted uids in DataComp's subset format; its SHA-256 is the version's digest
    reasons.parquet    a row for each row of the pool: key, uid, keep, reason (None where it is kept)
    lineage.json       source, pool, parent, model, seed, and the steps in order with parameters, code hash and what they dropped
    croissant.json     the same as Croissant metadata, with its provenance in PROV-O

No file holds a time, an energy, a user or a path of a machine, so the same pool and parameters give the same bytes anywhere (parquet
under the same pyarrow). What a version cost, who asked for it and when is in the `cost.json` of the stage that made it.
"""

import ast
import hashlib
import importlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import croissant
from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT, Dataset, plugin_config

REASONS = pa.schema({"key": pa.string(), "uid": pa.string(), "keep": pa.bool_(), "reason": pa.string()})


@dataclass(frozen=True)
class Version:
    """A version opened for reading; `lineage` is empty where a folder holds nothing but uids, as a subset made elsewhere does."""

    folder: Path
    uids: list[str]
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.lineage.get("name", self.folder.resolve().name))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of uids.npy, in hex."""
        return sha256(self.folder / "uids.npy")

    @cached_property
    def reasons(self) -> pa.Table:
        """The table of `REASONS`; without rows where the folder has none."""
        path = self.folder / "reasons.parquet"
        return pq.ParquetFile(path).read() if path.is_file() else REASONS.empty_table()


def load(folder: Path | str) -> Version:
    """Open the version in a folder.

    Raises:
        ValueError: when it holds none, or its lineage is no JSON.
    """
    folder = Path(folder)
    try:
        uids = uid_files.load(folder / "uids.npy")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no version there ({type(error).__name__}); give a folder with uids.npy, or its name") from None
    path = folder / "lineage.json"
    try:
        return Version(folder, uids, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); make the version again") from None


def write(folder: Path, name: str, pool: Pool, keep: np.ndarray, reason: np.ndarray, lineage: Mapping[str, Any]) -> None:
    """Write a version's four files into a folder, made if it is not there.

    Args:
        keep: (rows,) bool, the rows of the pool that the version holds.
        reason: (rows,) object, why a row is not held; read only where `keep` is false.
        lineage: `source`, `parent`, `seed`, `model` and `steps`, each as `lineage.json` shall have it. Name, digest, counts, pool
            and the version of Winnow are added here.

    Raises:
        ValueError: if nothing is kept.
    """
    if not keep.any():
        raise ValueError(f"version {name}: nothing is left; loosen its filters or give more data")
    folder.mkdir(parents=True, exist_ok=True)
    uids = sorted(set(pool.table["uid"].filter(pa.array(keep)).to_pylist()))
    uid_files.save(folder / "uids.npy", uids)
    why = pa.array([None if kept else text for kept, text in zip(keep.tolist(), reason.tolist(), strict=True)], pa.string())
    table = pa.table([pool.table["key"], pool.table["uid"], pa.array(keep), why], REASONS)
    pq.write_table(table, folder / "reasons.parquet", compression="zstd")
    facts = {
        "name": name,
        "digest": sha256(folder / "uids.npy"),
        "count": len(uids),
        "rows": int(keep.sum()),
        "reasons": counts(reason[~keep]),
        "pool": {"digest": sha256(pool.folder / "index.parquet"), "rows": len(pool)},
        "winnow": installed("winnow"),
        **lineage,
    }
    _write_json(folder / "lineage.json", facts)
    _write_json(folder / "croissant.json", croissant.metadata(folder, facts))


def steps(filters: Mapping[str, Any], package: str = "stages.filters", key: str = "curate.filters") -> list[dict[str, Any]]:
    """For each filter, in order, `name`, all its `parameters` (defaults filled in) and the hash of its `code`.

    Args:
        filters: filter -> its block of params.yaml, or None.
        key: the key of params.yaml that holds them, for the text of errors.

    Raises:
        ParamsError: for a block that its filter's Config does not take.
    """
    found = []
    for name, block in filters.items():
        module = importlib.import_module(f"{package}.{name}")
        given = asdict(plugin_config(module.Config, f"{key}.{name}", block))
        files = {item: sha256(Path(value)) for item, value in given.items() if isinstance(value, str) and Path(value).is_file()}
        parameters = {item: portable(item, value) for item, value in given.items()}
        step = {"name": name, "parameters": parameters, "code": code_hash(f"{package}.{name}", package)}
        found.append(step | ({"files": files} if files else {}))
    return found


def taken(step: Mapping[str, Any], rows: int, reason: Iterable[object], flops: int = 0) -> dict[str, Any]:
    """A step of `steps` after it ran: how many rows it was given, how many it dropped for what, its FLOPs.

    Args:
        reason: one for each row that it dropped.
    """
    return {**step, "rows_in": rows, "dropped": counts(reason), "flops": flops}


def counts(values: Iterable[object]) -> dict[str, int]:
    """Value -> how often it occurs, the most frequent first."""
    found = Counter(map(str, values))
    return {name: found[name] for name in sorted(found, key=lambda name: (-found[name], name))}


def code_hash(module: str, package: str = "stages.filters") -> str:
    """SHA-256 over the source of a module and of all that it imports from a package, such as the filters' underscore helpers."""
    waiting, sources = [module], dict[str, str]()
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name not in sources and path.is_file():
            sources[name] = path.read_text(encoding="utf-8")
            waiting += _imports(sources[name], package)
    joined = "".join(f"{name}\0{text}\0" for name, text in sorted(sources.items()))
    return hashlib.sha256(joined.encode()).hexdigest()


def _imports(source: str, package: str) -> list[str]:
    """Names that may be modules of the package, as the source's import statements have them."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name for name in names if name.startswith(package + ".")]


def source(dataset: Dataset) -> dict[str, Any]:
    """What of `dataset` says which data it is, on any machine: of a path its last part, of a URL all but name, password and query."""
    found = asdict(dataset)
    found["options"] = {key: value for key, value in found["options"].items() if key != "storage"}  # keys and tokens of a server
    return {key: portable(key, value) for key, value in found.items()}


def portable(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: portable(name, part) for name, part in value.items()}
    if not isinstance(value, str):
        return value
    if "://" in value:
        url = urlsplit(value)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    return PurePath(value).name if key == "path" or PurePath(value).is_absolute() else value


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    """Keys in their own order, because that of steps and parameters has a meaning."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
