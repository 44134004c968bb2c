"""Recall on matrices small enough to read, and of a trained method against loops written out here."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from models.methods import Batch
from models.text import tokenize
from tests.loops import weights
from winnow.evaluation.retrieval import chance, cross_ranks, ranks, recall, retrieval, wordings
from winnow.loading.views import make


def test_recall_by_hand():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.3, 0.2, 0.1]])
    own = torch.eye(3, dtype=torch.bool)
    assert recall(similarity, own, 1) == pytest.approx(1 / 3, abs=1e-6)  # only the first ranks its own first
    assert recall(similarity, own, 2) == pytest.approx(1 / 3, abs=1e-6)
    assert recall(similarity, own, 3) == 1.0
    same = own.clone()
    same[1, 2] = same[2, 1] = True  # the second and the third have the same words
    assert recall(similarity, same, 1) == pytest.approx(2 / 3, abs=1e-6)


@st.composite
def tables(draw):
    """Similarities of few levels, so that many are tied, and captions of few wordings."""
    n = draw(st.integers(1, 7))
    levels = draw(st.lists(st.integers(0, 3), min_size=n * n, max_size=n * n))
    words = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return np.array(levels, float).reshape(n, n), np.array(words)


@given(tables(), st.integers(1, 10))
def test_recall_is_that_of_the_worst_order_of_ties(table, k):
    """By brute force in numpy: the wrong first among the tied, then whether a right one is in the first k."""
    similarity, words = table
    found = 0
    for row, own in zip(similarity, words, strict=True):
        order = sorted(range(len(row)), key=lambda j: (-row[j], words[j] == own))
        found += any(words[j] == own for j in order[:k])
    same = torch.from_numpy(words[:, None] == words[None, :])
    assert recall(torch.from_numpy(similarity), same, k) == round(found / len(words), 6)


def test_without_ties_it_is_scikit_learns_top_k_accuracy():
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 12)))
    labels = torch.arange(50) % 12
    place = ranks(scores, F.one_hot(labels, 12).bool())
    for k in (1, 5):
        theirs = top_k_accuracy_score(labels.numpy(), scores.numpy(), k=k, labels=range(12))
        assert float((place < k).double().mean()) == pytest.approx(theirs)


def test_a_model_that_tells_nothing_apart_finds_nothing():
    same = F.normalize(torch.ones(9, 4), dim=1)
    assert cross_ranks(same, same, torch.arange(9)).tolist() == [8] * 9
    assert cross_ranks(same, same, torch.zeros(9, dtype=torch.long)).tolist() == [0] * 9  # all captions alike


def test_chunks_change_no_rank():
    draw = torch.Generator().manual_seed(0)
    first, second = (F.normalize(torch.randn(23, 5, generator=draw), dim=1) for _ in range(2))
    words = torch.arange(23) % 9
    whole = ranks(first @ second.T, words[:, None] == words[None, :])
    assert cross_ranks(first, second, words, chunk=4).equal(whole)


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_chance_is_the_mean_over_all_orders(k):
    words = [0, 0, 1, 2, 0]
    orders = list(itertools.permutations(range(5)))
    found = [any(words[j] == own for j in order[:k]) for own in words for order in orders]
    assert chance(torch.tensor(words), k) == pytest.approx(sum(found) / len(found), abs=1e-6)


def test_captions_are_the_same_by_their_tokens():
    tokens = tokenize(["a cat", "A cat", "a dog", "a cat"], 8)
    words = wordings(tokens)
    assert (words[:, None] == words[None, :]).tolist() == [
        [one.equal(other) for other in tokens] for one in tokens
    ]


def share_found(similarity, tokens, k):
    """How many rows have the words of their own caption among the k nearest columns."""
    rows = [row.argsort(descending=True)[:k].tolist() for row in similarity]
    hits = [any(tokens[j].equal(tokens[i]) for j in near) for i, near in enumerate(rows)]
    return round(sum(hits) / len(hits), 6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["siglip", "clip"])
def test_readings_are_those_of_every_pair_and_change_nothing(start, method):
    loop = start(method=method, steps=12)
    loop.run()  # an untrained model finds nothing, by whichever rule
    objective, data = loop.objective.train(), start.examples(method, 60)
    names = start.pool.classes
    before = weights(objective)
    found = retrieval(objective, data, names, loop.fabric)
    assert objective.training
    assert weights(objective) == before

    objective.eval()
    pixels = data.pixels.get(torch.arange(len(data)).numpy())
    views = make(pixels, {"image": loop.recipe.score_views["image"]}, torch.Generator())
    prompts = tokenize([name.lower() for name in names], data.tokens.shape[1])
    with torch.no_grad():
        images, texts = objective.embed(Batch(views, data.labels, data.tokens))
        classes = objective.text(prompts)
    similarity = F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    expected = {f"i2t_r{k}": share_found(similarity, data.tokens, k) for k in (1, 5)}
    expected |= {f"t2i_r{k}": share_found(similarity.T, data.tokens, k) for k in (1, 5)}
    hits = ((F.normalize(images, dim=1) @ classes.T).argmax(dim=1) == data.labels).float().mean()
    assert found == {**expected, "zero_shot_top1": round(float(hits), 6)}
    assert len(set(found.values())) > 1
