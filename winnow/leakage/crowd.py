"""Pictures that are merely alike: how much a leak must stand out from what resembles a held-out picture.

Two T-shirts of a catalogue, or two eights, agree in more than two photographs of one class do. So the details
of a leak must stand out from the crowd: Fisher's z of their correlation must be at least twice that of the
crowd,

    tanh(2 artanh(c)) = 2 c / (1 + c**2)

The crowd of a held-out picture is the correlation of details that a quarter of its candidates reach, and at
least the median crowd of all. In photographs of many kinds that is nearly 0, and the score decides alone. A
picture with many true copies would be its own crowd; therefore a leak that is `CERTAIN`, and stands out from
the crowds of nine tenths of all held-out pictures, is one in any case.
"""

import numpy as np

CERTAIN = 0.85


def stands_out(crowd: np.ndarray) -> np.ndarray:
    """The least correlation that stands out from crowds of these correlations."""
    return 2 * crowd / (1 + crowd * crowd)


def bars(held: np.ndarray, details: np.ndarray, count: int, keep: int) -> np.ndarray:
    """The least correlation of the details of a leak, for each held-out picture, (count,).

    Args:
        held: rows of the held-out pictures, (m,), in pairs whose details correlate by `details` (m,); pairs
            that are missing correlate by 0.
        keep: how many candidates each picture had.
    """
    rank = max(keep // 4, 1)
    order = np.lexsort((-details, held))
    place = np.arange(len(held)) - np.searchsorted(held[order], held[order])
    at = order[place == rank - 1]
    crowd = np.zeros(count)
    crowd[held[at]] = details[at]
    median, most = (np.quantile(crowd, part, method="lower") for part in (0.5, 0.9))
    certain = max(CERTAIN, float(stands_out(np.asarray(most))))
    bar: np.ndarray = np.minimum(stands_out(np.maximum(crowd, median)), certain)
    return bar
