"""Examples by their uids: pixels, labels and tokens that belong together, lost pictures included."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.text import tokenize
from tests.loops import state
from winnow.config.schema import Engine, Params, View
from winnow.ingest.example import Example
from winnow.loading import sampler
from winnow.loading.examples import examples
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool
from winnow.selection.policy import UNIFORM
from winnow.selection.selector import Selector
from winnow.training.build import build, open_for
from winnow.training.checkpoint import Checkpoint
from winnow.training.loop import Loop

PLAIN, CPU = {"image": View()}, torch.device("cpu")


def batch(data, indices):
    indices = np.array(indices)
    return data.batch(indices, data.pixels.get(indices), PLAIN, torch.Generator(), CPU)


def test_an_array_of_uids_opens_the_same_examples(stored, tmp_path):
    uids = sorted(stored.index.uid(row) for row in range(0, 60, 3))
    uid_files.save(tmp_path / "uids.npy", uids)
    by_text = examples(stored, uids, 16, Params())
    by_array = examples(stored, np.load(tmp_path / "uids.npy", mmap_mode="r"), 16, Params())
    for data in (by_text, by_array):
        assert data.uids == uids
        assert list(data.uids[2:5]) == uids[2:5]
        assert data.uids[-1] == uids[-1]
        assert data.uids != uids[:-1]
        assert [stored.index.uid(int(label)) for label in data.labels] == uids  # the label of row i is i
    assert by_text.uids == by_array.uids


def test_the_label_of_a_lost_picture_is_that_of_its_stand_in(stored, damage):
    damage(stored, 4)
    uids = [stored.index.uid(row) for row in range(60)]
    data = examples(stored, uids, 16, Params(engine=Engine(cache_gb=0)))
    found = batch(data, [3, 4])
    stand_in = int(data.pixels.substituted_indices(np.array([4]))[0])
    assert stand_in != 4
    assert found.labels.tolist() == [3, stand_in]
    assert found.views["image"][0][1].equal(batch(data, [stand_in]).views["image"][0][0])


def test_tokens_are_those_of_each_examples_caption(tmp_path, picture, write):
    made = [Example(str(i), picture(i), caption=f"picture {i % 2}") for i in range(4)]
    pool = write(tmp_path / "captioned", made)
    uids = [pool.index.uid(row) for row in (2, 3, 0)]
    data = examples(pool, uids, 16, Params(), frozenset({"captions"}), context=6)
    expected = tokenize(["picture 0", "picture 1", "picture 0"], 6)
    assert data.tokens.tolist() == expected.tolist()
    assert batch(data, [1]).tokens.tolist() == expected[1:2].tolist()


@pytest.mark.parametrize("what", ["labels", "captions"])
def test_an_example_without_what_the_method_needs_is_refused(what, tmp_path, picture, write):
    with_both = Example("a", picture(0), label=1, caption="a")
    pool = write(
        tmp_path / "bare",
        [with_both, replace(with_both, key="b", image=picture(1), label=None, caption=None)],
    )
    uids = [pool.index.uid(row) for row in range(2)]
    with pytest.raises(ValueError, match=f"{what}: 1 of 2 examples have none; take a method without {what}"):
        examples(pool, uids, 16, Params(), frozenset({what}), context=6)


@pytest.mark.slow
def test_a_resumed_run_over_a_damaged_pool_ends_with_the_same_bytes(start, stored, damage, tmp_path):
    """Two pictures are lost, one of a step before the kill and one after it."""
    uids = sorted(stored.index.uid(row) for row in range(60))
    lost = [uids[sampler.candidates(step, 8, len(uids), 0)[2]] for step in (0, 3)]
    damage(stored, *(int(stored.rows([uid])[0]) for uid in lost))
    recipe = start.recipe("supervised")

    def run(steps, checkpoint=None):
        data = open_for(start.params, "supervised", "test_resnet", Pool.open(stored.folder), uids)
        objective = build(start.params, "supervised", "test_resnet", 60, 0)
        fabric = start(steps=1).fabric
        loop = Loop(fabric, objective, data, recipe, Selector(UNIFORM, recipe, data, None, 0), 6, 0)
        loop.pace.steps = lambda done: range(done, steps)
        loop.run(checkpoint=checkpoint)
        return loop

    checkpoint = Checkpoint(tmp_path, "run", 0.0)
    whole, _, resumed = run(6), run(2, checkpoint), run(6, checkpoint)
    assert set(resumed.data.pixels.lost) == set(whole.data.pixels.lost) == set(lost)
    assert not {uids[i] for i in whole.state.column("index")} & set(lost)
    expected, found = state(whole), state(resumed)
    assert [key for key in expected if found[key] != expected[key] and key != ".pixels.read"] == []
