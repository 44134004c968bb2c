"""Presets of hardware, and what turns FLOPs into seconds, kWh and gCO2e."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.config.errors import ParamsError
from winnow.config.schema import Carbon
from winnow.pipeline.workspace import Workspace
from winnow.plan.hardware import load_hardware, preset_of, presets
from winnow.plan.rates import Rates, assumptions

CONF = Workspace.find().conf
amounts = st.floats(1e-6, 1e9)


@pytest.mark.parametrize(
    ("name", "fp32", "bf16", "watts"),
    [  # the vendors' data sheets, named in the files: TFLOP/s, dense; watts
        ("two_cores", 2 * 2.4e9 * 32 / 1e12, 2 * 2.4e9 * 64 / 1e12, 360 * 2 / 96 + 20),
        ("a100", 19.5, 312, 400),
        ("h100", 67, 1979 / 2, 700),
        ("h200", 67, 1979 / 2, 700),
    ],
)
def test_presets_are_the_data_sheets(name, fp32, bf16, watts):
    hardware = load_hardware(name, CONF)
    assert hardware.peak["32-true"] == pytest.approx(fp32 * 1e12)
    assert hardware.peak["bf16-mixed"] == pytest.approx(bf16 * 1e12, rel=1e-3)
    assert hardware.watts == pytest.approx(watts)


def test_every_preset_says_where_its_numbers_are_from():
    for name in presets(CONF):
        hardware = load_hardware(name, CONF)
        assert all((hardware.peak_source, hardware.utilisation_source, hardware.watts_source))
        assert "assumed" in hardware.utilisation_source


def test_a_project_adds_presets_and_replaces_ours(tmp_path):
    folder = tmp_path / "hardware"
    folder.mkdir()
    ours = (CONF / "hardware/two_cores.yaml").read_text()
    (folder / "mine.yaml").write_text(ours.replace("27.5", "9.0"))
    assert load_hardware("mine", tmp_path).watts == 9.0
    assert load_hardware("a100", tmp_path).watts == 400.0


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("h1000", None, "--hardware: 'h1000' is unknown; did you mean h100?"),
        ("mine", "watts: 3", "about"),
        ("mine", "about: a\npeak_source: b\nutilisation_source: c\nwatts_source: d", "give FLOP/s above 0"),
        ("mine", "power: 3", "conf/hardware/mine.yaml.power: not a key"),
    ],
)
def test_a_wrong_preset_is_one_line(tmp_path, name, text, expected):
    if text is not None:
        (tmp_path / "hardware").mkdir()
        (tmp_path / "hardware" / f"{name}.yaml").write_text(text)
    with pytest.raises(ParamsError, match=expected) as caught:
        load_hardware(name, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "expected"),
    [  # names as CUDA gives them
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA GeForce RTX 4090", None),
    ],
)
def test_a_gpu_is_found_by_its_name(device, expected):
    assert preset_of(device, CONF) == expected


def test_time_energy_and_carbon_by_hand():
    """1e12 FLOPs at 153.6e9 x 0.5 are 13.02 s; at 27.5 W with PUE 1.2 0.1194 Wh; at 20 g/kWh 2.387 mg."""
    carbon = Carbon(intensity=20.0, pue=1.2)
    rates = Rates.of(load_hardware("two_cores", CONF), "32-true", carbon)
    seconds = rates.seconds(1e12)
    assert seconds == pytest.approx(13.0208, rel=1e-5)
    assert rates.kwh(seconds) == pytest.approx(1.19358e-4, rel=1e-5)
    assert rates.gco2e(rates.kwh(seconds)) == pytest.approx(2.38715e-3, rel=1e-5)


@given(amounts, amounts, st.floats(1, 3), amounts, st.floats(1, 1e20))
def test_every_unit_buys_what_it_costs(throughput, watts, pue, intensity, flops):
    rates = Rates(throughput, watts, pue, intensity)
    seconds = rates.seconds(flops)
    kwh = rates.kwh(seconds)
    spent = {"flops": flops, "seconds": seconds, "kwh": kwh, "gco2e": rates.gco2e(kwh)}
    for unit, amount in spent.items():
        assert rates.flops_in(unit, amount) == pytest.approx(flops, rel=1e-12)


def test_every_constant_is_told_with_its_source():
    hardware = load_hardware("h100", CONF)
    told = dict(assumptions("h100", hardware, "bf16-mixed", Carbon()))
    assert told["throughput"].startswith("346.1 TFLOP/s")
    for name, source in (("peak", hardware.peak_source), ("power", hardware.watts_source)):
        assert source in told[name]
    assert "475 gCO2e/kWh (world average" in told["carbon"]
