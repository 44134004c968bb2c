"""Whether an example is for training or testing: what its source calls its split, or else a hash of its key.

The hash gives the same split on every machine, and keeps that of the others when examples are added.
"""

from winnow.pool import uids

SPLITS = {"train": "train", "test": "test", "val": "test", "validation": "test"}
TEST_FRACTION = 0.1


def by_hash(key: str, fraction: float = TEST_FRACTION) -> str:
    """`test` for about `fraction` of all keys, else `train`."""
    return "test" if uids.fraction("split", key) < fraction else "train"
