"""The settings of benchmarks/selection.py: pools, methods, and the policies that are run on them."""

from dataclasses import dataclass

from winnow.config.schema import Backbone, Policy
from winnow.selection.policy import UNIFORM

SIMCLR = "+method@methods.simclr=simclr"
SMALL = Backbone("test_byobnet")
JUNK = [
    f"dataset.corruption.{kind}={part}"
    for kind, part in (("noise", 0.35), ("permuted", 0.35), ("wrong_label", 0), ("blank", 0))
]
ALONE = ["dataset.corruption.exact_duplicate=0", "dataset.corruption.near_duplicate=0"]
COPIES = [f"dataset.corruption.{kind}=0" for kind in ("noise", "permuted", "wrong_label", "blank")]
COPIES += ["dataset.corruption.exact_duplicate=0", "dataset.corruption.near_duplicate=1"]
CAPTIONS = ["dataset=emoji", "experiment=captions", "methods.siglip.lr=0.002"]
VIT = ["+backbone@backbones.test_vit=test_vit", "reference.backbone=test_vit"]


def learnability(**settings: object) -> Policy:
    return Policy(criterion="learnability", **settings)  # type: ignore[arg-type]


def jest(**settings: object) -> Policy:
    return learnability(filter_ratio=0.8, sampler="joint", **settings)


PROXY = {"scorer": "proxy", "proxy": SMALL}
EASY = Policy(criterion="easy", filter_ratio=0.8, scorer="frozen")
Arms = dict[str, tuple[Policy, tuple[float, ...]]]  # name -> (policy, the fractions of N that it is run for)


@dataclass
class Setting:
    overrides: list[str]
    method: str
    steps: int  # N
    arms: Arms
    learner: str = "resnet10t"
    tested: int = 2000
    reads: str = "knn"  # or classifier: the method's own; or recall: the mean of both recalls at 1
    shares: tuple[str, ...] = ("corruption",)  # columns of the table: shares of what was trained on


def junk(method: str, ratios: tuple[float, ...], *added: str) -> Setting:
    arms: Arms = {"uniform": (UNIFORM, (1 / 2, 1.0, 2.0)), "easy 0.8": (EASY, (1 / 2,))}
    arms |= {f"learnability {ratio}": (learnability(filter_ratio=ratio), (1 / 2,)) for ratio in ratios}
    overrides = ["experiment=curation_policies", *added, "dataset.limit=30000", *JUNK, *ALONE]
    return Setting(overrides, method, 120, arms, shares=("noise", "permuted"))


SETTINGS = {
    "labels": Setting(
        ["experiment=curation_policies"],
        "supervised",
        360,
        {
            "uniform": (UNIFORM, (1 / 4, 1 / 2, 1.0)),
            "hard 0.5": (Policy(criterion="hard", filter_ratio=0.5), (1 / 3,)),
            "easy 0.8": (EASY, (1 / 3,)),
            "learnability 0.5": (learnability(filter_ratio=0.5), (1 / 4, 1 / 3, 1 / 2)),
            "learnability 0.5 at 16 px": (
                learnability(filter_ratio=0.5, resolution=16),
                (1 / 5, 1 / 4, 1 / 3, 1 / 2),
            ),
            "learnability 0.8 at 16 px": (learnability(filter_ratio=0.8, resolution=16), (1 / 6, 1 / 4)),
            "rho 0.8": (Policy(criterion="rho", filter_ratio=0.8), (1 / 6, 1 / 4)),
            "classact 0.8": (learnability(filter_ratio=0.8, **PROXY), (1 / 3, 1 / 2)),
        },
        tested=4000,
        reads="classifier",
    ),
    "captions": Setting(
        CAPTIONS,
        "siglip",
        1200,
        {
            "uniform": (UNIFORM, (1 / 4, 1 / 2, 1.0)),
            "easy 0.8": (EASY, (1 / 6,)),
            "learnability 0.8, proxy": (learnability(filter_ratio=0.8, **PROXY), (1 / 6,)),
            "jest 0.8": (jest(), (1 / 8,)),
            "jest 0.8, proxy": (jest(**PROXY), (1 / 12, 1 / 8, 1 / 6)),
            "jest 0.8, proxy, online reference": (jest(online=SMALL, **PROXY), (1 / 6,)),
        },
        tested=500,
        reads="recall",
    ),
    "patches": Setting(
        [*CAPTIONS, *VIT],
        "siglip",
        600,
        {
            "uniform": (UNIFORM, (1 / 2, 1.0)),
            "jest 0.8": (jest(), (1 / 4,)),
            "flexi_jest 0.8": (jest(patch_size=8, multi_resolution=True), (1 / 4, 1 / 2)),
        },
        learner="test_vit",
        tested=500,
        reads="recall",
    ),
    "simclr": junk("simclr", (0.8,), SIMCLR),
    "dino": junk("dino", (0.8, 0.9), "+method@methods.dino=dino"),
    "copies": Setting(
        ["experiment=curation_policies", SIMCLR, "dataset.limit=30000", *COPIES],
        "simclr",
        120,
        {
            "uniform": (UNIFORM, (1 / 2, 1.0, 2.0)),
            "learnability 0.8": (learnability(filter_ratio=0.8), (1 / 2,)),
            "jest 0.8": (jest(), (1 / 2,)),
        },
        shares=("copies",),
    ),
}
