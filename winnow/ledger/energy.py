"""Energy and CO2e of a stage, by codecarbon's offline tracker, with a flag that says how far to trust them.

The flag is `counter` where counters were read (RAPL, and NVML where a GPU is used), `estimated` where a power
model was used (thermal design power scaled by load; memory always by a constant), `unknown` where nothing was
measured: kWh is None then, never 0. The whole machine is measured, so two stages that run side by side each
count both. A stage that resumed an interrupted run is `unknown`: it measured its last part only.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

from winnow.config.schema import Carbon
from winnow.ledger.intensity import intensity_source

QUALITIES = ("counter", "estimated", "unknown")  # best first


@dataclass(frozen=True)
class Energy:
    """kWh and gCO2e, both with PUE applied, over `seconds` of wall clock; None where nothing was measured."""

    seconds: float
    kwh: float | None
    gco2e: float | None
    quality: str
    details: dict[str, Any]


class EnergyMeter:
    """Measures from its construction to `stop`; never raises.

    The tracker starts in a thread, because codecarbon takes about two seconds to look at the hardware. What
    it misses until then is charged at the mean power of the rest.
    """

    def __init__(self, carbon: Carbon) -> None:
        self.carbon = carbon
        self.began = time.perf_counter()
        self._tracker: Any = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds so far."""
        return time.perf_counter() - self.began

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
        except Exception:  # a stage must not fail because its energy cannot be read
            self._tracker = None

    def stop(self) -> Energy:
        """Stop, and account for all seconds since the start."""
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
            details = {"country": self.carbon.country, "pue": self.carbon.pue}
            return Energy(seconds, None, None, "unknown", details)
        return self._account(data, _cpu_mode(tracker), seconds)

    def _account(self, data: Any, cpu_mode: str, seconds: float) -> Energy:
        kwh = data.energy_consumed * seconds / data.duration
        intensity = 1000.0 * data.emissions / data.energy_consumed
        source = intensity_source(self.carbon)
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
