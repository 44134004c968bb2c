"""params.yaml with one key changed, for tests of what is refused."""

import copy
from typing import Any


def broken(good: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of plain params with the value of a dotted key replaced."""
    raw = copy.deepcopy(good)
    node = raw
    *path, last = key.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    return raw
