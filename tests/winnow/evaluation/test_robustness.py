"""The measurement of corrupted pictures against one written out here, and the sheet."""

import numpy as np
import torch

from models.corruptions.corrupt import SEVERITIES, corrupt
from models.encoders import create
from winnow.config.schema import Run
from winnow.evaluation import robustness
from winnow.loading.examples import examples
from winnow.loading.views import make
from winnow.training.device import generator, launch


def plain(start):
    """Five digits as evaluation sees them."""
    uids = [start.pool.index.uid(row) for row in start.rows[:5]]
    return examples(start.pool, sorted(set(uids)), 28, start.params, frozenset({"labels"}))


def test_outputs_are_those_of_each_picture_by_itself(start, monkeypatch):
    data, fabric = plain(start), launch(Run(accelerator="cpu", threads=1))
    encoder, cells = create("test_resnet", 28).eval(), [("gaussian_noise", 1), ("fog", 5)]
    monkeypatch.setattr(robustness, "CHUNK", 2)
    found = robustness.corrupted_outputs(encoder, lambda features: 2 * features, data, cells, fabric)
    assert list(found) == cells
    for (name, severity), values in found.items():
        for i, uid in enumerate(data.uids):
            drawn = generator("corruption", uid, name, severity)
            image = corrupt(data.pixels.get(np.array([i])), name, severity, [drawn])
            view = make(image, robustness.PLAIN, generator("plain"))["image"][0]
            with torch.no_grad():
                torch.testing.assert_close(values[i : i + 1], 2 * encoder(view), rtol=1e-4, atol=1e-4)


def test_the_sheet_has_a_row_for_each_corruption(start):
    picture = robustness.sheet(plain(start), ["contrast", "snow"])
    side = 3 * 28 + robustness.GAP
    assert picture.size == (robustness.LABEL + (1 + len(SEVERITIES)) * side, 18 + 2 * side)
