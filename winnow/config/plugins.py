"""Plug-ins: files of a package whose name is their key in params.yaml, each with a `Config` dataclass of its
own.

Found by the presence of their file, so that a check of names imports nothing.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import Any

CODE = Path(__file__).resolve().parents[2]  # the folder that holds the packages winnow, models and stages


def plugins(package: str) -> list[str]:
    """The plug-ins of a package, such as `models.criteria`: its module names, sorted."""
    folder = CODE.joinpath(*package.split("."))
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


@cache
def declared(package: str, name: str, constant: str) -> frozenset[str]:
    """The strings in a constant of a plug-in or of its class, such as `NEEDS`, read without importing it;
    empty where it has none.
    """
    path = CODE.joinpath(*package.split("."), f"{name}.py")
    if not path.is_file():
        return frozenset()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if constant in [target.id for target in targets if isinstance(target, ast.Name)]:
            return frozenset(
                item.value
                for item in ast.walk(node)
                if isinstance(item, ast.Constant) and isinstance(item.value, str)
            )
    return frozenset()


def load_plugin(package: str, name: str) -> Any:
    """Import a plug-in."""
    return importlib.import_module(f"{package}.{name}")
