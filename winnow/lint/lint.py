"""What is wrong with a pool, a version or a source, before anything runs; nothing is written.

a pool         a folder with index.parquet and shards/: check_pool.py
a version      a folder with uids.npy: check_version.py
an experiment  a params.yaml: its data set as a source, and what the experiment misses in it: experiment.py
a source       anything else: detect.py finds out which, check_source.py reads it
"""

from collections.abc import Iterator
from pathlib import Path

from winnow.config.derive import roles
from winnow.config.detect import detect
from winnow.config.errors import naming
from winnow.config.load import load
from winnow.config.proposals import propose
from winnow.lint.check_pool import check_pool
from winnow.lint.check_source import check_source
from winnow.lint.check_version import check_version
from winnow.lint.contents import Contents
from winnow.lint.experiment import missing, remarks
from winnow.lint.report import Report

TRUSTED = 0.4  # as in conf/dataset of a source of one's own


def lint_all(path: str, full: bool = False) -> list[Report]:
    """Check what lies at a path or URL; of a params.yaml every dataset, and what its experiment will miss.

    Raises:
        ValueError: as `lint`.
    """
    if Path(path).suffix not in (".yaml", ".yml"):
        return [lint(path, full)]
    params, reports = load(Path(path).expanduser()), []
    contents: dict[str, Contents] = {}
    for name, (role, dataset) in roles(params).items():
        if dataset.source:
            contents[name] = Contents()
            with naming(f"datasets.{role}.{name}"):
                shown = f"{path}: datasets.{role}.{name}"
                reports.append(check_source(shown, dataset, full, contents[name]))
    experiment = Report(f"{path}: the experiment")
    experiment.missing += missing(params, contents)
    experiment.notes += remarks(params, contents)
    return [*reports, experiment]


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
    contents = Contents()
    report = check_source(path, detect(path), full, contents)
    report.notes += _proposed(contents)
    return report


def _proposed(contents: Contents) -> Iterator[str]:
    """Settings that fit a source, where its pictures were looked at."""
    train, test = contents.train.count, contents.test.count
    if contents.sides and train:
        try:
            yield propose(contents.sides, train, int(TRUSTED * train), test).notice
        except ValueError as error:
            yield str(error)
