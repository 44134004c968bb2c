"""Energy and CO2e of a stage, by codecarbon's offline tracker, with a flag that says how far to trust them.

Quality, the worst of the parts that worked: `counter` (RAPL, and NVML where a GPU is used), `estimated` (a power model: thermal
design power scaled by load, a constant for memory), `unknown` (nothing measured: kWh is None, never 0).
Machine mode counts everything that ran on the machine meanwhile, so two stages run side by side each count the whole.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from stages.params import Carbon

WORLD_SOURCE = "world average of codecarbon's carbon_intensity_per_source.json"
COUNTRY_SOURCE = "energy mix of the country in codecarbon's global_energy_mix.json"


@dataclass(frozen=True)
class Energy:
    """kWh and gCO2e (both with PUE applied) over `seconds` of wall clock; None where nothing could be measured."""

    seconds: float
    kwh: float | None
    gco2e: float | None
    quality: str
    details: dict[str, Any]


class EnergyMeter:
    """Starts in a thread, because codecarbon takes about two seconds to look at the hardware; never raises.

    What the tracker missed (its own start-up, and the time before a resume) is charged at the mean power it saw.
    """

    def __init__(self, carbon: Carbon) -> None:
        self.carbon = carbon
        self.began = time.perf_counter()
        self.earlier_seconds = 0.0
        self._tracker: Any = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far, those before a resume included."""
        return self.earlier_seconds + time.perf_counter() - self.began

    def _start(self) -> None:
        logging.getLogger("codecarbon").disabled = True
        try:
            from codecarbon import OfflineEmissionsTracker

            forced: dict[str, Any] = {}
            if self.carbon.intensity is not None:
                forced["force_carbon_intensity_g_co2e_kwh"] = self.carbon.intensity
            tracker = OfflineEmissionsTracker(
                country_iso_code=self.carbon.country,
                measure_power_secs=5,
                pue=self.carbon.pue,
                log_level="critical",
                output_methods=[],
                allow_multiple_runs=True,
                **forced,
            )
            tracker.start()
            self._tracker = tracker
        except Exception:  # the ledger says "unknown"; a stage never fails because its energy could not be read
            self._tracker = None

    def stop(self) -> Energy:
        """Stop, and account for the whole wall clock of the stage."""
        self._thread.join(timeout=30)
        seconds = self.seconds
        tracker, data = self._tracker, None
        if tracker is not None:
            try:
                tracker.stop()
                data = tracker.final_emissions_data
            except Exception:
                data = None
        if data is None or not data.duration or not data.energy_consumed:
            return Energy(seconds, None, None, "unknown", {"country": self.carbon.country, "pue": self.carbon.pue})
        return self._account(data, _cpu_mode(tracker), seconds)

    def _account(self, data: Any, cpu_mode: str, seconds: float) -> Energy:
        kwh = data.energy_consumed * seconds / data.duration
        intensity = 1000.0 * data.emissions / data.energy_consumed
        if self.carbon.intensity is not None:
            source = "params.yaml: carbon.intensity"
        else:
            source = WORLD_SOURCE if self.carbon.country == "WORLD" else COUNTRY_SOURCE
        counted = "rapl" in cpu_mode and (not data.gpu_count or data.gpu_energy > 0)
        details = {
            "country": self.carbon.country,
            "intensity_g_per_kwh": round(intensity, 3),
            "intensity_source": f"{source}, codecarbon {data.codecarbon_version}",
            "pue": self.carbon.pue,
            "measured_seconds": round(data.duration, 3),
            "kwh": {"cpu": data.cpu_energy, "gpu": data.gpu_energy, "ram": data.ram_energy},
            "how": {"cpu": cpu_mode, "gpu": "nvml" if data.gpu_count else "none", "ram": "constant"},
            "hardware": {"cpu": data.cpu_model, "cores": data.cpu_count, "gpu": data.gpu_model or None},
        }
        return Energy(seconds, kwh, kwh * intensity, "counter" if counted else "estimated", details)


def _cpu_mode(tracker: Any) -> str:
    modes = [getattr(part, "_mode", None) for part in getattr(tracker, "_hardware", [])]
    return next((str(mode) for mode in modes if mode), "unknown")


def countries() -> list[str]:
    """The codes that `carbon.country` may hold."""
    from codecarbon.input import DataSource

    return ["WORLD", *sorted(DataSource().get_global_energy_mix_data())]
