"""From an arm to its selection: what is charged to it, how many steps it has, and what scores for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.loops import BATCH, JOINT, LEARNABILITY, ONLINE, PROXY, SMALL, embedded, weights
from winnow.config.derived import ArmPaths
from winnow.config.schema import Arm, Policy, Pretrain
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.selection.build import ONLINE as ONLINE_SEED
from winnow.selection.build import PROXY as PROXY_SEED
from winnow.selection.build import arm_seed, arm_uids, build_selection
from winnow.selection.cost import step_flops
from winnow.selection.reference import Online
from winnow.selection.reference_record import Judged, Record, write_record
from winnow.selection.trace import FLOATS, write_trace
from winnow.training.build import build
from winnow.versions.flops import CurationFlops

SEED = 4


@pytest.fixture
def select(start, tmp_path):
    """A function: the selection of an arm with this policy, in a workspace with all that it may read."""
    workspace = Workspace(tmp_path)
    CurationFlops({"pool": 940}, {"supervised": 60}).write(_made(workspace.version("pool")))
    trusted = start.examples("supervised", 60).uids
    uid_files.save(_made(workspace.version("reference")) / "uids.npy", list(trusted))

    def choose(policy, method="supervised", budget=1e12, shares=(1.0, 1.0)):
        loop = start(method=method, seed=SEED)
        _reference(start, loop, workspace, method)
        folder = f"results/reference/models/{method}"
        paths = ArmPaths(policy.criterion, reference=folder, trace="trace.parquet")
        arm = Arm("p", method, "test_resnet", SEED, dvc=paths)
        pretrain = Pretrain(budget, reference_share=shares[0], curation_share=shares[1])
        methods = {method: start.recipe(method)}
        params = replace(start.params, policies={"p": policy}, methods=methods, pretrain=pretrain)
        return build_selection(params, arm, workspace, loop.fabric, loop.objective, loop.data), loop

    return choose


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _reference(start, loop, workspace, method):
    params = replace(start.params, reference=replace(start.params.reference, backbone="test_resnet"))
    sides = embedded(loop).embeddings if loop.objective.PAIR else None
    spent = {"train": 100, "score": 20, "pool_model_train": 7, "pool_model_score": 2}
    losses = Judged(torch.linspace(0, 1, len(loop.data)), sides)
    record = Record.of(params, method, loop.data.classes, spent)
    other = loop.objective, Judged(losses.losses + 1)
    write_record(workspace.reference(method), record, loop.objective, loop.data.uids, losses, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "shares", "expected"),
    [
        (Policy("uniform"), (1.0, 1.0), (1000, 0)),
        (ONLINE, (1.0, 1.0), (1000, 0)),
        (LEARNABILITY, (1.0, 1.0), (1000, 120 - 60)),  # of the reference, curation has paid for 60
        (LEARNABILITY, (0.25, 0.5), (500, 30 - 15)),
        (LEARNABILITY, (1.0, 0.0), (0, 120)),
        (replace(LEARNABILITY, scorer="frozen"), (1.0, 1.0), (1000, 129 - 60)),
    ],
)
def test_what_is_charged_before_the_first_step(select, policy, shares, expected):
    charge = select(policy, shares=shares)[0].charge
    assert (charge.curate, charge.reference) == expected
    assert charge.total == sum(expected)


@pytest.mark.slow
def test_the_budget_buys_steps_after_what_is_charged(select):
    policy = Policy("hard", filter_ratio=0.5)
    step = select(policy)[0].step
    chosen, _ = select(policy, budget=1000 + 7 * step.total + 3)
    assert (chosen.steps, chosen.stopped_by) == (7, "budget")
    spent = {"curate": 1000, "reference": 0, "score": 7 * step.score, "train": 7 * step.train}
    assert chosen.flops(7) == {**spent, "total": 1000 + 7 * step.total}
    with pytest.raises(ValueError, match="pretrain.budget: .*: give at least"):
        select(policy, budget=1000 + step.total - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("batches", "steps", "stopped_by"), [(2, 2, "examples"), (9, 5, "budget")])
def test_a_replay_ends_with_its_trace_or_its_budget(select, start, tmp_path, batches, steps, stopped_by):
    policy, size = Policy("uniform", scorer="replay"), BATCH
    data = start.examples("supervised")
    count = batches * size
    trained = {"step": np.arange(count) // size, "index": np.arange(count) % 100, "rank": np.arange(count)}
    trained |= {name: np.zeros(count) for name in FLOATS}
    write_trace(
        tmp_path / "trace.parquet", data.uids, trained, {name: array[:0] for name, array in trained.items()}
    )
    step = select(Policy("uniform"))[0].step
    chosen, _ = select(policy, budget=1000 + 5 * step.total)
    assert (chosen.steps, chosen.stopped_by) == (steps, stopped_by)
    assert chosen.selector.indices(1).tolist() == trained["index"][size : 2 * size].tolist()
    assert chosen.step == step


@pytest.mark.slow
def test_neither_proxy_nor_online_reference_starts_as_a_copy_of_the_learner(select, start):
    chosen, loop = select(replace(PROXY, online=SMALL))
    proxy, online = chosen.selector.scorer.objective, chosen.selector.reference.model.objective
    seed = arm_seed(start.params, Arm("p", "supervised", "test_resnet", SEED))
    for model, extra in ((proxy, PROXY_SEED), (online, ONLINE_SEED)):
        assert weights(model) == weights(
            build(start.params, "supervised", SMALL, loop.data.classes, seed + extra)
        )
    assert weights(proxy) != weights(online)
    assert isinstance(chosen.selector.reference, Online)
    assert list(chosen.selector.reference.trusted.uids) == list(start.examples("supervised", 60).uids)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "method", "pairs"),
    [
        (LEARNABILITY, "supervised", False),
        (LEARNABILITY, "siglip", False),  # the loss of a pair does not depend on the others
        (LEARNABILITY, "simclr", True),
        (replace(LEARNABILITY, criterion="easy"), "simclr", False),
        (JOINT, "siglip", True),
    ],
)
def test_embeddings_are_read_where_pairs_are_needed(select, policy, method, pairs):
    reference = select(policy, method)[0].selector.reference
    assert (reference.embeddings is not None) is pairs
    assert torch.equal(reference.example_losses, torch.linspace(0, 1, len(reference.example_losses)))


def test_seeds_of_arms_and_of_the_run_do_not_meet(start):
    arms = [Arm("p", "m", "b", seed) for seed in (0, 1, 750_000)]
    seeds = [arm_seed(replace(start.params, seed=run), arm) for run in (0, 1, 2) for arm in arms]
    assert len(set(seeds)) == len(seeds)


@pytest.fixture
def unions(start, tmp_path):
    """A function: the selection of a uniform arm on `pool+reference`, with these shares.

    The first 150 images are the version `pool`, those from the 140th on `reference`.
    """
    workspace = Workspace(tmp_path)
    data = start.examples("supervised")
    uids = list(data.uids)
    for name, some, spent in (("pool", uids[:150], 1000), ("reference", uids[140:], 200)):
        uid_files.save(_made(workspace.version(name)) / "uids.npy", some)
        CurationFlops({name: spent - 60}, {"supervised": 60}).write(workspace.version(name))

    def choose(mixture, version="pool+reference"):
        loop = start(seed=SEED)
        arm = Arm("p", "supervised", "test_resnet", SEED, version, mixture)
        assert arm_uids(arm, workspace) == uids
        recipes = {"supervised": start.recipe("supervised")}
        changes = {"policies": {"p": Policy("uniform")}, "methods": recipes, "pretrain": Pretrain(1e12)}
        params = replace(start.params, **changes)
        return build_selection(params, arm, workspace, loop.fabric, loop.objective, data)

    return choose


@pytest.mark.slow
def test_a_mixture_draws_its_share_of_each_version(unions):
    """Six of eight of the pool version, two of the reference; the ten that both hold may stand for either."""
    selector = unions([0.75, 0.25]).selector
    mine = [selector.indices(step) for step in range(25)]
    for drawn in mine:
        assert len(drawn) == BATCH
        assert (drawn < 140).sum() <= 6 <= (drawn < 150).sum()
        assert (drawn >= 150).sum() <= 2 <= (drawn >= 140).sum()
    seen = np.concatenate(mine)
    seen = seen[seen < 140].tolist()
    assert len(set(seen)) == len(seen), "25 steps of six are one epoch of the pool"
    swapped = unions([0.25, 0.75], "reference+pool").selector
    assert all((swapped.indices(step) >= 150).sum() <= 2 for step in range(25))


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["easy", "learnability"])
def test_an_arm_selects_from_the_part_that_its_reference_judged(start, tmp_path, criterion):
    """Twelve of the pool's 140 images stand for six, by a reference that knows no others; two are trusted."""
    workspace, loop = Workspace(tmp_path), start(seed=SEED)
    uids = list(loop.data.uids)
    for name, some in (("pool", uids[:140]), ("reference", uids[140:])):
        uid_files.save(_made(workspace.version(name)) / "uids.npy", some)
        CurationFlops({name: 10}, {}).write(workspace.version(name))
    params = replace(start.params, reference=replace(start.params.reference, backbone="test_resnet"))
    known, spent = torch.linspace(1, 0, 140), {"train": 100, "score": 20}
    record = Record.of(params, "supervised", loop.data.classes, spent)
    write_record(workspace.reference("supervised"), record, loop.objective, uids[:140], Judged(known))
    policy = Policy(criterion, filter_ratio=0.5, scorer="learner")
    paths = ArmPaths(criterion, reference="results/reference/models/supervised")
    arm = Arm("p", "supervised", "test_resnet", SEED, "pool+reference", [0.75, 0.25], "pool", dvc=paths)
    more = {"policies": {"p": policy}, "methods": {"supervised": start.recipe("supervised")}}
    params = replace(start.params, **more, pretrain=Pretrain(1e12))
    made = build_selection(params, arm, workspace, loop.fabric, loop.objective, loop.data)
    indices = made.selector.indices(0)
    picked = made.selector.pick(loop.module, indices, loop.data.pixels.get(indices), 0, loop.fabric.device)
    judged = picked.indices < 140
    assert ((indices < 140).sum(), judged.sum(), (~judged).sum()) == (12, 6, 2)
    torch.testing.assert_close(picked.reference_loss[judged], known[picked.indices[judged]])
    assert picked.reference_loss[~judged].isnan().all()
    whole = step_flops(loop.objective, params.methods["supervised"], policy, loop.data)
    assert made.step.train == whole.train
    assert made.step.score * 16 == whole.score * 12


