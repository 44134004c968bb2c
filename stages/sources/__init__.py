"""One file per data source: `read(config) -> Iterator[Example]` and `classes(config) -> list[str]`.

Where it is cheap to know, `count(config) -> int` says how many examples there are, for the time left; nothing else depends on it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One example as a source gives it, before anything is checked.

    `key` is unique and stable within the source; `image` holds encoded bytes; `split` is the source's own `train` or `test`;
    `label` indexes `classes(config)`, None where there is none; `uid` is the source's own name for the image, if it gives one
    (DataComp does), and says nothing about its bytes.
    """

    key: str
    image: bytes
    split: str = "train"
    label: int | None = None
    caption: str | None = None
    uid: str | None = None
