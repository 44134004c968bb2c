"""`winnow plan` and `winnow cost` as they are typed: what they print, and one line for a mistake."""

import shutil

import pytest
import yaml

from winnow.config.plugins import CODE

TWO_CORES = ("--hardware", "two_cores")
RESNET = ("cost", "--method", "supervised", "--backbone", "resnet18", "--image-size", "32", "--classes", "10")


def numbers(output: str) -> dict[str, str]:
    """What stands behind each name."""
    return dict(line.split(maxsplit=1) for line in output.splitlines() if len(line.split(maxsplit=1)) == 2)


@pytest.mark.slow
def test_a_plan_has_a_row_for_every_arm_and_the_constants(winnow, workspace):
    result = winnow("plan", *TWO_CORES)
    assert result.exit_code == 0, result.output
    for arm in yaml.safe_load(workspace.params.read_text())["arms"]:
        assert f"pretrain@{arm} " in result.output
    assert "two of the 96 cores of an AMD EPYC 9654" in result.output
    assert "475 gCO2e/kWh (world average" in result.output
    assert "of 0 stages measured on this machine" in result.output


@pytest.mark.slow
def test_a_plan_that_cannot_work_exits_with_1(winnow, workspace):
    params = yaml.safe_load(workspace.params.read_text())
    params["arms"]["supervised-hard"]["budget_share"] = 1e-9
    workspace.params.write_text(yaml.safe_dump(params))
    result = winnow("plan", *TWO_CORES)
    assert result.exit_code == 1
    assert "pretrain@supervised-hard: pretrain.budget: " in result.output
    assert "pretrain@supervised-uniform " in result.output


def test_a_cost_by_hand(winnow):
    """Ten steps at 76.8 GFLOP/s and 27.5 W; the world's electricity has 475 gCO2e/kWh."""
    shown = numbers(winnow(*RESNET, "--images", "1280", "--epochs", "1", *TWO_CORES).output)
    flops = float(shown["FLOPs"].split()[0])
    seconds = flops / 76.8e9
    assert shown["steps"] == "10 (1,280 images trained on, 1 epochs of 1,280 images)"
    assert float(shown["energy"].split()[0]) == pytest.approx(seconds * 27.5 / 3.6e6, rel=1e-3)
    assert float(shown["CO2e"].split()[0]) == pytest.approx(475 * seconds * 27.5 / 3.6e6, rel=1e-3)
    assert "assumed" in shown["utilisation"]


@pytest.mark.parametrize(("unit", "name"), [("budget", "FLOPs"), ("kwh", "energy"), ("gco2e", "CO2e")])
def test_what_it_costs_buys_it(winnow, unit, name):
    """But for the four digits that are printed: a fiftieth of a step more is given."""
    cost = numbers(winnow(*RESNET, "--images", "1280", "--epochs", "1", *TWO_CORES).output)
    amount = 1.002 * float(cost[name].split()[0])
    bought = numbers(winnow(*RESNET, f"--{unit}", str(amount), *TWO_CORES).output)
    assert bought["steps"] == "10 (1,280 images trained on)"


@pytest.mark.slow
def test_an_arm_spends_its_budget_and_pays_for_its_reference(winnow, workspace):
    params = yaml.safe_load(workspace.params.read_text())
    shown = numbers(winnow("cost", "supervised-easy", *TWO_CORES).output)
    assert "FLOPs before the first step" in shown["charged"]
    spent = float(shown["FLOPs"].split()[0].lstrip("~"))
    assert 0 < spent <= params["pretrain"]["budget"]
    twice = str(2 * params["pretrain"]["budget"])
    more = numbers(winnow("cost", "supervised-easy", "--budget", twice, *TWO_CORES).output)
    assert float(more["FLOPs"].split()[0].lstrip("~")) > spent


def test_params_say_the_carbon_intensity_and_the_pue(winnow, workspace):
    params = yaml.safe_load(workspace.params.read_text())
    params["carbon"] |= {"intensity": 20.0, "pue": 1.2}
    workspace.params.write_text(yaml.safe_dump(params))
    shown = numbers(winnow(*RESNET, "--budget", "1e12", *TWO_CORES).output)
    assert shown["carbon"] == "20 gCO2e/kWh (params.yaml: carbon.intensity)"
    assert shown["PUE"] == "1.2 (params.yaml: carbon.pue)"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "--hardware", "h1000"], "--hardware: 'h1000' is unknown; did you mean h100?"),
        (["cost", "supervised-eazy"], "ARM: 'supervised-eazy' is unknown; did you mean supervised-easy?"),
        (["cost", "--backbone", "resnet18"], "--method: not given; give it, or name an ARM"),
        (["cost", "--method", "dyno", "--backbone", "resnet18", "--budget", "1"], "--method: 'dyno'"),
        ([*RESNET], "--epochs: not given; give it, or one of --budget, --seconds, --kwh, --gco2e"),
        ([*RESNET, "--epochs", "1"], "--images: not given, and --epochs needs it"),
        ([*RESNET, "--epochs", "1", "--kwh", "1"], "--kwh: given beside --epochs; give one of them"),
        ([*RESNET, "--budget", "1"], "--budget: 1 is 1 FLOPs, and the first step ends at"),
        ([*RESNET, "--budget", "1e12", "--precision", "fp8"], "run.precision: 'fp8' is unknown"),
        (["cost", "supervised-easy", "--method", "dino"], "--method: given beside ARM supervised-easy"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(winnow, arguments, expected):
    hardware = () if "--hardware" in arguments else TWO_CORES
    result = winnow(*arguments, *hardware)
    assert expected in result.output
    assert result.output.count("\n") == 1
    assert result.exit_code == 2


def test_a_project_without_conf_hardware_has_the_presets_of_the_code(winnow, workspace):
    assert not workspace.conf.exists()
    assert winnow(*RESNET, "--budget", "1e15", "--hardware", "h200").exit_code == 0
    (workspace.conf / "hardware").mkdir(parents=True)
    shutil.copy(CODE / "conf/hardware/h100.yaml", workspace.conf / "hardware/mine.yaml")
    assert "mine: one NVIDIA H100" in winnow(*RESNET, "--budget", "1e15", "--hardware", "mine").output
