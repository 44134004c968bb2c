"""What selection adds to the time of a step: wall-clock over uniform's, with 640 candidates for 128.

    python -m benchmarks.overhead

Each round runs some steps of uniform sampling and of every policy, one after the other, and gives each
policy's ratio to uniform in that round; the table holds the median of the rounds and their range. The ratio
of FLOPs beside it is what the time would be if every FLOP took as long. Pictures are decoded before the clock
starts. One thread, so that other work on the machine's other cores shows little, and on all policies alike.
"""

import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from benchmarks.selection import Bench
from benchmarks.selection_settings import CAPTIONS, EASY, PROXY, SMALL, Setting, jest, learnability
from models.methods import Objective
from winnow.config.schema import Policy
from winnow.selection.cost import step_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.reference import Reference
from winnow.selection.scorers import Proxy
from winnow.selection.selector import Selector
from winnow.training.build import build
from winnow.training.loop import Loop

HERE = Path(__file__).resolve().parent
STEPS, ROUNDS, THREADS = 6, 3, 1
LARGER = ["experiment=curation_policies", "+backbone@backbones.resnet18=resnet18"]

LABELS = {
    "uniform": UNIFORM,
    "easy, frozen": EASY,
    "learnability, finished pair": learnability(filter_ratio=0.8, scorer="frozen"),
    "learnability, proxy": learnability(filter_ratio=0.8, **PROXY),
    "learnability at 8 px": learnability(filter_ratio=0.8, resolution=8),
    "learnability at 16 px": learnability(filter_ratio=0.8, resolution=16),
    "learnability": learnability(filter_ratio=0.8),
}
LARGE = {name: policy for name, policy in LABELS.items() if name != "learnability at 8 px"}
PAIRS = {
    "uniform": UNIFORM,
    "easy, frozen": EASY,
    "jest, proxy": jest(**PROXY),
    "jest at 16 px": jest(resolution=16),
    "jest": jest(),
}
SMALLER = Setting(["experiment=curation_policies"], "supervised", 0, {})
CASES: dict[str, tuple[str, Setting, dict[str, Policy]]] = {
    "supervised, resnet10t at 28 px": ("labels", SMALLER, LABELS),
    "supervised, resnet18 at 64 px": ("labels", Setting(LARGER, "supervised", 0, {}, "resnet18"), LARGE),
    "SigLIP, resnet10t at 28 px": ("captions", Setting(CAPTIONS, "siglip", 0, {}), PAIRS),
}


def seconds_a_step(loop: Loop) -> float:
    stamps: list[float] = []
    loop.run(lambda _: stamps.append(time.perf_counter()))
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def small_learner(bench: Bench) -> Objective:
    return build(bench.params, bench.method, SMALL, bench.data.classes, 1)


def ratios(name: str) -> dict[str, dict[str, float]]:
    pool, setting, policies = CASES[name]
    bench = Bench(pool, 0, setting, THREADS)
    small = small_learner(bench)
    shape = len(bench.data), int(bench.recipe.settings.get("embed", 0))
    sides = (torch.randn(shape), torch.randn(shape)) if small.PAIR else None
    # The cost of a reference's losses does not depend on their values, so none is trained here.
    reference = Reference(torch.randn(len(bench.data)), sides, small.eval(), torch.randn(len(bench.data)))
    seconds: dict[str, list[float]] = {policy: [] for policy in policies}
    flops = {}
    for _ in range(ROUNDS):
        for arm, policy in policies.items():
            objective = build(bench.params, bench.method, setting.learner, bench.data.classes, 0)
            proxy = small_learner(bench) if policy.proxy else None
            flops[arm] = step_flops(objective, bench.recipe, policy, bench.data, proxy, reference).total
            scorer = Proxy(bench.fabric, proxy, bench.recipe, STEPS) if proxy else None
            selector = Selector(policy, bench.recipe, bench.data, reference, 0, scorer)
            for step in range(STEPS):
                bench.data.pixels.get(selector.indices(step))
            loop = Loop(bench.fabric, objective, bench.data, bench.recipe, selector, STEPS, 0)
            seconds[arm].append(seconds_a_step(loop))
        print(
            f"  {name}:", ", ".join(f"{arm} {times[-1]:.3f} s" for arm, times in seconds.items()), flush=True
        )
    found = {}
    for arm, times in seconds.items():
        rounds = [time_ / base for time_, base in zip(times, seconds["uniform"], strict=True)]
        found[arm] = {
            "median": statistics.median(rounds),
            "least": min(rounds),
            "most": max(rounds),
            "flops": flops[arm] / flops["uniform"],
        }
    return found


def main() -> None:
    words = sys.argv[1:] or [""]
    found = {name: ratios(name) for name in CASES if any(word in name for word in words)}
    (HERE / "overhead.json").write_text(json.dumps(found, indent=1) + "\n")
    lines = [
        "| learner | policy, ratio 0.8 | time of a step over uniform's (range) | FLOPs over uniform's |",
        "|---|---|---|---|",
    ]
    for name, arms in found.items():
        for arm, value in arms.items():
            times = f"{value['median']:.2f} ({value['least']:.2f} to {value['most']:.2f})"
            lines.append(f"| {name} | {arm} | {times} | {value['flops']:.2f} |")
    machine = f"{platform.processor() or platform.machine()}, {THREADS} thread, torch {torch.__version__}"
    rounds = f"{ROUNDS} interleaved rounds of {STEPS} steps of batch 128, the first step of each left out"
    notes = f"{rounds}; {machine}"
    command = " ".join(["python -m benchmarks.overhead", *(f'"{word}"' for word in sys.argv[1:])])
    page = f"# Time of a step with selection\n\n`{command}`: {notes}.\n\n" + "\n".join(lines) + "\n"
    (HERE / "overhead.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
