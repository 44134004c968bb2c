"""Pictures with details at every scale, as photographs have them."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter


def scene(seed: int, size: int = 96) -> Image.Image:
    """A picture whose amplitudes fall like one over the frequency; another seed is another picture."""
    rng = np.random.default_rng(seed)
    planes = [
        sum(
            sigma * gaussian_filter(rng.normal(size=(size, size)), sigma, mode="wrap")
            for sigma in (1, 2, 4, 8, 16)
        )
        for _ in range(3)
    ]
    pixels = np.stack([planes[0] + 0.5 * planes[1], planes[0], planes[0] + 0.5 * planes[2]], axis=-1)
    pixels = (pixels - pixels.mean()) / pixels.std()
    return Image.fromarray(np.clip(128 + 45 * pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def scenes() -> list[Image.Image]:
    """Forty unrelated pictures of 96 px."""
    return [scene(seed) for seed in range(40)]
