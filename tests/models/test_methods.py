"""Methods against lightly (NT-Xent, DINO), open_clip (CLIP) and brute force (the sigmoid loss)."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from models import methods
from models.encoders import create
from models.heads import Projected, described, from_description
from models.methods import Batch, dino, siglip, simclr

NAN = float("nan")
SIZES = {
    "supervised": {"image": 1},
    "simclr": {"image": 2},
    "siglip": {"image": 1},
    "clip": {"image": 1},
    "dino": {"global": 2, "local": 3},
}
SMALL = {
    "supervised": {},
    "simclr": {"hidden": 16, "out": 8},
    "siglip": {"embed": 8, "text_width": 16, "text_heads": 2, "context": 8},
    "clip": {"embed": 8, "text_width": 16, "text_heads": 2, "context": 8},
    "dino": {"hidden": 16, "bottleneck": 8, "prototypes": 12},
}


def build(name):
    torch.manual_seed(0)
    module = methods.load(name)
    return module.Method(create("test_resnet", 28), module.Config(**SMALL[name]), 10)


def batch(name, count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(view):
        side = 16 if view == "local" else 28
        return torch.randn(count, 3, side, side, generator=generator)

    views = {view: [draw(view) for _ in range(n)] for view, n in SIZES[name].items()}
    tokens = torch.randint(1, 400, (count, 8), generator=generator)
    return Batch(views, torch.arange(count) % 10, tokens if name in ("siglip", "clip") else None)


@pytest.mark.parametrize("name", SIZES)
def test_loss_is_one_number_per_example_and_its_gradient_reaches_the_encoder(name):
    """Expected: the finite difference along a random direction of the encoder's first layer, in float64."""
    method, given = build(name).double().eval(), batch(name)
    given.views = {view: [draw.double() for draw in draws] for view, draws in given.views.items()}
    losses = method(given).example
    assert losses.shape == (6,)
    losses.mean().backward()
    weight = next((method.student["encoder"] if name == "dino" else method.encoder).parameters())
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    slope = float((weight.grad * direction).sum())
    values = []
    with torch.no_grad():
        for step in (1e-8, -2e-8):  # small, so that few ReLUs change sides
            weight.add_(step * direction)
            values.append(float(method(given).example.mean()))
    assert (values[0] - values[1]) / 2e-8 == pytest.approx(slope, rel=1e-3)
    assert abs(slope) > 1e-4


