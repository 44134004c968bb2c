"""How long a stage takes to start, against its libraries alone; and a `dvc repro` with nothing to do.

    python -m benchmarks.startup            (on a repository where `dvc repro` has nothing to do)

Runs are interleaved, medians of `REPEATS`. Writes benchmarks/startup.md.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 1
HERE = Path(__file__).resolve().parent
LIMIT = "import torch, timm, lightning_fabric"
START = "import stages.{}; from winnow.config.load import load; load('params.yaml')"
STAGES = (
    "ingest",
    "curate",
    "reference",
    "pretrain",
    "linear_probe",
    "semi_supervised",
    "detection",
    "compare",
)
CASES = {
    "the libraries alone: torch, timm, lightning-fabric": [sys.executable, "-c", LIMIT],
    **{f"stages.{name}": [sys.executable, "-c", START.format(name)] for name in STAGES},
    "winnow --help": [sys.executable, "-m", "winnow.cli.main", "--help"],
    "dvc --version": [sys.executable, "-m", "dvc", "--version"],
    "dvc repro, nothing to do": [sys.executable, "-m", "dvc", "repro"],
}


def seconds(command: list[str]) -> float:
    """Wall clock of one process."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-300:]}")
    if command[-1] == "repro" and "Running stage" in done.stdout:
        sys.exit("dvc repro had something to do; run it first, then this")
    return time.perf_counter() - start


def main() -> None:
    for command in CASES.values():
        seconds(command)  # warm the page cache
    taken: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(REPEATS):
        for name, command in CASES.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    limit = next(iter(medians.values()))
    lines = [
        "# Start-up",
        "",
        f"`python -m benchmarks.startup`, {REPEATS} interleaved runs each (medians); {cpu()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, byte code compiled.",
        "",
        "| process | seconds | of the libraries alone |",
        "|---|---:|---:|",
        *(f"| {name} | {value:.2f} | {value / limit:.2f} |" for name, value in medians.items()),
    ]
    text = "\n".join(lines) + "\n"
    (HERE / "startup.md").write_text(text)
    print(text)


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
