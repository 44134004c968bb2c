"""What tasks cost in FLOPs, from the numbers of images: one formula each for the stage and for its plan.

Matrix products as models/flops.py counts them; an encoder's forward of one image is given.
"""


def linear_probe_flops(
    probe: int, val: int, test: int, forward: int, width: int, classes: int, passes: int, fits: int
) -> int:
    """Features of all images, `fits` classifiers in `passes` over the probe features, their logits, and kNN.

    A pass is a forward and the weights' gradient, 4 D C an image. L-BFGS works in principal axes, 4 D^2 an
    image of probe; that is counted for the schedules too, which have none, and is less than a pass of many
    classes.
    """
    classifiers = classifier_flops(probe, val, test, forward, width, classes, passes, fits)
    return classifiers + 2 * test * probe * width


def classifier_flops(
    probe: int, val: int, test: int, forward: int, width: int, classes: int, passes: int, fits: int
) -> int:
    """The same without kNN."""
    images = (probe + val + test) * forward
    fitted = probe * (4 * width * width + passes * 4 * width * classes)
    return images + fitted + (fits * val + test) * 2 * width * classes


def finetuning_flops(steps: int, step: int, test: int, forward: int) -> int:
    """So many steps of training, and a forward of each test image."""
    return steps * step + test * forward
