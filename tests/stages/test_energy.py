"""The ledger: energy with its quality, never 0 for unknown, and FLOPs by purpose."""

import time

import pytest

from stages.ledger.cost import cost_record
from stages.ledger.energy import Energy, EnergyMeter, countries
from stages.params import Carbon


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


def test_cost_record_adds_up_and_refuses_an_unknown_purpose():
    energy = Energy(1.0, None, None, "unknown", {})
    record = cost_record("pretrain@a", {"score": 3, "train": 4}, energy, {})
    assert record["flops"] == {"curate": 0, "reference": 0, "score": 3, "train": 4, "evaluate": 0, "total": 7}
    with pytest.raises(ValueError, match="'scoring' is unknown; allowed: curate, reference, score, train, evaluate"):
        cost_record("x", {"scoring": 1}, energy, {})


def test_countries_are_iso_codes():
    assert {"WORLD", "DEU", "FRA", "USA"} <= set(countries())
