"""One file per data source: `read(config) -> Iterator[Example]` and `classes(config) -> list[str]`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One example as a source gives it, before anything is checked.

    `key` is unique and stable within the source; `image` holds encoded bytes; `split` is the source's own `train` or `test`;
    `label` indexes `classes(config)`, None where there is none.
    """

    key: str
    image: bytes
    split: str = "train"
    label: int | None = None
    caption: str | None = None
