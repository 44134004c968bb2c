"""An encoder as an ONNX file, checked against torch before anyone gets it."""

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

ONNX = "model.onnx"
TOLERANCE = 1e-4  # largest difference of a feature, as a share of the largest feature where that is above 1
BATCHES = (1, 3)  # images; the export itself sees two


def export_onnx(encoder: nn.Module, size: int, path: Path) -> float:
    """Write `encoder`: images (n, 3, size, size), normalised as for timm -> features (n, D), for any n.

    The file holds the weights, and onnxruntime has given the same features as torch for two batch sizes.

    Returns:
        the largest difference of a feature to torch's.

    Raises:
        ValueError: if onnx is not installed, the architecture cannot be exported, or the features differ.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"--onnx: {error.name} is not installed; pip install 'winnow[onnx]'") from None
    encoder = encoder.eval()
    _write(encoder, torch.zeros(2, 3, size, size), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(n, 3, size, size, generator=generator) for n in BATCHES]
    worst, largest = 0.0, 1.0
    for batch in images:
        with torch.no_grad():
            expected = encoder(batch).numpy()
        found = session.run(None, {"images": batch.numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    if not worst <= TOLERANCE * largest:
        path.unlink()
        raise ValueError(f"--onnx: onnxruntime's features differ by {worst:.2g}; leave --onnx out")
    return worst


def _write(encoder: nn.Module, images: Tensor, path: Path) -> None:
    """torch's exporter prints its progress and warns about its own insides: neither is for the user."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                encoder,
                (images,),
                path,
                dynamo=True,
                external_data=False,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
            )
    except Exception as error:  # the exporter raises its own and torch's, none of them documented
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        name = type(encoder).__name__
        raise ValueError(f"--onnx: {name} cannot be exported ({reason}); leave --onnx out") from None
