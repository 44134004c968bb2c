"""The leak guard of curation: which rows of the pool show the same shot as what a task set is tested on.

Thumbnails are made once of every row that is compared. The certificate says what was guarded, how, and what
went; it is part of a version's lineage.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from winnow.config.parse import plugin_config
from winnow.config.schema import Params
from winnow.leakage.config import METHODS, Config
from winnow.leakage.estimate import estimate_missed
from winnow.leakage.guard import find_leaks
from winnow.leakage.thumbnails import Thumbnails, fingerprints
from winnow.pipeline.code import digest
from winnow.pool.pool import Pool

KEY = "curate.guard"
Tested = Mapping[
    str, tuple[Pool, np.ndarray]
]  # task set with a source of its own -> its images, test and val
REASON = "same_shot"


def settings(params: Params) -> Config:
    """The guard's settings.

    Raises:
        ParamsError: for a value that does not fit.
    """
    config: Config = plugin_config(Config, KEY, params.curate.guard)
    return config


class Guard:
    """Compares rows of a pool with held-out rows, of the pool or of a task set."""

    def __init__(self, pool: Pool, tested: Tested, params: Params) -> None:
        self.pool, self.tested, self.config = pool, tested, settings(params)
        self.threads = params.run.threads
        self._thumbnails: Thumbnails | None = None
        self._held: dict[str, Thumbnails] = {}

    @property
    def on(self) -> bool:
        return self.config.method != "off"

    def same_shot(self, rows: np.ndarray, held: np.ndarray | str) -> np.ndarray:
        """Which rows of the pool, (n,) bool, show the same shot as one of the held-out images.

        Args:
            held: rows of the pool, or the task set whose test and val images are held out.
        """
        leak = np.zeros(len(rows), bool)
        if self.on and len(rows):
            others, kept_out = self._of_pool().take(rows), self._of(held)
            leak[find_leaks(others, kept_out, self.config, self.threads).others] = True
        return leak

    def _of_pool(self) -> Thumbnails:
        if self._thumbnails is None:
            self._thumbnails = fingerprints(self.pool, np.arange(len(self.pool)), self.threads)
        return self._thumbnails

    def _of(self, held: np.ndarray | str) -> Thumbnails:
        if not isinstance(held, str):
            return self._of_pool().take(held)
        if held not in self._held:
            self._held[held] = fingerprints(*self.tested[held], self.threads)
        return self._held[held]

    def certificate(
        self, dropped: Mapping[str, Mapping[str, int]], held: Tested, seed: int
    ) -> dict[str, Any]:
        """What a version's lineage says of the guard: sets, method, what went, an estimate of what is missed.

        Args:
            dropped: task set -> reason -> how many examples went.
            held: task set -> where its held-out images are.
        """
        sets = {}
        for name, reasons in dropped.items():
            pool, rows = held[name]
            missed = self._missed(pool, rows, seed) if self.on and len(rows) else None
            sets[name] = {"held_out": len(rows), "dropped": dict(reasons), "missed": missed}
        method = {"name": self.config.method, "what": METHODS[self.config.method]}
        parameters = asdict(self.config) if self.on else {}
        code = digest("winnow.leakage.guard") if self.on else None
        return {"method": method, "parameters": parameters, "code": code, "sets": sets}

    def _missed(self, pool: Pool, rows: np.ndarray, seed: int) -> dict[str, Any]:
        return estimate_missed(pool, rows, self._of_pool(), self.config, seed, self.threads)
