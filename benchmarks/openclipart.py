"""What versions of one pool gain at equal FLOPs: real drawings, of which stars and icons are half, through
the real pipeline.

    python -m benchmarks.openclipart SEED [SEED ...]     run the experiment `dataset_versions` once a seed
    python -m benchmarks.openclipart table               print and write openclipart.md from what is there

Data: the Debian package openclipart-png (public domain), 8,121 files, of which 1,221 are links to others;
classes are its 22 top folders. Raw is everything that opens; the other versions are those of
conf/experiment/dataset_versions.yaml. All arms: SimCLR on timm's test_byobnet at 32 px, the same FLOPs, in
which each pays for its version. Balance is that of the second-level folders (computer/icons, shapes/stars,
...), which no filter sees: `effective` is exp(entropy) of their shares, as many as if all were alike.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.versions import version

RESULTS = Path(__file__).with_suffix(".json")
VERSIONS = ("pool", "deduplicated", "balanced", "retrieved")
COMPOSE = (
    "dataset=folder",
    "experiment=dataset_versions",
    "dataset.trusted=0.4",
    "~curate.filters.blank",
    "~curate.filters.exact_duplicate",
    "~curate.filters.near_duplicate",
    "dataset.splits={reference: 800, probe: 1000, val: 200, test: 600}",
    "pretrain.budget=2e12",
    "reference.examples=20000",
    "backbones.test_byobnet.image_size=32",
    "run.threads=1",
    *(f"arms.{arm}.backbone=test_byobnet" for arm in ("raw", "deduplicated", "balanced", "retrieved")),
)


def download(workspace: Workspace) -> Path:
    """The folder of drawings; fetched from the Debian archive that apt knows, once."""
    folder = workspace.downloads / "openclipart"
    drawings = folder / "usr/share/openclipart/png"
    if not drawings.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "openclipart-png"], cwd=folder, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)
    return drawings


def run(seed: int, workspace: Workspace) -> dict[str, Any]:
    """One seed in a copy of the project: what each version holds, and what its arm reached."""
    drawings = download(workspace)
    with tempfile.TemporaryDirectory() as folder:
        project = copied(workspace, Path(folder) / "project")
        compose = ["winnow.cli.main", "compose", *COMPOSE, f"dataset.path={drawings}", f"seed={seed}"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # dvc.yaml's commands say python
        for command in (compose, ["dvc", "repro", "linear_probe"]):
            env = {**os.environ, "PATH": path, "WINNOW_TRACKING": "off"}
            subprocess.run([sys.executable, "-m", *command], cwd=project.root, check=True, env=env)
        return {name: measured(project, name) for name in VERSIONS}


def copied(workspace: Workspace, root: Path) -> Workspace:
    """A workspace of the same files, those that git ignores and dvc.lock aside."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=workspace.root, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (workspace.root / name).is_file() and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(workspace.root / name, root / name)
    (root / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    return Workspace(root)


def measured(project: Workspace, name: str) -> dict[str, Any]:
    """A version's size and balance, and its arm's results."""
    arm = "raw" if name == "pool" else name
    sources = pq.read_table(project.pool / "sources.parquet")
    pairs = zip(sources["uid"].to_pylist(), sources["source"].to_pylist(), strict=True)
    folder = {uid: "/".join(key.split("/")[:2]) for uid, key in pairs}
    opened = version.load(project.version(name))
    _, counts = np.unique([folder[uid] for uid in opened.uids], return_counts=True)
    share = counts / counts.sum()
    pretrain = read_json(project.arm(arm) / "metrics.json")
    probe = read_json(project.task("linear_probe", arm) / "metrics.json")
    return {
        "rows": pc.sum(opened.reasons["keep"]).as_py(),
        "images": len(opened.uids),
        "folders": len(counts),
        "effective": float(np.exp(-(share * np.log(share)).sum())),
        "largest two": float(np.sort(share)[-2:].sum()),
        "flops": pretrain["flops"],
        "steps": pretrain["steps"],
        **{key: probe[key] for key in ("top1", "class_mean_top1")},
    }


def table(results: dict[str, Any]) -> str:
    """One row a version; means over the seeds, with the range."""
    lines = [
        "| version | rows | images | folders | effective | largest two | curation | steps | linear top-1 | "
        "mean of classes |",
        "|---|" + "---:|" * 9,
    ]
    for name in VERSIONS:
        runs = [seed[name] for seed in results["seeds"].values()]
        mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key != "flops"}
        curated = 100 * float(np.mean([run["flops"]["curate"] / run["flops"]["total"] for run in runs]))
        cells = [name, *(f"{mean[key]:.0f}" for key in ("rows", "images", "folders"))]
        cells += [f"{mean['effective']:.1f}", f"{100 * mean['largest two']:.0f} %"]
        cells += [f"{curated:.1f} % of FLOPs", f"{mean['steps']:.0f}"]
        lines.append(f"| {' | '.join([*cells, spread(runs, 'top1'), spread(runs, 'class_mean_top1')])} |")
    return "\n".join(lines) + "\n"


def spread(runs: list[dict[str, Any]], key: str) -> str:
    values = [100 * run[key] for run in runs]
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main(arguments: list[str]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"machine": machine(), "seeds": {}}
    for seed in arguments if arguments != ["table"] else []:
        results["seeds"][seed] = run(int(seed), Workspace.find())
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    text = table(results)
    seeds = f"Seeds: {', '.join(results['seeds'])}. {results['machine']}"
    page = f"# Versions of one pool at equal FLOPs: openclipart\n\n{seeds}\n\n{text}"
    RESULTS.with_suffix(".md").write_text(page)
    print(text)


def machine() -> str:
    python = f"Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {platform.machine()}, {python}, one thread a run"


if __name__ == "__main__":
    main(sys.argv[1:])
