"""Image size, splits and batch size that follow the data, for who has not set them.

    image_size  the largest of SIDES up to the median of the pictures' shorter sides: most pictures are then
                scaled down, not up. At least 28, at most `most`: 224 px is what published recipes are for.
    splits      of the examples that may go to reference, probe and val, a twentieth is left for what the
                filters drop; the rest is shared 4 : 5 : 1, up to CAPS. test: the source's own, up to its cap.
    batch_size  the largest power of two up to 128 that leaves STEPS steps an epoch, and whose pixels are at
                most those of 128 images of 128 px: 32 at 224 px; at least 8.

`winnow compose` could call `propose` in `complete`, before `parse`, for keys that are null: what it takes is
what one pass over a source's headers gives (winnow/lint/contents.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

SIDES = (28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384)  # pixels
MOST_SIDE = 224
SHARES = {"reference": 4, "probe": 5, "val": 1}
CAPS = {"reference": 10_000, "probe": 5_000, "val": 1_000, "test": 10_000}
KEPT = 0.95  # of the trusted examples: what the filters and near copies of held-out ones leave, as a rule
BATCH, LEAST_BATCH = 128, 8
STEPS = 10  # in an epoch, at least
BATCH_PIXELS = 128 * 128 * 128


@dataclass(frozen=True)
class Proposal:
    """Values for `backbones.*.image_size`, `curate.splits` and `methods.*.batch_size`, and why."""

    image_size: int
    splits: dict[str, int]
    batch_size: int
    notice: str  # one line


def propose(sides: Sequence[int], train: int, trusted: int, test: int, most: int = MOST_SIDE) -> Proposal:
    """Values for a data set.

    Args:
        sides: the shorter sides, in pixels, of a sample of the pictures.
        train: how many examples are there to train on, `trusted` of which may go to reference, probe and val.
        test: how many the source's own test split has.
        most: the largest image size, in pixels.

    Raises:
        ValueError: without a single picture, or with fewer trusted ones than the splits are.
    """
    if not sides or train < 1:
        raise ValueError("no picture to choose image size, splits and batch size by; check dataset.path")
    size, splits = image_size(sides, most), split_sizes(trusted, test)
    batch = batch_size(train, size)
    middle = round(median(sides))
    parts = ", ".join(f"{name} {count:,}" for name, count in splits.items())
    notice = (
        f"fitting: image_size {size} (shorter sides: median {middle} px), splits {parts} (of "
        f"{trusted:,} trusted and {test:,} test images), batch_size {batch} ({train:,} images of {size} px)"
    )
    return Proposal(size, splits, batch, notice)


def image_size(sides: Sequence[int], most: int = MOST_SIDE) -> int:
    """Pixels; see above."""
    middle = median(sides)
    return max((side for side in SIDES if side <= min(middle, most)), default=SIDES[0])


def split_sizes(trusted: int, test: int) -> dict[str, int]:
    """Examples of reference, probe, val and test; see above.

    Raises:
        ValueError: where one of the first three would have none.
    """
    left, whole = int(KEPT * trusted), sum(SHARES.values())
    sizes = {name: min(left * share // whole, CAPS[name]) for name, share in SHARES.items()}
    if not all(sizes.values()):
        few = f"{trusted} trusted images are too few for reference, probe and val"
        raise ValueError(f"{few}; raise dataset.trusted, or add images")
    return {**sizes, "test": min(test, CAPS["test"])}


def batch_size(train: int, side: int) -> int:
    """Images; see above."""
    most = min(BATCH, train // STEPS, BATCH_PIXELS // (side * side))
    return max(LEAST_BATCH, 1 << max(most, 1).bit_length() - 1)
