"""Energy and CO2e of a stage, by codecarbon's offline tracker, with a flag that says how far to trust them.

The flag is `counter` where counters were read (RAPL, and NVML where a GPU is used), `estimated` where a power
model was used (thermal design power scaled by load; memory always by a constant), `unknown` where nothing was
measured: kWh is None then, never 0. The whole machine is measured, so two stages that run side by side each
count both. What interrupted attempts at the same work spent is added by winnow/pipeline/attempts.py.
"""

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

from winnow.config.schema import Carbon
from winnow.ledger.intensity import carbon_intensity, intensity_source

QUALITIES = ("counter", "estimated", "unknown")  # best first
PERIOD = 5  # seconds between two readings


@dataclass(frozen=True)
class Energy:
    """kWh and gCO2e, both with PUE applied, over `seconds` of wall clock; None where nothing was measured."""

    seconds: float
    kwh: float | None
    gco2e: float | None
    quality: str
    details: dict[str, Any]

    @property
    def pending(self) -> bool:
        """Whether it is unknown only because it was read before the meter's first reading."""
        return bool(self.details.get("pending"))


class EnergyMeter:
    """Measures from its construction to `stop`; never raises. `name` tells this attempt from others.

    The tracker starts in a thread, because codecarbon takes about two seconds to look at the hardware. What
    it misses until then is charged at the mean power of the rest.
    """

    def __init__(self, carbon: Carbon) -> None:
        self.carbon, self.name = carbon, uuid.uuid4().hex[:12]
        self.began = time.perf_counter()
        self._tracker: Any = None
        self._intensity = self._tracked_from = 0.0  # known once the tracker is
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
                measure_power_secs=PERIOD,
                pue=self.carbon.pue,
                log_level="critical",
                output_methods=[],
                allow_multiple_runs=True,
                **forced,
            )
            tracker.start()
            self._tracked_from = tracker._start_time or self.began  # the tracker forgets it when it stops
            self._intensity = carbon_intensity(self.carbon)
            self._tracker = tracker
        except Exception:  # a stage must not fail because its energy cannot be read
            self._tracker = None

    def works(self, timeout: float = 30.0) -> bool:
        """Whether energy can be measured here, which takes some seconds to find out."""
        self._thread.join(timeout)
        return self._tracker is not None

    def so_far(self) -> Energy:
        """What was spent until now, read while the work goes on, at the cost of two attributes.

        The tracker measures every `PERIOD` seconds; what it has not measured yet is charged at the mean power
        so far. Before its first reading kWh is None, and `pending`.
        """
        seconds, tracker = self.seconds, self._tracker
        # Of the tracker's own fields: its public `flush` would measure in this thread beside its own.
        kwh = tracker._total_energy.kWh if tracker is not None else 0.0
        measured = tracker._last_measured_time - self._tracked_from if kwh else 0.0
        if not kwh or measured <= 0:
            waiting = tracker is not None or self._thread.is_alive()
            return Energy(seconds, None, None, "unknown", {"pending": waiting})
        kwh *= seconds / measured
        counted = _counted(_cpu_mode(tracker), tracker._total_gpu_energy.kWh, _has_gpu(tracker))
        return Energy(seconds, kwh, kwh * self._intensity, "counter" if counted else "estimated", {})

    def first_reading(self, timeout: float = 2.0 * PERIOD) -> Energy:
        """What was spent so far, after waiting for the meter's first reading; kWh is None if none comes."""
        until = time.perf_counter() + timeout
        while (found := self.so_far()).pending and time.perf_counter() < until:
            time.sleep(0.05)
        return found

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
        return self._account(data, tracker, seconds)

    def _account(self, data: Any, tracker: Any, seconds: float) -> Energy:
        kwh = data.energy_consumed * seconds / data.duration
        intensity = 1000.0 * data.emissions / data.energy_consumed
        source = intensity_source(self.carbon)
        cpu_mode = _cpu_mode(tracker)
        counted = _counted(cpu_mode, data.gpu_energy, bool(data.gpu_count))
        details = {
            "tool": f"codecarbon {data.codecarbon_version}",
            "country": self.carbon.country,
            "intensity_g_per_kwh": round(intensity, 3),
            "intensity_source": f"{source}, codecarbon {data.codecarbon_version}",
            "pue": self.carbon.pue,
            "measured_seconds": round(data.duration, 3),
            "kwh": {"cpu": data.cpu_energy, "gpu": data.gpu_energy, "ram": data.ram_energy},
            "how": {"cpu": cpu_mode, "gpu": "nvml" if data.gpu_count else "none", "ram": "constant"},
            "watts": {
                "cpu": round(data.cpu_power, 3),
                "gpu": round(data.gpu_power, 3),
                "ram": round(data.ram_power, 3),
                "cpu_at_full_load": _full_load(tracker, cpu_mode),
            },
            "hardware": {"cpu": data.cpu_model, "cores": data.cpu_count, "gpu": data.gpu_model or None},
        }
        return Energy(seconds, kwh, kwh * intensity, "counter" if counted else "estimated", details)


def _counted(cpu_mode: str, gpu_kwh: float, has_gpu: bool) -> bool:
    """Whether counters were read of every part that has one."""
    return "rapl" in cpu_mode and (not has_gpu or gpu_kwh > 0)


def _has_gpu(tracker: Any) -> bool:
    return bool(getattr(tracker, "_conf", {}).get("gpu_count", 0))


def _cpu_mode(tracker: Any) -> str:
    modes = [getattr(part, "_mode", None) for part in getattr(tracker, "_hardware", [])]
    return next((str(mode) for mode in modes if mode), "unknown")


def _full_load(tracker: Any, cpu_mode: str) -> float | None:
    """The CPU's thermal design power in watts, where it is what an estimate scales; None where counters are
    read.
    """
    if cpu_mode not in ("cpu_load", "constant"):
        return None
    found = [getattr(part, "_tdp", None) for part in getattr(tracker, "_hardware", [])]
    return next((float(watts) for watts in found if watts), None)
