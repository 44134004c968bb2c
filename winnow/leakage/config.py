"""The settings of the leak guard."""

from dataclasses import dataclass

from winnow.config.bounds import bounded, one_of

METHODS = {
    "aligned": "windows of low frequencies propose pairs, registered thumbnails of 32 px decide",
    "off": "only identical files are kept apart",
}


@dataclass
class Config:
    """How pairs of the same shot are found. The defaults are for photographs of 32 px and more;
    `benchmarks/leaks.md` says what they find.

    `threshold` is the least score of a leak (`winnow/leakage/aligned.py`). Where `crowd` is set, a leak must
    also stand out: from pictures that are merely alike (`winnow/leakage/crowd.py`) and from the mirror images
    of the two (`winnow/leakage/symmetry.py`). Each held-out picture has `candidates` of up to 50,000 others,
    and more of more, whose low frequencies correlate at least by `similarity`. Both must show `overlap` of
    the picture, and there have details of a standard deviation of `detail` grey levels.
    """

    method: str = one_of(*METHODS)
    threshold: float = bounded(0.52, above=0, below=1)
    crowd: bool = True
    candidates: int = bounded(64, 8)
    similarity: float = bounded(0.4, 0, 1)
    overlap: float = bounded(0.35, above=0, high=1)
    detail: float = bounded(1.0, 0)
    mirrored: bool = True
