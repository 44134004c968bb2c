"""gCO2e per kWh without running the tracker: the same that the tracker itself applies."""

import pytest

from winnow.config.schema import Carbon
from winnow.ledger.energy import EnergyMeter
from winnow.ledger.intensity import COUNTRY_SOURCE, WORLD_SOURCE, carbon_intensity, intensity_source


def test_what_params_say_is_taken():
    given = Carbon(intensity=20.0)
    assert (carbon_intensity(given), intensity_source(given)) == (20.0, "params.yaml: carbon.intensity")


@pytest.mark.parametrize(
    ("country", "expected", "source"),
    [  # codecarbon 3.3's tables; DEU: carbon_intensity in global_energy_mix.json
        ("WORLD", 475.0, WORLD_SOURCE),
        ("DEU", 380.95, COUNTRY_SOURCE),
    ],
)
def test_else_codecarbons_table(country, expected, source):
    found = Carbon(country=country)
    assert carbon_intensity(found) == pytest.approx(expected)
    assert intensity_source(found) == source


@pytest.mark.slow
def test_the_tracker_applies_the_same():
    measured = EnergyMeter(Carbon()).stop()
    assert measured.details["intensity_g_per_kwh"] == pytest.approx(carbon_intensity(Carbon()))
