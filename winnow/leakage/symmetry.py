"""Symmetric shapes: how much a leak must stand out from the mirror images of the two pictures.

A disc agrees with any other disc, a pair of shorts with another. Their details also agree when one of them is
mirrored, which those of most shots do not. So the details of a leak must agree better than those of the one
picture and the other's mirror image (left and right exchanged, top and bottom, or both) wherever one lies on
the other. Fisher's z of their correlation d must be at least 3/2 of that of the mirror image's, m:

    2 artanh(d) >= 3 artanh(m),    that is    (1 + d)**2 (1 - m)**3 >= (1 - d)**2 (1 + m)**3

A symmetric picture and its copy would not stand out; therefore details that are `CERTAIN` are a leak in any
case.
"""

import numpy as np

from winnow.leakage.agreement import shared_details

CERTAIN = 0.95
COARSE = 2.0**10  # levels of the details: so few that products add up to whole numbers that an FFT rounds to


def stands_out(details: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Whether correlations of details, (n,), stand out from those of the mirror images, (n,)."""
    here = (1 + details) ** 2 * (1 - mirrored) ** 3 >= (1 - details) ** 2 * (1 + mirrored) ** 3
    return here | (details >= CERTAIN)


def mirror_agreement(other: np.ndarray, held: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The most that the details correlate, (n,), when one picture of each pair is mirrored and moved.

    Args:
        other: (n, side, side), in grey levels; `held` too, read at `place`, (n, 4).
    """
    a, b = (np.rint(details / COARSE) for details in shared_details(other, held, place))
    shape = (2 * a.shape[1], 2 * a.shape[2])  # so that what is moved out of the picture meets nothing
    norm = np.sqrt(np.maximum((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)), 1.0))
    spectrum, most = np.fft.rfft2(a, shape), np.zeros(len(a))
    for axes in ((1,), (2,), (1, 2)):
        turned = np.fft.rfft2(np.flip(b, axes), shape)
        moved = np.rint(np.fft.irfft2(spectrum * turned.conj(), shape))
        most = np.maximum(most, moved.max(axis=(1, 2)) / norm)
    return np.minimum(most, 1.0)
