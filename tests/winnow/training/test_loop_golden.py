"""Losses do not change when code is moved: ten steps of every method against tests/golden/METHOD.json."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from models.methods import Losses, clip, dino, siglip, simclr, supervised
from tests.golden import curves


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return curves.make_pool(tmp_path_factory.mktemp("golden"))


@pytest.mark.slow
@pytest.mark.parametrize("method", curves.SETTINGS)
def test_golden_curve(method, pool):
    curves.compare(method, curves.curve(method, pool))


class Slightly(supervised.Method):
    """Logits at a temperature that is off by 1 %."""

    def classify(self, images):
        return super().classify(images) / 1.01


class Unsmoothed(supervised.Method):
    """Without the label smoothing of training."""

    def losses(self, batch):
        return Losses(F.cross_entropy(self.classify(batch.views["image"][0]), batch.labels, reduction="none"))


class OneSided(clip.Method):
    """Without the texts' half of the loss."""

    def compare(self, first, second):
        pair = self.pairs(first, second)
        return Losses(F.cross_entropy(pair, torch.arange(len(pair)), reduction="none"), pair)


class WarmClip(clip.Method):
    """Logits at a scale that is off by 1 %."""

    def pairs(self, first, second):
        return 1.01 * super().pairs(first, second)


class StillTeacher(dino.Method):
    """A teacher that does not follow the student."""

    def after_step(self, progress):
        self.temperature.fill_(self.config.teacher_temperature[1])


class Uncentred(dino.Method):
    """A teacher whose centre stays zero."""

    def losses(self, batch):
        losses = super().losses(batch)
        self.centre.zero_()
        return losses


def changed(method, **settings):
    return lambda encoder, config, classes: method(encoder, replace(config, **settings), classes)


def with_itself(embeddings, temperature):
    return embeddings @ embeddings.T / temperature


def one_view(logits):
    count = len(logits) // 2
    return F.cross_entropy(logits[:count], torch.arange(count) + count, reduction="none")


def same_sign(images, texts, temperature, bias):
    return F.softplus(-(temperature * images @ texts.T + bias))


def without_bias(images, texts, temperature, bias):
    signs = 2 * torch.eye(len(images)) - 1
    return F.softplus(-signs * temperature * (images @ texts.T))


def unweighted(teacher, student, globals_, alpha, weighted=dino.weighted):
    return weighted(teacher, student, globals_, None)


def with_same_view(teacher, student, globals_, alpha):
    terms = [-(t * s).sum(dim=-1) for t in teacher for s in student]
    return torch.stack(terms).mean(dim=0)


BREAKS = {
    "supervised, temperature off by 1 %": ("supervised", supervised, "Method", Slightly),
    "supervised, no smoothing": ("supervised", supervised, "Method", Unsmoothed),
    "simclr, temperature off by 1 %": ("simclr", simclr, "Method", changed(simclr.Method, temperature=0.202)),
    "simclr, a view among its own negatives": ("simclr", simclr, "similarities", with_itself),
    "simclr, one view only": ("simclr", simclr, "losses", one_view),
    "dino, temperature off by 1 %": ("dino", dino, "Method", changed(dino.Method, student_temperature=0.101)),
    "dino, teacher stands still": ("dino", dino, "Method", StillTeacher),
    "dino, no centre": ("dino", dino, "Method", Uncentred),
    "dino, centre slower by 1 %": ("dino", dino, "Method", changed(dino.Method, centre_momentum=0.909)),
    "dino, other weights of views": ("dino", dino, "weighted", unweighted),
    "dino, a view against itself": ("dino", dino, "weighted", with_same_view),
    "siglip, one sign for all pairs": ("siglip", siglip, "sigmoid_pairs", same_sign),
    "siglip, no bias": ("siglip", siglip, "sigmoid_pairs", without_bias),
    "siglip, temperature off by 1 %": ("siglip", siglip, "Method", changed(siglip.Method, temperature=10.1)),
    "clip, images only": ("clip", clip, "Method", OneSided),
    "clip, scale off by 1 %": ("clip", clip, "Method", WarmClip),
}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "module", "name", "wrong"), BREAKS.values(), ids=BREAKS.keys())
def test_a_wrong_loss_is_not_the_golden_curve(method, module, name, wrong, pool, monkeypatch):
    """The comparison is not blind: it fails for a term that is missing and for one that is off by 1 %."""
    monkeypatch.setattr(module, name, wrong)
    losses = curves.curve(method, pool)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        curves.compare(method, losses)


def test_a_missing_file_is_not_written(pool, tmp_path, monkeypatch):
    """A golden file that its own test writes agrees with any loss."""
    monkeypatch.setattr(curves, "FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError):
        curves.compare("supervised", [0.0] * curves.STEPS)
    assert not list(tmp_path.iterdir())
