"""The settings of the leak guard."""

from dataclasses import dataclass

from winnow.config.bounds import bounded, one_of

METHODS = {
    "aligned": "low frequencies of windows propose pairs; registered thumbnails of 32 px decide",
    "off": "only identical bytes are kept apart",
}


@dataclass
class Config:
    """How pairs of the same shot are found.

    The defaults are for photographs of 32 px and more. `benchmarks/leaks.md` says what each threshold finds.
    """

    method: str = one_of(*METHODS)
    threshold: float = bounded(
        0.5, above=0, high=1
    )  # least correlation of the details of registered pictures
    similarity: float = bounded(0.4, 0, 1)  # least correlation of the low frequencies of a candidate
    candidates: int = bounded(64, 1)  # for each held-out picture, of 50,000 others; more of more
    overlap: float = bounded(0.35, above=0, high=1)  # least part of the picture that both show
    detail: float = bounded(1.0, 0)  # least standard deviation of both pictures' details, in grey levels
    mirrored: bool = True  # compare with the mirror image too
