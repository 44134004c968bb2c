"""Remote shards read from front to back, where reading single pictures by offset would cost a request each.

The guarantee is weaker than that of `stages/data/order.py`. What holds: with the same shards, seed, block size and number of
readers (ranks x workers), each reader gives the same samples in the same order, each of its samples once an epoch, and goes on
from a `Place` with the very next sample. What does not: another number of readers gives another order; a reader mixes no more than
a block of neighbouring samples; and readers with fewer samples end their epoch sooner.

Shards come in an order drawn from (seed, epoch) and are dealt out in turn. A reader's samples are cut into blocks, and each block
is shuffled by itself, unlike webdataset's shuffle buffer, whose state is the samples in it: here four numbers are the state. To go
on, a reader opens the shard in which its block began, and passes over what lies before.
"""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

Sample = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a reader is: shards of its own that lie whole before its block, samples of the next one that do, samples of the block
    already given."""

    epoch: int = 0
    shards: int = 0
    samples: int = 0
    position: int = 0


class Stream:
    """One reader's samples, as webdataset makes them: `__key__`, `__url__` and the bytes of each member by its extension.

    Args:
        shards: paths or fsspec URLs of tars, the same list in the same order for every reader.
        block: samples that are shuffled among themselves, and are in memory together.
        reader: which one this is, of `readers` in all (rank x workers + worker).

    Raises:
        ValueError: if there are fewer shards than readers.
    """

    def __init__(self, shards: Sequence[str], seed: int, block: int = 1000, reader: int = 0, readers: int = 1) -> None:
        if len(shards) < readers:
            raise ValueError(f"shards: {len(shards)} are too few for {readers} readers; start fewer workers")
        self.shards, self.seed, self.block = list(shards), seed, block
        self.reader, self.readers = reader, readers

    def samples(self, place: Place | None = None) -> Iterator[tuple[Place, Sample]]:
        """The rest of the epoch of `place`: each sample with the place behind it, which is where to go on.

        Raises:
            ValueError: naming a shard that cannot be read to its end.
        """
        place = place or Place()
        source = self._located(place)
        number = place.position
        while block := list(islice(source, self.block)):
            begin, end = block[0][0], block[-1][1]
            order = np.random.Generator(np.random.PCG64([self.seed, place.epoch, *begin])).permutation(len(block))
            for position in range(number, len(block)):
                behind = Place(place.epoch, *begin, position + 1) if position + 1 < len(block) else Place(place.epoch, *end)
                yield behind, block[order[position]][2]
            number = 0

    def _located(self, place: Place) -> Iterator[tuple[tuple[int, int], tuple[int, int], Sample]]:
        """The samples from the block's start on, each with where it begins and where the next one does, as (shards, samples)."""
        draw = np.random.Generator(np.random.PCG64([self.seed, place.epoch]))
        own = draw.permutation(len(self.shards))[self.reader :: self.readers]
        for number in range(place.shards, len(own)):
            skip = place.samples if number == place.shards else 0
            for at, sample in enumerate(read(self.shards[own[number]])):
                if at >= skip:
                    yield (number, at), (number, at + 1), sample


def read(url: str) -> Iterator[Sample]:
    """The samples of one shard, in the order of its members.

    Raises:
        ValueError: when it cannot be opened or ends early.
    """
    import fsspec
    from webdataset.tariterators import group_by_keys, tar_file_expander  # here, because it imports torch

    try:
        with fsspec.open(url, "rb") as file:
            yield from group_by_keys(tar_file_expander([{"url": url, "stream": file}]))
    except (OSError, ValueError, tarfile.TarError) as error:
        raise ValueError(f"{url}: no whole shard ({str(error.args[0] if error.args else error).splitlines()[0]})") from None
