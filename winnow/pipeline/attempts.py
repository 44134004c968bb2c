"""What interrupted attempts at the same work spent: it is charged to the attempt that finishes the work.

Each process that works on something keeps what it has spent so far in a file beside what it would resume from
(a checkpoint, a folder of partial results), named by the same key, and writes it every second. So the work
that was lost between the last checkpoint and a kill is charged too: nobody would have the result without the
attempt, and the energy is gone. FLOPs are counted otherwise: those of the result's own steps, once, so that
they stay reproducible.

Other settings, inputs or code have another key, and pay nothing for these attempts. Nothing that trains reads
the file, unless its budget is one of time or energy.
"""

import json
import threading
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from winnow.ledger.energy import QUALITIES, Energy, EnergyMeter
from winnow.pipeline.files import replacing

PERIOD = 1.0  # seconds between two writes: what a kill leaves unrecorded at most


def spent_file(place: Path) -> Path:
    """The file of a checkpoint or of a folder of partial results: beside it."""
    return place.with_name(f"{place.name.removesuffix('.pt')}.spent.json")


class Attempts:
    """The attempts at one piece of work, this one included; it is kept up to date until `close` or `remove`.

    `earlier` are those of other processes, by name. `notes` are kept with this one's; `earlier_notes` those
    of the others.

    Args:
        part: whether the work is a part of what this process does, and begins now, not with the meter.
    """

    def __init__(self, path: Path, meter: EnergyMeter, part: bool = False) -> None:
        self.path, self.meter, self.notes = path, meter, dict[str, Any]()
        saved = {name: one for name, one in _read(path).items() if name != meter.name}
        self.earlier = {name: Energy(**one["spent"]) for name, one in saved.items()}
        self.earlier_notes = [one["notes"] for one in saved.values()]
        self._saved, self._before = saved, meter.so_far() if part else None
        self._lock, self._over = threading.Lock(), threading.Event()
        self.flush()
        threading.Thread(target=self._keep, daemon=True).start()

    def flush(self) -> None:
        """Write what was spent until now; a disk that is full must not fail the work."""
        with self._lock:
            if self._over.is_set():
                return
            spent = self.meter.so_far()
            spent = spent if self._before is None else since(self._before, spent)
            one = {"spent": asdict(spent), "notes": self.notes}
            try:
                with replacing(self.path) as partial:
                    partial.write_text(json.dumps({**self._saved, self.meter.name: one}), encoding="utf-8")
            except OSError:
                pass

    def close(self) -> None:
        """Write for the last time."""
        self.flush()
        with self._lock:
            self._over.set()

    def remove(self) -> None:
        """Forget all attempts: the work is done, and charged."""
        with self._lock:
            self._over.set()
            self.path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._over.wait(PERIOD):
            self.flush()


def since(before: Energy, now: Energy) -> Energy:
    """What was spent between two readings of one meter; what came before the first is charged at the mean
    power.
    """
    seconds = max(0.0, now.seconds - before.seconds)
    if now.kwh is None or now.gco2e is None:
        return replace(now, seconds=seconds)
    if before.kwh is None or before.gco2e is None:
        share = seconds / now.seconds if now.seconds else 0.0
        return replace(now, seconds=seconds, kwh=now.kwh * share, gco2e=now.gco2e * share)
    kwh, gco2e = max(0.0, now.kwh - before.kwh), max(0.0, now.gco2e - before.gco2e)
    return replace(now, seconds=seconds, kwh=kwh, gco2e=gco2e)


def together(last: Energy, earlier: Iterable[Energy]) -> Energy:
    """The last attempt with those before it; the quality is the worst of the parts.

    An attempt that was killed before its meter's first reading, which takes some seconds, is charged at the
    mean power of the others, and is `estimated`. Any other part that is unknown makes the sum unknown.
    """
    parts = [last, *earlier]
    seconds = sum(part.seconds for part in parts)
    read = [part for part in parts if part.kwh is not None and part.gco2e is not None]
    unread = [part for part in parts if part not in read]
    measured = sum(part.seconds for part in read)
    if not measured or not all(part.pending for part in unread):
        return replace(last, seconds=seconds, kwh=None, gco2e=None, quality="unknown")
    qualities = [part.quality for part in read] + ["estimated"] * bool(unread)
    factor = seconds / measured
    kwh, gco2e = (factor * sum(getattr(part, name) for part in read) for name in ("kwh", "gco2e"))
    return Energy(seconds, kwh, gco2e, max(qualities, key=QUALITIES.index), last.details)


def _read(path: Path) -> dict[str, Any]:
    """What is recorded; nothing of a file that is not there, or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: one for name, one in found.items() if {"spent", "notes"} <= one.keys()}
    except (OSError, ValueError, AttributeError):
        return {}
