"""Time and memory of samplers.joint at B = 8,192, against recomputing scores from the whole matrix.

    python -m benchmarks.joint_sampler      (one core; another B as an argument prints, and writes nothing)

Runs are interleaved, medians of `REPEATS`; memory is the high-water mark of a fresh process less what it used
before the call. Writes benchmarks/joint_sampler.md.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.startup import cpu
from models import samplers

REPEATS = 7
HERE = Path(__file__).resolve().parent
CANDIDATES, RATIO = 8192, 0.8  # the filtering ratio of the paper: one in five is kept
LIMIT_SECONDS, LIMIT_MB = 0.5, 300


def naive(scores, k, chunks, generator):
    """The draws of `joint`, by multiplying, per chunk, the whole matrix by the chosen."""
    chosen = torch.zeros(len(scores))
    for chunk in range(chunks):
        gain = scores.diagonal()
        if chunk:
            gain = gain + scores @ chosen + chosen @ scores
        noise = -torch.log(-torch.log(torch.rand(len(scores), generator=generator, dtype=torch.float64)))
        chosen[(gain + noise).masked_fill(chosen > 0, -torch.inf).topk(k // chunks).indices] = 1
    return chosen.nonzero().flatten()


FORMS = {
    "joint": lambda pair, *rest: samplers.joint(pair[0], *rest),
    "naive": lambda pair, *rest: naive(pair[0], *rest),
    "joint_softmax": lambda pair, *rest: samplers.joint_softmax(*pair, *rest),
}


def cases(count):
    """(form, k, chunks): k is the nearest multiple of chunks at or below a fifth of B."""
    sub_batch = round(count * (1 - RATIO))
    sizes = [(sub_batch - sub_batch % chunks, chunks) for chunks in (14, 16)]
    return [(form, k, chunks) for k, chunks in sizes for form in FORMS]


def matrices(count):
    """(2, B, B), filled in place, so that no peak of making them hides one of the call."""
    return torch.empty(2, count, count).normal_(generator=torch.Generator().manual_seed(0))


def memory(field):
    """VmRSS or VmHWM of this process in MB; not ru_maxrss, which a process inherits from its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1e3 * 1.024


def extra_memory(form, k, chunks, count):
    """MB above what was used before the call: an upper bound, as memory that start-up freed counts too."""
    FORMS[form](matrices(256), 48, 16, torch.Generator())  # loads what a first call loads
    pair = matrices(count)
    before = memory("VmRSS")
    FORMS[form](pair, k, chunks, torch.Generator())
    return memory("VmHWM") - before


def in_fresh_process(*case):
    command = [sys.executable, "-m", "benchmarks.joint_sampler", "memory", *map(str, case)]
    return float(subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=True).stdout)


def seconds(pair, form, k, chunks):
    start = time.perf_counter()
    picked = FORMS[form](pair, k, chunks, torch.Generator().manual_seed(1))
    return time.perf_counter() - start, picked


def table(count):
    extra = {case: in_fresh_process(*case, count) for case in cases(count)}
    pair = matrices(count)
    taken = {case: [] for case in cases(count)}
    picks = {}
    for repeat in range(REPEATS + 1):
        for case, times in taken.items():
            wall, picks[case] = seconds(pair, *case)
            if repeat:  # the first round warms up
                times.append(wall)
    for (form, k, chunks), times in taken.items():
        peer, wall = statistics.median(taken["naive", k, chunks]), statistics.median(times)
        same = len(set(picks[form, k, chunks].tolist()) & set(picks["naive", k, chunks].tolist()))
        speed, same = (f"{peer / wall:.1f}", f"{same} of {k}") if form == "joint" else ("-", "-")
        spread = f"{min(times):.3f}-{max(times):.3f}"
        cells = (form, k, chunks, f"{wall:.3f}", spread, f"{extra[form, k, chunks]:.0f}", speed, same)
        yield f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["memory"]:
        form, *numbers = sys.argv[2:]
        print(extra_memory(form, *map(int, numbers)))
        return
    count = int(sys.argv[1]) if sys.argv[1:] else CANDIDATES
    titles = ("sampler", "k", "chunks", "seconds", "from-to", "extra MB")
    lines = [
        f"# samplers.joint at B = {count:,}",
        "",
        f"`python -m benchmarks.joint_sampler`, medians of {REPEATS} interleaved runs on one core; {cpu()}, "
        f"{os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}.",
        f"Limits: {LIMIT_SECONDS} s and {LIMIT_MB} MB beyond the matrix of scores "
        f"({count**2 * 4 / 1e6:.0f} MB, float32). k is a fifth of B, less what does not fill the chunks.",
        "`naive` multiplies the whole matrix by the chosen in every chunk, in float32 and without the check "
        "for NaN that the times of the others include; `joint_softmax` (learnability) reads two matrices.",
        "",
        f"| {' | '.join(titles)} | times as fast as naive | picks that naive shares |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *table(count),
    ]
    text = "\n".join(lines) + "\n"
    if count == CANDIDATES:
        (HERE / "joint_sampler.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
