"""What is wrong with a pool, a version or a source, before anything runs; nothing is written.

a pool         a folder with index.parquet and shards/: check_pool.py
a version      a folder with uids.npy: check_version.py
a source       anything else: detect.py finds out which, check_source.py reads it
"""

from pathlib import Path

from winnow.config.derive import roles
from winnow.config.detect import detect
from winnow.config.errors import naming
from winnow.config.load import load
from winnow.lint.check_pool import check_pool
from winnow.lint.check_source import check_source
from winnow.lint.check_version import check_version
from winnow.lint.report import Report


def lint_all(path: str, full: bool = False) -> list[Report]:
    """Check what lies at a path or URL, or every dataset of a params.yaml.

    Raises:
        ValueError: as `lint`.
    """
    if Path(path).suffix not in (".yaml", ".yml"):
        return [lint(path, full)]
    reports = []
    for name, (role, dataset) in roles(load(Path(path).expanduser())).items():
        if dataset.source:
            with naming(f"datasets.{role}.{name}"):
                reports.append(check_source(f"{path}: datasets.{role}.{name}", dataset, full))
    return reports


def lint(path: str, full: bool = False) -> Report:
    """Check what lies at a path or URL.

    Args:
        full: decode every image, and compare its bytes with its uid.

    Raises:
        ValueError: when it is of no known kind, or cannot be read at all.
    """
    folder = Path(path).expanduser()
    if (folder / "uids.npy").is_file():
        return check_version(folder)
    if (folder / "index.parquet").is_file() or (folder / "shards").is_dir():
        return check_pool(folder, full)
    return check_source(path, detect(path), full)
