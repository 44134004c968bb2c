"""label_error: drop rows whose label is most likely wrong, by confident learning.

After Northcutt et al. 2021 (arXiv 1911.00068). A logistic regression on the embeddings, trained without the
row it judges, gives the probability p of each class. The threshold of a class is the mean p of the rows with
its label. Rows of label i that reach the threshold of class j, and of no likelier class, are counted in the
joint C[i, j]; scaled to the rows of label i it estimates how many of them are really j. That many are dropped
by both of the paper's prunings (section 3.2, "Both"): a row must be among the least probable of its label (by
class), and among those of its label with the largest margin of p[j] over p[i] for some j (by noise rate).

Learning from the pool itself works where wrong labels go to all classes and are fewer than right ones, and
loses fewer clean rows than a small trusted reference would. Where they go to one class (two species that
people confuse), or are the majority, learn from the reference (`learn_from`). Junk looks like a wrong label
to either. The clean rows lost are those that the classifier gets wrong: a better embedding loses fewer.
`benchmarks/filters_*.md` hold both on pools with known corruption.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded, one_of
from winnow.filters import vectors, verdicts
from winnow.pool.uids import fraction

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

EXTRA_COLUMNS = ("embedding",)
EXTRA_TABLES = ("reference",)
CHUNK = 65_536
FEWEST = 10  # rows of a class to learn it from; rows of smaller classes are kept


@dataclass
class Config:
    learn_from: str = one_of("pool", "reference")  # the pool's other folds, or the trusted version
    folds: int = bounded(5, 2)
    # penalty: this times the squared weights, on the mean cross-entropy of standardised embeddings
    l2: float = bounded(1e-3, above=0)
    examples: int = bounded(100_000, 1)  # at most this many rows to learn from
    seed: int = 0


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the columns uid, label, trusted and embedding. Rows are kept that are trusted, have no label, or
    are of a tiny class.
    """
    from_reference = config.learn_from == "reference"
    classes = learnable(reference if from_reference else pool)
    keep = np.ones(len(pool), bool)
    rows = canonical(pool, classes)
    if len(classes) < 2 or not len(rows):
        return verdicts(pool, keep, "label_error")
    inputs, labels = vectors(pool, "embedding"), np.searchsorted(classes, pool["label"].to_numpy()[rows])
    if from_reference:
        known = canonical(reference, classes)[: config.examples]
        known_labels = np.searchsorted(classes, reference["label"].to_numpy()[known])
        model = fit(vectors(reference, "embedding")[known], known_labels, config.l2)
        p = predict(model, inputs, rows, len(classes))
    else:
        p = out_of_fold(inputs, rows, labels, folds(pool["uid"].take(rows).to_pylist(), config), config)
    keep[rows] = ~errors(p, labels)
    return verdicts(pool, keep | pool["trusted"].to_numpy(zero_copy_only=False), "label_error")


def learnable(table: pa.Table) -> np.ndarray:
    """The labels, ascending, that enough rows have."""
    labels, counts = np.unique(table["label"].to_numpy(), return_counts=True)
    enough: np.ndarray = labels[(labels >= 0) & (counts >= FEWEST)]
    return enough


def canonical(table: pa.Table, classes: np.ndarray) -> np.ndarray:
    """The rows of these classes by uid, then label: random enough, and independent of the table's order."""
    labels = table["label"].to_numpy()
    rows = np.flatnonzero(np.isin(labels, classes))
    uids = np.array(table["uid"].to_pylist(), "S32")
    return rows[np.lexsort((labels[rows], uids[rows]))]


def folds(uids: list[str], config: Config) -> np.ndarray:
    """The fold of each uid, so that rows with the same image are never on both sides."""
    return np.array([int(fraction(config.seed, "label_error", uid) * config.folds) for uid in uids])


def out_of_fold(
    inputs: np.ndarray, rows: np.ndarray, labels: np.ndarray, fold: np.ndarray, config: Config
) -> np.ndarray:
    """Probabilities (n, classes) of n rows of inputs (any, d), each by a model that saw none of its fold."""
    classes = labels.max() + 1
    p = np.zeros((len(rows), classes))
    for held in np.unique(fold):
        known = np.flatnonzero(fold != held)[: config.examples]
        model = fit(inputs[rows[known]], labels[known], config.l2)
        p[fold == held] = predict(model, inputs, rows[fold == held], classes)
    return p


def fit(inputs: np.ndarray, labels: np.ndarray, l2: float) -> "Pipeline":
    """A multinomial logistic regression by L-BFGS: inputs (n, d), labels (n,), the penalty of `Config`."""
    from sklearn.exceptions import ConvergenceWarning  # here, because it costs a second
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (2 * l2 * len(inputs)), max_iter=100))
    # One thread: the sums of several differ in their last digits.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred steps are enough, converged or not
        return model.fit(inputs, labels)


def predict(model: "Pipeline", inputs: np.ndarray, rows: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (len(rows), classes) of rows of inputs (any, d), in chunks; 0 for a class that the model
    never saw.
    """
    p = np.zeros((len(rows), classes))
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        p[part, model.classes_] = model.predict_proba(inputs[rows[part]])
    return p


def errors(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which rows (n,) to drop, given probabilities (n, classes) and labels; of equal ones the first rows."""
    count = p.shape[1]
    own = p[np.arange(len(p)), labels]
    joint = confident_joint(p, labels)
    by_class, by_noise_rate = np.zeros(len(p), bool), np.zeros(len(p), bool)
    for i in range(count):
        rows = np.flatnonzero(labels == i)
        wrong = np.rint(np.delete(joint[i], i)).astype(int)
        by_class[rows[np.argsort(own[rows], kind="stable")[: wrong.sum()]]] = True
        for j, many in zip(np.delete(np.arange(count), i), wrong, strict=True):
            by_noise_rate[rows[np.argsort(own[rows] - p[rows, j], kind="stable")[:many]]] = True
    return by_class & by_noise_rate


def confident_joint(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Estimated rows (classes, classes) of each label (first axis) that are really of each class; the rows of
    a label sum to its count.
    """
    count = np.bincount(labels, minlength=p.shape[1])
    own = np.bincount(labels, p[np.arange(len(p)), labels], p.shape[1])
    reached = p >= np.where(count, own / np.maximum(count, 1), np.inf)
    likeliest, some = np.where(reached, p, -1).argmax(axis=1), reached.any(axis=1)
    joint = np.zeros((p.shape[1], p.shape[1]))
    np.add.at(joint, (labels[some], likeliest[some]), 1)
    scaled: np.ndarray = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1) * count[:, None]
    return scaled
