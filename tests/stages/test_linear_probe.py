"""The linear probe against scikit-learn's logistic regression, and its metrics by hand."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from stages.linear_probe import class_mean, fit, logits


def test_the_fit_is_scikit_learns():
    """scikit-learn minimises C * sum(loss) + |W|^2 / 2, ours mean(loss) + l2 |W|^2, so C = 1 / (2 l2 n)."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 600)
    inputs = 1.2 * draw.normal(size=(4, 6))[labels] + draw.normal(size=(600, 6))
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)
    weight = fit(x[:400], y[:400], 4, l2=1e-2, iterations=200)
    oracle = LogisticRegression(C=1 / (2 * 1e-2 * 400), max_iter=2000, tol=1e-8)
    oracle.fit(x[:400].numpy(), y[:400].numpy())
    ours = logits(weight, x[400:]).softmax(dim=1).numpy()
    np.testing.assert_allclose(ours, oracle.predict_proba(x[400:].numpy()), atol=2e-3)


def test_the_mean_of_classes_counts_small_ones_as_much():
    scores = torch.tensor([[2.0, 1.0, 0.0]] * 4 + [[0.0, 1.0, 2.0], [0.0, 2.0, 1.0]])
    labels = torch.tensor([0, 0, 0, 0, 2, 2])  # all four of class 0, one of two of class 2; class 1 is absent
    assert class_mean(scores, labels) == 0.75
