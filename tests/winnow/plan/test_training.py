"""What one training costs, what a budget buys, and that the two are inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.config.errors import ParamsError
from winnow.config.schema import Method
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import LEAST, MOST, Amount
from winnow.plan.rates import Rates
from winnow.plan.training import UNITS, Training, of_settings
from winnow.selection.cost import StepFlops

CONF = Workspace.find().conf
RATES = Rates(1e9, 100.0, 1.5, 475.0)
SMALL = Training("small", StepFlops(30, 70), Method(8), 16, Amount(1000))


def spent(training: Training, steps: int) -> dict[str, float]:
    """In every unit."""
    flops = training.flops(steps)
    kwh = RATES.kwh(RATES.seconds(flops))
    return {"budget": flops, "seconds": RATES.seconds(flops), "kwh": kwh, "gco2e": RATES.gco2e(kwh)}


@given(
    st.integers(0, 10**12),
    st.integers(1, 10**15),
    st.integers(0, 10**18),
    st.integers(1, 10**6),
    st.sampled_from(list(UNITS)),
)
def test_what_steps_cost_buys_these_steps(score, train, charged, steps, unit):
    """The inverse of the cost, whatever the unit; one step must be more than the rounding of all of them."""
    training = Training("any", StepFlops(score, train), Method(8), 8, Amount(charged))
    if (score + train) * 1e10 > training.flops(steps):
        assert training.steps_for(unit, spent(training, steps)[unit], RATES) == Amount(steps)


def test_a_budget_pays_what_is_charged_and_then_steps():
    """1000 are charged and a step is 100: 1799 FLOPs are 7 steps, and 1 ns is one FLOP here."""
    assert SMALL.flops(7) == 1700
    assert SMALL.steps_for("budget", 1799, RATES) == Amount(7)
    assert SMALL.steps_for("seconds", 1799e-9, RATES) == Amount(7)


def test_a_bound_on_what_is_charged_bounds_the_steps():
    training = Training("bounded", StepFlops(30, 70), Method(8), 16, Amount(1000, MOST))
    assert training.steps_for("budget", 1799, RATES) == Amount(7, LEAST)


def test_a_held_encoder_makes_the_first_steps_cheaper():
    held = Training("held", StepFlops(0, 90, held=30), Method(8, freeze=0.5), 8)
    assert held.flops(10) == 5 * 30 + 5 * 90
    assert held.steps_for("budget", 600, RATES) == Amount(10)


def test_an_epoch_is_a_pass_through_the_candidates():
    """Of 100 images a step draws 16: six steps, and four images are left over."""
    assert SMALL.steps_of(3, 100) == 18
    assert SMALL.epochs(18, 100) == 3


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: SMALL.steps_of(1, 15), "--images: 15, and a step draws 16"),
        (lambda: SMALL.steps_of(0.1, 100), "--epochs: 0.1 of 100 images is no step"),
        (lambda: SMALL.steps_for("kwh", 1e-30, RATES), "--kwh: 1e-30 is .* ends at 1100; give more"),
        (lambda: SMALL.steps_for("gco2e", 1, Rates(1, 1, 1, 0.0)), "--gco2e: the electricity has 0"),
        (lambda: settings("supervized", "resnet18"), "--method: 'supervized' is unknown"),
        (lambda: settings("supervised", "resnet19"), "--backbone: 'resnet19' is no timm model; .*resnet18"),
        (
            lambda: settings("dino", "vit_base_patch16_224", 100),
            "--backbone: dino of vit_base_patch16_224 at 100 px: patches",
        ),
    ],
)
def test_a_mistake_is_one_line(call, expected):
    with pytest.raises(ParamsError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)


def settings(method, backbone, size=None, batch=None, classes=1000):
    return of_settings(CONF, method, backbone, size, batch, classes)


def test_a_vit_costs_three_times_its_published_forward():
    """ViT-B/16 at 224 px: 17.6 GMACs an image (timm's table), so 300 epochs of ImageNet are 4.06e19 FLOPs."""
    training = settings("supervised", "vit_base_patch16_224")
    images = 300 * (1_281_167 // 128 * 128)
    assert training.flops(training.steps_of(300, 1_281_167)) == pytest.approx(
        3 * 2 * 17.6e9 * images, rel=0.01
    )


def test_a_resnet_costs_three_times_its_published_forward():
    """resnet50 at 224 px: 4.09 GMACs (torchvision's table); its first layer computes no input gradient."""
    training = settings("supervised", "resnet50", batch=64)
    first = 2 * 112 * 112 * 64 * 3 * 49
    assert training.step == StepFlops(0, training.step.train)
    assert training.step.train == pytest.approx(64 * (6 * 4.09e9 - first), rel=0.005)


@pytest.mark.slow
def test_a_file_of_conf_is_taken_with_its_size_and_settings():
    """ViT-Ti with patch 8 at 64 px: 0.73 GFLOP an image, as the file says."""
    training = settings("supervised", "vit_tiny_patch8_64", classes=10)
    assert training.label == "supervised of vit_tiny_patch8_64, views image 1 x 64 px, batch 128"
    assert training.step.train == pytest.approx(128 * 3 * 0.73e9, rel=0.02)
    larger = settings("supervised", "vit_tiny_patch8_64", size=128, classes=10)
    assert larger.step.train > 4 * training.step.train
