"""gCO2e per kWh by the section `carbon` of params.yaml, from codecarbon's tables and without its tracker."""

import logging

from winnow.config.schema import Carbon

WORLD = "WORLD"
WORLD_SOURCE = "world average of codecarbon's carbon_intensity_per_source.json"
COUNTRY_SOURCE = "energy mix of the country in codecarbon's global_energy_mix.json"


def carbon_intensity(carbon: Carbon) -> float:
    """gCO2e per kWh, without PUE: that of params.yaml, else codecarbon's of the country."""
    if carbon.intensity is not None:
        return carbon.intensity
    logging.getLogger("codecarbon").disabled = True
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    data = DataSource()
    if carbon.country == WORLD:
        return float(data.get_carbon_intensity_per_source_data()["world_average"])
    place = GeoMetadata(country_iso_code=carbon.country)
    return 1000.0 * float(Emissions(data).get_country_emissions(Energy.from_energy(kWh=1.0), place))


def intensity_source(carbon: Carbon) -> str:
    """Where that number is from."""
    if carbon.intensity is not None:
        return "params.yaml: carbon.intensity"
    return WORLD_SOURCE if carbon.country == WORLD else COUNTRY_SOURCE
