"""Mean intersection over union (mIoU), mean class accuracy and pixel accuracy of semantic segmentation.

Of class c, over all judged pixels of all test images: IoU = hits / (truth + predicted - hits), and accuracy =
hits / truth (Everingham et al., IJCV 2010). The rules:

* A pixel that is `VOID` in the truth is counted nowhere, whatever was predicted there.
* The means are over the classes that occur in the truth of the test images. A class that does not is left
  out, and named; where it is predicted, the class whose pixels it takes loses them. So all arms have one
  denominator. (A mean over the classes of truth or prediction would add an IoU of 0 for each such class.)

mIoU is no mean over images, and yet has an interval. What an image adds to it is taken to first order, as for
any ratio of sums (the delta method, or infinitesimal jackknife; Efron, 1982): with n images,

    outcome_i = mIoU + n * mean over c of (hits_ci - IoU_c * union_ci) / union_c

whose mean over the images is mIoU itself, and whose spread gives its standard error; differences of two arms
pair up by image. It is the same for the accuracies. A test compares it with the bootstrap of images. Classes
of which a few images hold all pixels make it too narrow, as they do the bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VOID = 255
NAMES = ("miou", "mean_accuracy", "pixel_accuracy")


@dataclass(frozen=True)
class Intersections:
    """Pixels of each class in each image, int64 (n, classes): `hits`, `truth` and `predicted`."""

    hits: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, matrices: Sequence[np.ndarray]) -> "Intersections":
        """From the confusion matrix of each image.

        Raises:
            ValueError: if no pixel is judged.
        """
        stacked = [
            np.array(one)
            for one in zip(*((m.diagonal(), m.sum(axis=1), m.sum(axis=0)) for m in matrices), strict=True)
        ]
        if not stacked or not stacked[1].sum():
            raise ValueError("segmentation: no pixel of the test images has a class; give masks that have")
        return cls(*stacked)

    @property
    def judged(self) -> np.ndarray:
        """The classes that occur in the truth, ascending."""
        return np.flatnonzero(self.truth.sum(axis=0))

    @property
    def absent(self) -> np.ndarray:
        """The classes that do not."""
        return np.flatnonzero(self.truth.sum(axis=0) == 0)

    def ious(self) -> np.ndarray:
        """The IoU of each judged class."""
        hits, union = self._ratios()["miou"]
        return np.asarray(hits.sum(axis=0) / union.sum(axis=0))

    def metrics(self) -> dict[str, float]:
        """The numbers by `NAMES`, in 0..1, six places."""
        means = {
            name: np.mean(above.sum(axis=0) / below.sum(axis=0))
            for name, (above, below) in self._ratios().items()
        }
        return {name: round(float(value), 6) for name, value in means.items()}

    def outcomes(self) -> dict[str, np.ndarray]:
        """A value (n,) for each image, whose mean is the number of that name."""
        return {name: _linear(*ratio) for name, ratio in self._ratios().items()}

    def _ratios(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Numerators and denominators (n, k) of what the means are over."""
        kept = self.judged
        hits, truth, predicted = (part[:, kept] for part in (self.hits, self.truth, self.predicted))
        whole = [part.sum(axis=1, keepdims=True) for part in (hits, truth)]
        found = (hits, truth + predicted - hits), (hits, truth), (whole[0], whole[1])
        return dict(zip(NAMES, found, strict=True))


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixels int64 (classes, classes) by their class in the truth, and by the predicted one.

    Args:
        truth: of any shape, values below `classes` or `VOID`.
        predicted: of the same shape, values below `classes`.
    """
    kept = truth != VOID
    pairs = truth[kept].astype(np.int64) * classes + predicted[kept].astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _linear(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    totals = below.sum(axis=0)
    ratios = above.sum(axis=0) / totals
    return np.asarray(ratios.mean() + len(above) * ((above - ratios * below) / totals).mean(axis=1))
