"""label_error: drop rows whose label is most likely wrong, by confident learning (Northcutt et al. 2021, arXiv 1911.00068).

A logistic regression on the embeddings, trained without the row it judges, gives the probability p of each class. The threshold
of a class is the mean p of the rows that bear its label. Rows of label i that reach the threshold of class j, and of no likelier
one, are counted in the joint C[i, j]; scaled to the rows of label i it estimates how many of them are really j. That many are
dropped by both of the paper's prunings (section 3.2, "Both"): a row must be among the least probable of its label (by class), and
among those of its label with the largest margin of p[j] over p[i] for some j (by noise rate).

The pool teaches itself where wrong labels go everywhere and are fewer than right ones, and loses fewer clean rows than a small
trusted reference would. Where they go to one class (two species that people confuse), or are most, learn from the reference
(`learn_from`). Junk looks like a wrong label to either. The clean rows lost are those that the classifier gets wrong: a better
embedding loses fewer. `benchmarks/filters_*.md` hold both on pools with known dirt.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stages.data.uids import fraction
from stages.filters import vectors, verdicts

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

READS = ("embedding",)
WITH = ("reference",)
CHUNK = 65_536
FEWEST = 10  # rows of a class to learn it from; a smaller class is left alone


@dataclass
class Config:
    learn_from: str = "pool"  # pool: its other folds; reference: the trusted version
    folds: int = 5
    l2: float = 1e-3  # penalty, times the squared weights, on the mean cross-entropy of standardised embeddings
    examples: int = 100_000  # at most this many rows to learn from
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learn_from not in ("pool", "reference"):
            raise ValueError(f"learn_from: {self.learn_from!r} is no place to learn from; allowed: pool, reference")
        if self.folds < 2:
            raise ValueError(f"folds: {self.folds} is out of range; allowed: 2 or more")
        if not self.l2 > 0:
            raise ValueError(f"l2: {self.l2} is out of range; allowed: above 0")
        if self.examples < 1:
            raise ValueError(f"examples: {self.examples} is out of range; allowed: 1 or more")


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the columns uid, label, trusted and embedding. A trusted row, one without a label, and one of a tiny class stay."""
    from_reference = config.learn_from == "reference"
    classes = learnable(reference if from_reference else pool)
    keep = np.ones(len(pool), bool)
    rows = canonical(pool, classes)
    if len(classes) < 2 or not len(rows):
        return verdicts(pool, keep, "label_error")
    vector, labels = vectors(pool, "embedding"), np.searchsorted(classes, pool["label"].to_numpy()[rows])
    if from_reference:
        known = canonical(reference, classes)[: config.examples]
        given = np.searchsorted(classes, reference["label"].to_numpy()[known])
        p = predict(fit(vectors(reference, "embedding")[known], given, config.l2), vector, rows, len(classes))
    else:
        p = out_of_fold(vector, rows, labels, folds(pool["uid"].take(rows).to_pylist(), config), config)
    keep[rows] = ~errors(p, labels)
    return verdicts(pool, keep | pool["trusted"].to_numpy(zero_copy_only=False), "label_error")


def learnable(table: pa.Table) -> np.ndarray:
    """The labels, ascending, that enough rows bear."""
    labels, counts = np.unique(table["label"].to_numpy(), return_counts=True)
    found: np.ndarray = labels[(labels >= 0) & (counts >= FEWEST)]
    return found


def canonical(table: pa.Table, classes: np.ndarray) -> np.ndarray:
    """The rows of these classes by uid, then label: an order that the table's own does not show in, and that is random enough."""
    labels = table["label"].to_numpy()
    rows = np.flatnonzero(np.isin(labels, classes))
    uids = np.array(table["uid"].to_pylist(), "S32")
    return rows[np.lexsort((labels[rows], uids[rows]))]


def folds(uids: list[str], config: Config) -> np.ndarray:
    """The fold of each uid, so rows with the same image are never on both sides."""
    return np.array([int(fraction(config.seed, "label_error", uid) * config.folds) for uid in uids])


def out_of_fold(vector: np.ndarray, rows: np.ndarray, labels: np.ndarray, fold: np.ndarray, config: Config) -> np.ndarray:
    """Probabilities (n, classes) of n rows of vector (any, d), each by a model that saw no row of its fold."""
    classes = labels.max() + 1
    p = np.zeros((len(rows), classes))
    for held in np.unique(fold):
        known = np.flatnonzero(fold != held)[: config.examples]
        p[fold == held] = predict(fit(vector[rows[known]], labels[known], config.l2), vector, rows[fold == held], classes)
    return p


def fit(inputs: np.ndarray, labels: np.ndarray, l2: float) -> "Pipeline":
    """A multinomial logistic regression by L-BFGS, of inputs (n, d), labels (n,) and the penalty of `Config`."""
    from sklearn.exceptions import ConvergenceWarning  # here, because it costs a second
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (2 * l2 * len(inputs)), max_iter=100))
    with threadpool_limits(1), warnings.catch_warnings():  # the sums of several threads differ in their last digits
        warnings.simplefilter("ignore", ConvergenceWarning)  # a hundred steps are enough, wherever they lead
        return model.fit(inputs, labels)


def predict(model: "Pipeline", vector: np.ndarray, rows: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities (len(rows), classes) of rows of vector (any, d), a chunk at a time; 0 for a class that the model never saw."""
    p = np.zeros((len(rows), classes))
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        p[part, model.classes_] = model.predict_proba(vector[rows[part]])
    return p


def errors(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which rows (n,) to drop, given probabilities (n, classes) and labels; of equal ones the first rows."""
    count = p.shape[1]
    own = p[np.arange(len(p)), labels]
    found = confident_joint(p, labels)
    low, wide = np.zeros(len(p), bool), np.zeros(len(p), bool)
    for i in range(count):
        rows = np.flatnonzero(labels == i)
        wrong = np.rint(np.delete(found[i], i)).astype(int)
        low[rows[np.argsort(own[rows], kind="stable")[: wrong.sum()]]] = True
        for j, many in zip(np.delete(np.arange(count), i), wrong, strict=True):
            wide[rows[np.argsort(own[rows] - p[rows, j], kind="stable")[:many]]] = True
    return low & wide


def confident_joint(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Estimated rows (classes, classes) of each label (first axis) that are really of each class; a label's rows sum to its count."""
    count = np.bincount(labels, minlength=p.shape[1])
    own = np.bincount(labels, p[np.arange(len(p)), labels], p.shape[1])
    reached = p >= np.where(count, own / np.maximum(count, 1), np.inf)
    likeliest, some = np.where(reached, p, -1).argmax(axis=1), reached.any(axis=1)
    joint = np.zeros((p.shape[1], p.shape[1]))
    np.add.at(joint, (labels[some], likeliest[some]), 1)
    scaled: np.ndarray = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1) * count[:, None]
    return scaled
