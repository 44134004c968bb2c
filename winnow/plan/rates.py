"""From FLOPs to seconds, kWh and gCO2e, and back, with where each constant is from.

seconds = FLOPs / (peak x utilisation); kWh = watts x PUE x seconds / 3.6e6; gCO2e = kWh x carbon intensity.
"""

from dataclasses import dataclass

from winnow.config.schema import Carbon
from winnow.ledger.intensity import carbon_intensity, intensity_source
from winnow.plan.hardware import Hardware
from winnow.report.page import numbers

JOULES = 3.6e6  # of a kWh


@dataclass(frozen=True)
class Rates:
    """`flops_per_second` and `watts` of one machine, the `pue` of its building, and the gCO2e per kWh of its
    electricity.
    """

    flops_per_second: float
    watts: float
    pue: float
    intensity: float

    @classmethod
    def of(cls, hardware: Hardware, precision: str, carbon: Carbon) -> "Rates":
        """By a preset and the section `carbon` of params.yaml.

        Raises:
            ParamsError: if the preset has no peak of this precision.
        """
        reached = hardware.flops_per_second(precision)
        return cls(reached, hardware.watts, carbon.pue, carbon_intensity(carbon))

    def seconds(self, flops: float) -> float:
        return flops / self.flops_per_second

    def kwh(self, seconds: float) -> float:
        return seconds * self.watts * self.pue / JOULES

    def gco2e(self, kwh: float) -> float:
        return kwh * self.intensity

    def flops_in(self, unit: str, amount: float) -> float:
        """How many FLOPs an amount of a unit buys: `flops`, `seconds`, `kwh` or `gco2e`.

        Raises:
            KeyError: for another unit.
            ZeroDivisionError: for gCO2e where the electricity has none.
        """
        if unit == "flops":
            return amount
        one = {"seconds": 1.0, "kwh": self.kwh(1.0), "gco2e": self.gco2e(self.kwh(1.0))}[unit]
        return amount / one * self.flops_per_second


def assumptions(name: str, hardware: Hardware, precision: str, carbon: Carbon) -> list[tuple[str, str]]:
    """Each constant of an estimate: its name, and its value with where it is from."""
    peak, reached = hardware.peak[precision], hardware.flops_per_second(precision)
    return [
        ("hardware", f"{name}: {hardware.about}"),
        ("throughput", f"{_rate(reached)}, the peak times the utilisation"),
        ("peak", f"{_rate(peak)} at {precision} ({hardware.peak_source})"),
        ("utilisation", f"{hardware.utilisation:g} ({hardware.utilisation_source})"),
        ("power", f"{hardware.watts:g} W ({hardware.watts_source})"),
        ("PUE", f"{carbon.pue:g} (params.yaml: carbon.pue)"),
        ("carbon", f"{carbon_intensity(carbon):.4g} gCO2e/kWh ({intensity_source(carbon)})"),
    ]


def _rate(flops: float) -> str:
    factor, prefix = numbers.scale(flops)
    return f"{flops / factor:.4g} {prefix}FLOP/s"
