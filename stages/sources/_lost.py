"""An example that a source knows to be there but could not read, so that ingest counts it instead of missing it."""

from dataclasses import dataclass

from stages.sources import Example


@dataclass(frozen=True)
class Lost(Example):
    """Dropped by ingest with this reason; short and stable, fit for a table of counts."""

    reason: str = "unreadable"
