"""cost.json: what one stage spent. FLOPs are exact and reproducible; seconds, kWh and gCO2e are not, so no training reads them."""

from typing import Any

from stages.ledger.energy import Energy
from stages.progress import execution

PURPOSES = ("curate", "reference", "score", "train", "evaluate")


def cost_record(address: str, flops: dict[str, int], energy: Energy, facts: dict[str, Any]) -> dict[str, Any]:
    """One record: FLOPs by purpose (1 MAC = 2 FLOPs), energy with its quality, and how it was measured.

    Raises:
        ValueError: for a purpose that the ledger does not know.
    """
    unknown = set(flops) - set(PURPOSES)
    if unknown:
        raise ValueError(f"flops: purpose {sorted(unknown)[0]!r} is unknown; allowed: {', '.join(PURPOSES)}")
    return {
        "stage": address,
        "execution": execution(),
        "flops": {**{purpose: int(flops.get(purpose, 0)) for purpose in PURPOSES}, "total": int(sum(flops.values()))},
        "seconds": round(energy.seconds, 3),
        "kwh": energy.kwh,
        "gco2e": energy.gco2e,
        "energy_quality": energy.quality,
        "energy": energy.details,
        **facts,
    }
