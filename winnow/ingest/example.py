"""An example as a source gives it (winnow/sources), before anything about it is checked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One example of a source.

    `key` is unique and stable within the source; `image` holds encoded bytes; `split` is the source's own
    `train` or `test`; `label` is an index into `classes(config)`, None where there is no label; `uid` is the
    source's own name for the image, where it gives one (DataComp does), and says nothing about its bytes.
    """

    key: str
    image: bytes
    split: str = "train"
    label: int | None = None
    caption: str | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Unreadable(Example):
    """An example that exists but could not be read: ingest drops and counts it instead of missing it.

    `reason` is short and stable, fit for a table of counts.
    """

    reason: str = "unreadable"
