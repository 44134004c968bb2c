"""One file per data source: `read(config) -> Iterator[Example]` and `classes(config) -> list[str]`.

Optional: `count(config) -> int`, the number of examples where it is cheap to know, which only the estimate of
the time left uses; `captions(config) -> list[str]`, the template caption of each class.
"""