@pytest.mark.parametrize("name", SIZES)
def test_eval_mode_changes_nothing(name):
    """Scoring must not disturb the learner: buffers, BatchNorm statistics and torch's RNG stay."""
    method = build(name).eval()
    before, rng = copy.deepcopy(method.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        method(batch(name))
    assert all(torch.equal(before[k], v) for k, v in method.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())


@pytest.mark.parametrize("name", ["supervised", "dino"])
def test_losses_without_pairs_do_not_depend_on_the_batch_in_eval_mode(name):
    method, whole = build(name).eval(), batch(name)
    part = Batch({k: [v[:2] for v in views] for k, views in whole.views.items()}, whole.labels[:2])
    torch.testing.assert_close(method(whole).example[:2], method(part).example)


@pytest.mark.parametrize("name", ["siglip", "simclr", "clip"])
def test_logits_are_computed_in_float32_where_autocast_gives_less(name):
    with torch.autocast("cpu", torch.bfloat16):
        assert build(name).eval()(batch(name)).pair.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("supervised", {"label_smoothing": 1.0}, "label_smoothing: 1.0 is out of range"),
        ("supervised", {"label_smoothing": NAN}, "label_smoothing: nan is out of range"),
        ("simclr", {"temperature": 0.0}, "temperature: 0.0 is out of range"),
        ("simclr", {"temperature": NAN}, "temperature: nan is out of range"),
        ("siglip", {"temperature": -1.0}, "temperature: -1.0 is out of range"),
        ("clip", {"temperature": math.inf}, "temperature: inf is out of range"),
        ("clip", {"text_layers": 0}, "text_layers: 0 is out of range"),
        ("siglip", {"text_width": 64, "text_heads": 3}, "text_width: 64 is not divisible by text_heads 3"),
        ("dino", {"alpha": 1.1}, "alpha: 1.1 is out of range"),
        ("dino", {"student_temperature": 0.0}, "student_temperature: 0.0 is out of range"),
        ("dino", {"teacher_temperature": [0.04]}, "teacher_temperature: .* is wrong"),
        ("dino", {"teacher_temperature": [0.04, NAN]}, "teacher_temperature: .* is wrong"),
        ("dino", {"teacher_momentum": 1.5}, "teacher_momentum: 1.5 is out of range"),
    ],
)
def test_settings_that_cannot_work_are_refused(name, settings, says):
    with pytest.raises(ValueError, match=says):
        methods.load(name).Config(**settings)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_is_lightlys(temperature):
    lightly = pytest.importorskip("lightly.loss")
    z = F.normalize(torch.randn(10, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    method = simclr.Method(create("test_resnet", 28), simclr.Config(temperature), 10)
    ours = method.compare(z[:5], z[5:]).example
    assert ours.shape == (5,)
    # Oracle: lightly.loss.NTXentLoss, which gives the mean over all views.
    theirs = lightly.NTXentLoss(temperature=temperature)(z[:5], z[5:])
    torch.testing.assert_close(ours.mean(), theirs)


def test_clip_is_open_clips():
    """Oracle: open_clip.loss.ClipLoss, which gives the mean over the batch."""
    from open_clip.loss import ClipLoss

    method, given = build("clip").eval(), batch("clip")
    losses = method(given)
    theirs = ClipLoss()(*method.embed(given), method.log_temperature.exp())
    torch.testing.assert_close(losses.example.mean(), theirs)
    torch.testing.assert_close(losses.pair, method.pairs(*method.embed(given)))


@pytest.mark.parametrize("name", ["siglip", "simclr", "clip"])
def test_what_pairs_say_is_what_the_losses_hold(name):
    """The reference keeps embeddings and makes pairs of them later: that must be the forward's own matrix."""
    method, given = build(name).eval(), batch(name)
    torch.testing.assert_close(method.pairs(*method.embed(given)), method(given).pair)


@pytest.mark.parametrize("name", SIZES)
def test_the_projection_head_is_that_of_the_exported_encoder(name):
    """Arguments from the papers: SimCLR's two layers, DINO's two hidden ones; the others have none of two."""
    method = build(name)
    head = method.projection()
    assert methods.has_projection(name) == (head is not None) == (name in ("simclr", "dino"))
    if head is not None:
        assert sum(isinstance(layer, torch.nn.Linear) for layer in head) == 2
        top = Projected(method.exported(), head).eval()
        images = torch.randn(3, 3, 28, 28)
        assert top(images).shape == (3, top.num_features)
        assert described(from_description(described(head))) == described(head)


@pytest.mark.parametrize("name", SIZES)
def test_a_batch_in_parts_is_the_batch(name):
    """In eval mode, where BatchNorm does not depend on the batch; pairs reach across the parts."""
    method, whole = build(name).eval(), batch(name)

    def part(cut):
        tokens = None if whole.tokens is None else whole.tokens[cut]
        return Batch(
            {k: [v[cut] for v in views] for k, views in whole.views.items()}, whole.labels[cut], tokens
        )

    torch.testing.assert_close(method(part(slice(0, 2)), part(slice(2, 6))).example, method(whole).example)


def test_sigmoid_pairs_by_brute_force():
    generator = torch.Generator().manual_seed(2)
    images, texts = (F.normalize(torch.randn(4, 6, generator=generator), dim=1) for _ in range(2))
    pair = siglip.sigmoid_pairs(images, texts, torch.tensor(10.0), torch.tensor(-10.0))
    for i in range(4):
        for j in range(4):
            y = 1 if i == j else -1
            logit = 10.0 * float(images[i] @ texts[j]) - 10.0
            assert float(pair[i, j]) == pytest.approx(math.log1p(math.exp(-y * logit)), rel=1e-4)


def test_siglip_starts_at_the_papers_temperature_and_bias():
    method = build("siglip")  # t = 10 and b = -10: SigLIP, section 3.2
    assert method.log_temperature.exp().item() == pytest.approx(10.0)
    assert method.bias.item() == -10.0


def probabilities(count, seed):
    return F.softmax(torch.randn(count, 5, 7, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("locals_", [6, 10])
def test_alpha_of_one_over_one_plus_locals_is_the_mean_over_all_pairs(locals_):
    """DINO's plain mean is over N_g (N_g - 1 + N_l) terms."""
    teacher, student = list(probabilities(2, 0)), list(probabilities(2 + locals_, 1).log())
    terms = [-(t * s).sum(-1) for i, t in enumerate(teacher) for j, s in enumerate(student) if i != j]
    assert len(terms) == 2 * (1 + locals_)
    plain = torch.stack(terms).mean(0)
    torch.testing.assert_close(dino.weighted(teacher, student, 2, None), plain)
    torch.testing.assert_close(dino.weighted(teacher, student, 2, 1 / (1 + locals_)), plain)


def test_alpha_weighs_global_and_local_means():
    teacher, student = list(probabilities(2, 0)), list(probabilities(5, 1).log())
    near = torch.stack([-(teacher[i] * student[j]).sum(-1) for i, j in ((0, 1), (1, 0))]).mean(0)
    far = torch.stack([-(teacher[i] * student[j]).sum(-1) for i in (0, 1) for j in (2, 3, 4)]).mean(0)
    torch.testing.assert_close(dino.weighted(teacher, student, 2, 0.4), 0.4 * near + 0.6 * far)


def test_dino_loss_is_lightlys():
    lightly = pytest.importorskip("lightly.loss")
    method = build("dino").train()
    method.config.alpha = None
    data = batch("dino")
    with torch.no_grad():
        teacher = method._logits(method.teacher, data.views["global"])
        student = [one for v in ("global", "local") for one in method._logits(method.student, data.views[v])]
        ours = method(data).example.mean()
    # Oracle: lightly's DINOLoss at a constant teacher temperature, with a centre of zero as before a step.
    oracle = lightly.DINOLoss(output_dim=12, teacher_temp=0.04, warmup_teacher_temp=0.04, student_temp=0.1)
    torch.testing.assert_close(ours, oracle(teacher, student, epoch=0), rtol=1e-4, atol=1e-5)


def test_dino_teacher_follows_on_a_cosine_and_is_never_trained():
    method = build("dino").train()
    assert not any(p.requires_grad for p in method.teacher.parameters())
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    before = [p.clone() for p in method.teacher.parameters()]
    method.after_step(0.5)  # momentum = 1 - (1 - 0.996) * (cos(pi / 2) + 1) / 2 = 0.998
    for old, new, student in zip(
        before, method.teacher.parameters(), method.student.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.998 * old + 0.002 * student)
    assert float(method.temperature) == pytest.approx(0.07)  # risen fully after a quarter of the steps
    method.after_step(1.0)  # momentum 1: the teacher stands still
    after = [p.clone() for p in method.teacher.parameters()]
    method.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(after, method.teacher.parameters(), strict=True))
