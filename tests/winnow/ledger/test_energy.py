"""Energy with its source and its quality, never 0 for unknown."""

import time

import pytest

from winnow.config.schema import Carbon
from winnow.ledger.energy import EnergyMeter


@pytest.mark.slow
def test_a_measured_stage_has_energy_its_source_and_its_quality():
    meter = EnergyMeter(Carbon(country="DEU", pue=1.5))
    time.sleep(3)
    energy = meter.stop()
    assert energy.kwh is not None
    assert energy.kwh > 0
    assert energy.quality in {"counter", "estimated"}
    # Origin of 380.95: codecarbon's global_energy_mix.json, Germany, 2023.
    assert energy.details["intensity_g_per_kwh"] == pytest.approx(380.95, rel=1e-3)
    assert energy.gco2e == pytest.approx(energy.kwh * 380.95, rel=1e-3)
    assert "global_energy_mix.json" in energy.details["intensity_source"]
    assert energy.seconds >= 3
    assert meter.so_far().kwh >= energy.kwh  # which may still be read when the tracker has stopped
    assert energy.details["watts"]["ram"] > 0
    assert energy.details["tool"].startswith("codecarbon ")


@pytest.mark.slow
def test_the_users_own_intensity_and_the_world_average_are_named_as_such():
    forced = EnergyMeter(Carbon(country="DEU", intensity=100.0))
    world = EnergyMeter(Carbon())
    time.sleep(3)
    one, two = forced.stop(), world.stop()
    assert one.gco2e == pytest.approx(one.kwh * 100.0, rel=1e-6)
    assert "params.yaml" in one.details["intensity_source"]
    assert two.details["intensity_g_per_kwh"] == pytest.approx(475.0)  # codecarbon's world average
    assert "world average" in two.details["intensity_source"]


def test_what_cannot_be_measured_is_unknown_and_not_zero(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "codecarbon", None)  # as where it is not installed
    energy = EnergyMeter(Carbon()).stop()
    assert energy.kwh is None
    assert energy.gco2e is None
    assert energy.quality == "unknown"
