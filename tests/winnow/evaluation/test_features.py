"""Readings of frozen features against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from models.encoders import OWN, Normalisation, normalisation
from winnow.config.schema import Run
from winnow.evaluation.features import features, knn_top1, knn_votes, top_k
from winnow.loading.examples import examples
from winnow.training.device import launch


def blobs(n, seed, classes=4, width=6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 1.2
    inputs = centres[labels] + rng.normal(size=(n, width))
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("chunk", [1000, 40])
def test_knn_is_scikit_learns_with_the_same_weights(monkeypatch, chunk):
    monkeypatch.setattr("winnow.evaluation.features.CHUNK", chunk)
    (x, y), (tx, ty) = blobs(300, 0), blobs(150, 1)
    votes = knn_votes(x, y, tx, [10, 20])
    for k in (10, 20):
        oracle = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
        oracle.fit(x.numpy(), y.numpy())
        shares = votes[k] / votes[k].sum(dim=1, keepdim=True)
        np.testing.assert_allclose(shares, oracle.predict_proba(tx.numpy()), atol=1e-4)
        assert abs(knn_top1(x, y, tx, ty, k) - oracle.score(tx.numpy(), ty.numpy())) < 1e-6


def test_knn_of_a_bank_smaller_than_k_asks_all_of_it():
    (x, y), (tx, _) = blobs(7, 0), blobs(5, 1)
    votes = knn_votes(x, y, tx, [7, 20])
    assert torch.equal(votes[7], votes[20])


def test_top_k_by_hand():
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    labels = torch.tensor([0, 0, 2])
    assert top_k(scores, labels, 1) == 0.333333
    assert top_k(scores, labels, 2) == 0.666667
    assert top_k(scores, labels, 5) == 1.0


class Pixels(torch.nn.Module):
    """An encoder that returns what it was given."""

    def forward(self, images):
        return images.flatten(1)


def test_features_are_of_images_normalised_as_the_network_says(digits_pool, digits_params):
    """A task need not know where an encoder's weights come from; the expected values are the formula's."""
    uids = sorted(digits_pool.index.uid(row) for row in range(3))
    data, encoder = examples(digits_pool, uids, 28, digits_params), Pixels()
    fabric = launch(Run(accelerator="cpu", threads=1))
    pixels = data.pixels.get(np.arange(len(data))).float() / 255
    assert normalisation(encoder) == OWN
    torch.testing.assert_close(features(encoder, data, fabric), ((pixels - 0.5) / 0.5).flatten(1))
    encoder.normalisation = by = Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    mean, std = (torch.tensor(values)[:, None, None] for values in by)
    torch.testing.assert_close(features(encoder, data, fabric), ((pixels - mean) / std).flatten(1))
