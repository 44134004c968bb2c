"""Views: random crops, flips and colour changes of each image of a batch.

Views of whole pictures are cut one by one in threads (winnow/loading/pictures.py) and coloured as a batch
(winnow/loading/colours.py); an example's draws then depend on the generator's seed and on the example alone,
not on the batch. What else is here is for pictures that are stored at the model's own size: they are a
tensor, and a few batched operations make a view of all of them, where per-image transforms (torchvision v2,
lightly) would dominate training at 28 px. Departures from the papers there: crops are bilinear, hue is
rotated in YIQ space, and the blur is fixed at sigma = size / 28.

All randomness comes from the generator that is passed in, on the CPU, so that a GPU makes the same views and
scoring does not disturb training.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from models.encoders import OWN, Normalisation
from winnow.config.schema import View
from winnow.loading.colours import LUMA, YIQ, recoloured
from winnow.loading.pictures import RATIO, Pictures

Images = Tensor | Pictures


def make(
    images: Images, views: dict[str, View], generator: Generator, normalisation: Normalisation = OWN
) -> dict[str, list[Tensor]]:
    """For each name `count` float tensors (B, 3, S, S), normalised, on the images' device.

    Args:
        images: uint8 (B, 3, H, H), or whole pictures.
    """
    if isinstance(images, Pictures):
        return _of_pictures(images, views, generator, normalisation)
    pixels = images.float() / 255
    return {
        name: [normalised(_one(pixels, view, generator), normalisation) for _ in range(view.count)]
        for name, view in views.items()
    }


def normalised(pixels: Tensor, by: Normalisation) -> Tensor:
    """Pixels (B, 3, H, W), clamped to [0, 1], in standard deviations from the mean."""
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in by)
    return (pixels.clamp(0, 1) - mean) / std


def _of_pictures(
    pictures: Pictures, views: dict[str, View], generator: Generator, by: Normalisation
) -> dict[str, list[Tensor]]:
    noise = pictures.noise(generator)
    wanted = [view for view in views.values() for _ in range(view.count)]
    cut = pictures.cut([pictures.crops(view, noise) for view in wanted])
    made = iter([recoloured(crops, view, noise, *by) for crops, view in zip(cut, wanted, strict=True)])
    return {name: [next(made) for _ in range(view.count)] for name, view in views.items()}


def _one(pixels: Tensor, view: View, generator: Generator) -> Tensor:
    size = view.size or pixels.shape[-1]
    if view.scale is not None:
        pixels = crop(pixels, size, (view.scale[0], view.scale[1]), view.flip, generator)
    elif size != pixels.shape[-1]:
        pixels = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    if view.jitter is not None:
        pixels = _jitter(pixels, view.jitter, generator)
    if view.grey:
        chosen = _chosen(pixels, view.grey, generator)
        pixels = torch.where(chosen, _luma(pixels), pixels)
    if view.blur:
        chosen = _chosen(pixels, view.blur, generator)
        sigma = size / 28
        kernel = 2 * math.ceil(2 * sigma) + 1
        pixels = torch.where(chosen, gaussian_blur(pixels, [kernel, kernel], [sigma, sigma]), pixels)
    if view.solarise:
        chosen = _chosen(pixels, view.solarise, generator)
        pixels = torch.where(chosen & (pixels >= 0.5), 1 - pixels, pixels)
    return pixels


def crop(pixels: Tensor, size: int, scale: tuple[float, float], flip: float, generator: Generator) -> Tensor:
    """A random crop of each image, resized to (size, size) and mirrored with probability `flip`.

    The area is uniform in `scale`, the aspect ratio log-uniform in 3/4 to 4/3, the place uniform
    (torchvision's RandomResizedCrop; sides longer than the image are cut to it).
    """
    count = len(pixels)
    area = scale[0] + (scale[1] - scale[0]) * torch.rand(count, generator=generator)
    narrow, wide = map(math.log, RATIO)
    ratio = torch.exp(narrow + (wide - narrow) * torch.rand(count, generator=generator))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    place = 2 * torch.rand(count, 2, generator=generator) - 1
    mirror = 1 - 2 * (torch.rand(count, generator=generator) < flip).float()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2], theta[:, 1, 2] = place[:, 0] * (1 - width), place[:, 1] * (1 - height)
    grid = F.affine_grid(theta.to(pixels.device), [count, 3, size, size], align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _chosen(pixels: Tensor, probability: float, generator: Generator) -> Tensor:
    return (torch.rand(len(pixels), generator=generator) < probability).to(pixels.device)[:, None, None, None]


def _luma(pixels: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, 1, S, S)."""
    return (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def _jitter(pixels: Tensor, strengths: list[float], generator: Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, with SimCLR's probability 0.8; factors uniform around one."""
    chosen = _chosen(pixels, 0.8, generator)
    draws = (2 * torch.rand(len(pixels), 4, generator=generator) - 1) * torch.tensor(strengths)
    brightness, contrast, saturation, hue = draws.T.to(pixels.device)[..., None, None, None]
    changed = (pixels * (1 + brightness)).clamp(0, 1)
    mean = _luma(changed).mean(dim=(2, 3), keepdim=True)
    changed = (mean + (changed - mean) * (1 + contrast)).clamp(0, 1)
    if strengths[2] or strengths[3]:
        changed = _turn(changed, 1 + saturation.flatten(), 2 * math.pi * hue.flatten())
    return torch.where(chosen, changed, pixels)


def _turn(pixels: Tensor, saturation: Tensor, angle: Tensor) -> Tensor:
    """Scale and rotate the two colour axes of YIQ, without changing the luma."""
    turn = torch.zeros(len(pixels), 3, 3, device=pixels.device)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * angle.sin(), saturation * angle.sin()
    yiq = YIQ.to(pixels.device)
    matrix = torch.linalg.inv(yiq) @ turn @ yiq
    return torch.einsum("bij,bjhw->bihw", matrix, pixels).clamp(0, 1)
