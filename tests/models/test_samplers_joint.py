"""Joint samplers, for sigmoid and for softmax losses, against sums and formulas written out here."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import samplers


def pair_scores(count, seed, scale=1.0):
    """(B, B) multiples of scale / 8, a power of two, so that every order of summing gives the same float."""
    return torch.randint(-40, 41, (count, count), generator=torch.Generator().manual_seed(seed)) * (scale / 8)


def in_chunks(score_of, count, k, chunks, seed):
    """Draws in drawing order, with `score_of(i, chosen)` evaluated for every candidate and chunk; noise as
    documented.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for _ in range(chunks):
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
        noisy = {
            i: score_of(i, chosen) - math.log(-math.log(uniform[i])) for i in range(count) if i not in chosen
        }
        chosen = chosen + sorted(noisy, key=noisy.__getitem__, reverse=True)[: k // chunks]
    return chosen


def increase(scores):
    """What i adds to the sum of S_ij over the chosen i, j: what JEST derives its conditional score from."""
    table = scores.tolist()

    def total(chosen):
        return sum(table[i][j] for i in chosen for j in chosen)

    return lambda i, chosen: total([*chosen, i]) - total(chosen)


def clip_score(learner, reference):
    """g_i of models.samplers.joint_softmax by its formula, with Python's exp and log."""

    def lse(values):
        return max(values) + math.log(sum(math.exp(value - max(values)) for value in values))

    def one(table, i, chosen):
        sides = [table[i][j] for j in chosen], [table[j][i] for j in chosen]
        return (sum(map(lse, sides)) / 2 if chosen else 0) - table[i][i]

    sides = [(sign, side.tolist()) for sign, side in ((1, learner), (-1, reference)) if side is not None]
    return lambda i, chosen: sum(sign * one(table, i, chosen) for sign, table in sides)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def possible(count):
    """(B, k, chunks) with chunks | k <= B."""
    return [(count, k, n) for k in range(1, count + 1) for n in range(1, k + 1) if k % n == 0]


sizes = st.integers(1, 10).flatmap(lambda count: st.sampled_from(possible(count)))
seeds = st.integers(0, 2**31)
scales = st.sampled_from([2.0**-4, 1.0, 2.0**10, 2.0**20])


@given(sizes, seeds, seeds, scales)
def test_joint_draws_by_what_a_candidate_adds_to_the_score_of_the_batch(size, matrix, seed, scale):
    count, k, chunks = size
    scores = pair_scores(count, matrix, scale)
    # Oracle: brute force over the sums, from scratch in every chunk.
    expected = in_chunks(increase(scores), count, k, chunks, seed)
    assert samplers.joint(scores, k, chunks, seeded(seed)).tolist() == sorted(expected)


@given(sizes, seeds, seeds, scales, st.sampled_from(["hard", "easy", "learnability"]))
def test_joint_softmax_draws_by_its_formula(size, matrix, seed, scale, criterion):
    count, k, chunks = size
    learner = None if criterion == "easy" else pair_scores(count, matrix, scale)
    reference = None if criterion == "hard" else pair_scores(count, matrix + 1, scale)
    expected = in_chunks(clip_score(learner, reference), count, k, chunks, seed)
    assert samplers.joint_softmax(learner, reference, k, chunks, seeded(seed)).tolist() == sorted(expected)


@pytest.mark.parametrize("form", ["joint", "joint_softmax"])
def test_the_drawing_order_is_kept_inside(form, monkeypatch):
    orders = []
    draw = samplers._draw_in_chunks
    monkeypatch.setattr(samplers, "_draw_in_chunks", lambda *args: orders.append(draw(*args)) or orders[-1])
    for seed in range(20):
        scores = pair_scores(9, seed)
        if form == "joint":
            samplers.joint(scores, 6, 3, seeded(seed))
            expected = in_chunks(increase(scores), 9, 6, 3, seed)
        else:
            samplers.joint_softmax(scores, None, 6, 3, seeded(seed))
            expected = in_chunks(clip_score(scores, None), 9, 6, 3, seed)
        assert orders[-1].tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize(("k", "chunks"), [(2, 2), (3, 3), (4, 2)])
def test_joint_frequencies_are_those_of_sequential_draws(k, chunks):
    scores, trials = pair_scores(5, seed=7, scale=0.25), 4_000
    score_of = increase(scores)
    # Exact: P(set) = sum over drawing orders of the product of exp(g) / (what is left), g fixed in a chunk.
    expected = {}
    for order in itertools.permutations(range(5), k):
        p = 1.0
        for at, i in enumerate(order):
            given_these = list(order[: at - at % (k // chunks)])
            left = [j for j in range(5) if j not in order[:at]]
            p *= math.exp(score_of(i, given_these)) / sum(math.exp(score_of(j, given_these)) for j in left)
        key = tuple(sorted(order))
        expected[key] = expected.get(key, 0) + p
    assert math.isclose(sum(expected.values()), 1)
    generator = seeded()
    counts = dict.fromkeys(expected, 0)
    for _ in range(trials):
        counts[tuple(samplers.joint(scores, k, chunks, generator).tolist())] += 1
    # 4 standard errors, and 1 draw for the rarest sets, which are not normal.
    for key, p in expected.items():
        assert abs(counts[key] - trials * p) < 4 * math.sqrt(trials * p * (1 - p)) + 1


@pytest.mark.slow
def test_joint_without_off_diagonals_has_the_frequencies_of_softmax():
    # Without off-diagonals every conditional score is the diagonal, so the chunks make no difference.
    diagonal, trials = torch.tensor([0.0, 1.0, 2.0, -1.0]), 4_000
    generators = seeded(0), seeded(1)
    counts = {key: [0, 0] for key in itertools.combinations(range(4), 2)}
    for _ in range(trials):
        counts[tuple(samplers.joint(diagonal.diag(), 2, 2, generators[0]).tolist())][0] += 1
        counts[tuple(samplers.softmax(diagonal, 2, generators[1]).tolist())][1] += 1
    for ours, theirs in counts.values():
        assert abs(ours - theirs) < 4 * math.sqrt(ours + theirs) + 1


@given(sizes, seeds, seeds)
def test_one_chunk_is_softmax_of_the_diagonal(size, matrix, seed):
    count, k, _ = size
    scores = torch.randn(count, count, generator=seeded(matrix))
    expected = samplers.softmax(scores.diagonal(), k, seeded(seed))
    assert torch.equal(samplers.joint(scores, k, 1, seeded(seed)), expected)
    assert torch.equal(samplers.joint_softmax(None, scores, k, 1, seeded(seed)), expected)
    hard = samplers.joint_softmax(scores / 2, None, k, 1, seeded(seed), inverse_temperature=2.0)
    assert torch.equal(hard, samplers.softmax(-scores.diagonal(), k, seeded(seed)))


@given(sizes, seeds, seeds)
def test_an_outer_difference_of_losses_has_nothing_joint(size, matrix, seed):
    # With S_ij = l_i - r_j (per-example losses), g_i = (chosen + 1)(l_i - r_i) + a constant.
    count, k, chunks = size
    learner, reference = pair_scores(count, matrix)[0], pair_scores(count, matrix + 1)[0]
    gap = (learner - reference).tolist()
    expected = in_chunks(lambda i, chosen: (len(chosen) + 1) * gap[i], count, k, chunks, seed)
    assert samplers.joint(learner[:, None] - reference, k, chunks, seeded(seed)).tolist() == sorted(expected)


def test_an_outer_difference_of_losses_ranks_like_learnability():
    learner, reference = torch.randn(2, 64, generator=seeded())
    # At this scale the noise decides nothing, and what is left of the draws is their ranking.
    picked = samplers.joint((learner[:, None] - reference).double() * 1e9, 16, 4, seeded())
    assert torch.equal(picked, samplers.top_k(learner - reference, 16))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, 1e30])
def test_joint_draws_are_finite_unique_and_counted_at_any_scale(scale):
    scores = torch.randn(300, 300, generator=seeded()) * scale
    for k, chunks in ((300, 4), (300, 1), (160, 16), (1, 1), (260, 2)):
        for picked in (
            samplers.joint(scores, k, chunks, seeded()),
            samplers.joint_softmax(scores, scores.T, k, chunks, seeded()),
            samplers.joint_softmax(scores, None, k, chunks, seeded(), inverse_temperature=0.0),
        ):
            assert picked.dtype == torch.int64
            assert picked.tolist() == sorted(set(picked.tolist()))
            assert len(picked) == k
            assert 0 <= picked.min() <= picked.max() < 300


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_joint_repeats_and_leaves_its_input_alone(dtype):
    scores = torch.randn(64, 64, generator=seeded()).to(dtype).requires_grad_()
    before = scores.detach().clone()
    picked = [samplers.joint(scores, 32, 4, seeded()) for _ in range(2)]
    assert torch.equal(*picked)
    picked = [samplers.joint_softmax(scores, scores.T, 32, 4, seeded()) for _ in range(2)]
    assert torch.equal(*picked)
    assert torch.equal(scores, before)


def test_joint_softmax_negatives_stay_stable_at_a_scale_that_exp_cannot_hold():
    # By hand: candidate 0 is drawn first (lowest logit by far). Given 0, candidate 1 has hard negatives of
    # logit 1e6 in both directions and candidate 2 none, which outweighs the 10 by which 2 is ahead:
    # g_1 = 1e6 - 10, g_2 = -1e6.
    logits = torch.tensor([[-1e6, 1e6, -1e6], [1e6, 10.0, 0.0], [-1e6, 0.0, 0.0]])
    assert samplers.joint_softmax(logits, None, 2, 2, seeded()).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_pairs_that_are_not_finite_are_refused(bad):
    scores = torch.zeros(4, 4)
    scores[2, 1] = bad
    with pytest.raises(ValueError, match="scores: not finite in rows \\[2\\]"):
        samplers.joint(scores, 2, 1, seeded())
    with pytest.raises(ValueError, match="reference: not finite in rows \\[2\\]"):
        samplers.joint_softmax(torch.zeros(4, 4), scores, 2, 1, seeded())


@pytest.mark.parametrize(
    ("k", "chunks", "message"),
    [
        (10, 4, "k: 10 is not divisible by chunks: 4; take chunks: 2 or k: 8$"),
        (2, 3, "k: 2 is not divisible by chunks: 3; take chunks: 2$"),
        (2, 0, "chunks: 0; allowed: 1 or more"),
        (0, 1, "allowed: 1 to 12"),
        (13, 1, "allowed: 1 to 12"),
    ],
)
def test_k_that_does_not_fit_its_chunks_is_refused_with_the_mend(k, chunks, message):
    with pytest.raises(ValueError, match=message):
        samplers.joint(torch.zeros(12, 12), k, chunks, seeded())
    with pytest.raises(ValueError, match=message):
        samplers.joint_softmax(torch.zeros(12, 12), None, k, chunks, seeded())


def test_what_is_no_pair_of_matrices_is_refused():
    with pytest.raises(ValueError, match="scores: shape \\(2, 3\\)"):
        samplers.joint(torch.zeros(2, 3), 1, 1, seeded())
    with pytest.raises(ValueError, match="scores: shape \\(3,\\)"):
        samplers.joint(torch.zeros(3), 1, 1, seeded())
    with pytest.raises(ValueError, match="both None"):
        samplers.joint_softmax(None, None, 1, 1, seeded())
    with pytest.raises(ValueError, match="reference: shape \\(3, 3\\); that of learner is \\(2, 2\\)"):
        samplers.joint_softmax(torch.zeros(2, 2), torch.zeros(3, 3), 1, 1, seeded())


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_an_inverse_temperature_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match="inverse_temperature: .*; allowed: 0 or more, finite"):
        samplers.joint_softmax(torch.zeros(2, 2), None, 1, 1, seeded(), inverse_temperature=value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_picks_the_same():
    scores = torch.randn(512, 512, generator=seeded())
    expected = samplers.joint(scores, 96, 8, seeded())
    assert torch.equal(samplers.joint(scores.cuda(), 96, 8, seeded()).cpu(), expected)
    expected = samplers.joint_softmax(scores, None, 96, 8, seeded())
    assert torch.equal(samplers.joint_softmax(scores.cuda(), None, 96, 8, seeded()).cpu(), expected)
