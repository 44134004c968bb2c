"""cost.json: what one stage spent. FLOPs are exact and reproducible; seconds, kWh and gCO2e are not, so no
stage that trains depends on them.
"""

from typing import Any

from winnow.ledger.energy import Energy

PURPOSES = ("curate", "reference", "score", "train", "evaluate")
# Facts of a stage part of whose work was done by an earlier process, whose energy nobody kept.
UNMEASURED: dict[str, Any] = {"kwh": None, "gco2e": None, "energy_quality": "unknown"}


def cost_record(
    address: str, execution: str, flops: dict[str, int], energy: Energy, facts: dict[str, Any]
) -> dict[str, Any]:
    """One record: FLOPs by purpose (1 MAC = 2 FLOPs), and energy with its quality and how it was measured.

    `energy` holds the constants behind it, of the process that finished the work: `tool` with its version,
    `how` each part was measured (`cpu_load` is an estimate: the load times the thermal design power), mean
    `watts` of each part and `cpu_at_full_load`, that design power over all cores (null where counters were
    read); `pue`, `country`, `intensity_g_per_kwh` and `intensity_source`; `kwh` of each part, in
    `measured_seconds`. `earlier` says how many interrupted attempts are in `seconds`, `kwh` and `gco2e`, and
    their seconds.

    Args:
        facts: further entries, or others in place of these, such as `UNMEASURED`.

    Raises:
        ValueError: for a purpose that the ledger does not know.
    """
    if unknown := set(flops) - set(PURPOSES):
        raise ValueError(f"flops: purpose {min(unknown)!r} is unknown; allowed: {', '.join(PURPOSES)}")
    spent = {purpose: int(flops.get(purpose, 0)) for purpose in PURPOSES}
    return {
        "stage": address,
        "execution": execution,
        "flops": {**spent, "total": sum(spent.values())},
        "seconds": round(energy.seconds, 3),
        "kwh": energy.kwh,
        "gco2e": energy.gco2e,
        "energy_quality": energy.quality,
        "energy": energy.details,
        **facts,
    }
