"""Which code made a result: the one answer for checkpoints, partial results, the embedding cache, lineage,
and the tests that hold dvc.yaml to it.

A closure is a module with everything of ours that it imports, directly or not, wherever the import stands in
the file, and the libraries that these import, with their versions. A plug-in is imported by its name at run
time, which no reading of imports sees; whoever asks names it.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from winnow.config.plugins import CODE

OURS = ("models", "stages", "winnow")
# Run beside a result without shaping it: how params are read (their values are inputs of their own), what a
# stage shows, and what it costs.
BESIDE = (
    "winnow.cli",
    "winnow.config",
    "winnow.ledger",
    "winnow.pipeline",
    "winnow.plan",
    "winnow.preflight",
    "winnow.tracking",
)
# of these rooms, what does shape a result
SHAPING = ("winnow.pipeline.executors", "winnow.pipeline.dask_executor")
# Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "faiss": "faiss-cpu",
    "faster_coco_eval": "faster-coco-eval",
    "lightning_fabric": "lightning-fabric",
    "open_clip": "open-clip-torch",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True)
class Closure:
    """Module names of ours, and the names that libraries are imported by."""

    modules: frozenset[str]
    libraries: frozenset[str]

    @property
    def files(self) -> list[Path]:
        """The modules' files, relative to the folder of the packages."""
        return sorted(file.relative_to(CODE) for name in self.modules if (file := _file(name)))

    @property
    def digest(self) -> str:
        """SHA-256 over all files and the versions of the libraries, in hex."""
        told = hashlib.sha256()
        for path in self.files:
            told.update(f"{path}\0{hashlib.sha256((CODE / path).read_bytes()).hexdigest()}\n".encode())
        for name in sorted(self.libraries):
            told.update(f"{name} {_installed(name)}\n".encode())
        return told.hexdigest()


def closure(*modules: str) -> Closure:
    """Of these modules, such as `models.methods.dino`, together.

    Raises:
        ValueError: for a module that is not there.
    """
    for name in modules:
        if _file(name) is None:
            raise ValueError(f"{name}: no such module")
    found: set[str] = set()
    libraries: set[str] = set()
    waiting = [package for name in modules for package in _packages(name)]
    while waiting:
        name = waiting.pop()
        if name in found or (_beside(name) and name not in modules):
            continue
        found.add(name)
        ours, others = _imports(name)
        libraries |= others
        waiting += [package for imported in ours for package in _packages(imported)]
    return Closure(frozenset(found), frozenset(libraries))


def digest(*modules: str) -> str:
    """`closure(...).digest`."""
    return closure(*modules).digest


def _beside(name: str) -> bool:
    within = any(name == room or name.startswith(f"{room}.") for room in BESIDE)
    return within and name not in SHAPING and name not in {p for s in SHAPING for p in _packages(s)[:-1]}


@cache
def _imports(name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Modules of ours, and top-level names of libraries, that a module's import statements name."""
    path = _file(name)
    assert path is not None
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for imported in _named(node):
            top = imported.split(".")[0]
            if top in OURS:
                ours |= {imported} if _file(imported) else {imported.rpartition(".")[0]}
            elif top not in sys.stdlib_module_names:
                others.add(top)
    return frozenset(one for one in ours if _file(one)), frozenset(others)


def _named(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _packages(name: str) -> list[str]:
    """The module and the packages around it, which an import runs too."""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@cache
def _file(name: str) -> Path | None:
    base = CODE.joinpath(*name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


@cache
def _installed(name: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:  # an optional library; its absence is as good as a version
        return "-"
