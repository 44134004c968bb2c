"""Everything that a table of results stands on, in one archive: OUT.tar.gz.

    README.md                          which code made it, and how to make it again
    params.yaml dvc.yaml dvc.lock requirements.lock
    results/compare/                   the table, its intervals, plots, report
    results/**/metrics.json, cost.json and, of arms and tasks, curve.csv, trace.parquet, outcomes.parquet
    data/versions/, data/splits/       uids, reasons, lineage

No image and no weights: images come from the sources that a version's lineage names, weights from
`winnow export-model`. The same results give the same bytes.
"""

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from winnow.config.plugins import CODE
from winnow.pipeline.files import replacing
from winnow.pipeline.workspace import Workspace

RECORDS = ("metrics.json", "cost.json", "curve.csv", "trace.parquet", "outcomes.parquet")
SUFFIX = ".tar.gz"


def export_results(workspace: Workspace, out: Path) -> int:
    """Write the archive, which must not be there yet; how many files it has.

    Raises:
        ValueError: if `out` is there or no .tar.gz, or nothing was compared.
    """
    if not out.name.endswith(SUFFIX):
        raise ValueError(f"{out}: end the name with {SUFFIX}")
    if out.exists():
        raise ValueError(f"{out}: exists already; choose another name, or remove it")
    if not (workspace.comparison / "table.json").is_file():
        raise ValueError(f"{workspace.comparison / 'table.json'}: no such file; make it with: dvc repro")
    files = dict(sorted(_files(workspace)))
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(out) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        _add(archive, "README.md", _readme().encode())
        for name, path in files.items():
            _add(archive, name, path.read_bytes())
    return len(files) + 1


def _files(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    """Name in the archive -> file."""
    for name in ("params.yaml", "dvc.yaml", "dvc.lock", "requirements.lock"):
        path = next((root / name for root in (workspace.root, CODE) if (root / name).is_file()), None)
        if path is not None:
            yield name, path
    whole = [workspace.comparison, workspace.root / "data/versions", workspace.root / "data/splits"]
    found = [path for folder in whole for path in folder.rglob("*")]
    found += [path for path in (workspace.root / "results").rglob("*") if path.name in RECORDS]
    for path in found:
        if path.is_file():
            yield path.relative_to(workspace.root).as_posix(), path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Without owner and time, so that the bytes are those of the contents alone."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _readme() -> str:
    return f"""# Results of a Winnow comparison

Code: {_commit()}. Settings: params.yaml. The table is results/compare/table.md, the report
results/compare/report.html, and every interval is in results/compare/intervals.json.

To make it again: check out the code, `make setup`, put params.yaml beside dvc.yaml, and run `dvc repro`. The
dataset versions must have the digests of data/versions/*/lineage.json; trained numbers are the same on the
same machine and libraries (requirements.lock), and differ by a point or more elsewhere.
"""


def _commit() -> str:
    """The commit of this code, and whether it was changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(CODE), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = " with changes that are not committed" if git("status", "--porcelain", "-uno") else ""
        return f"commit {git('rev-parse', 'HEAD')}{changed}"
    except (OSError, subprocess.CalledProcessError):
        return f"unknown, for {os.path.basename(CODE)}/ is no git checkout"
