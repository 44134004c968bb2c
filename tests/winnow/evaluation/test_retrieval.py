"""Recall on matrices small enough to read, and of a trained method against loops written out here."""

import pytest
import torch
import torch.nn.functional as F

from models.methods import Batch
from models.text import tokenize
from tests.loops import weights
from winnow.evaluation.retrieval import recall, retrieval
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