@pytest.mark.slow
def test_without_shares_a_union_is_one_version(unions, start):
    """Drawn as any version is; an image that both versions hold is there once."""
    selector, count = unions(None).selector, len(start.examples("supervised"))
    epoch = np.concatenate([selector.indices(step) for step in range(count // BATCH)]).tolist()
    assert len(epoch) == len(set(epoch)) == count // BATCH * BATCH


@pytest.mark.slow
def test_a_union_pays_for_both_and_once_for_the_reference_that_made_both(unions):
    charge = unions(None).charge
    assert (charge.curate, charge.reference) == (1000 + 200 - 60, 0)


@pytest.mark.slow
def test_a_version_that_cannot_fill_its_share_is_drawn_more_than_once(unions, start, monkeypatch):
    """62 of 64 candidates from fewer examples: each of these once before any of them again."""
    monkeypatch.setattr("tests.loops.BATCH", 64)
    held = len(start.examples("supervised")) - 140
    drawn = unions([0.03, 0.97]).selector.indices(0)
    times = np.bincount(drawn[drawn >= 150], minlength=140 + held)[150:]
    assert len(drawn) == 64
    assert times.sum() >= 62 - 2 * 10  # the ten that both versions hold may stand for either
    assert {62 // held, -(-62 // held)} >= set(times.tolist())
