"""Remote shards read sequentially, where reading single pictures by offset would cost a request each.

The guarantee is weaker than that of `winnow/loading/sampler.py`. With the same shards, seed, block size and
number of readers (ranks x workers), each reader yields the same samples in the same order, each of its
samples once per epoch, and resumes from a `Place` with the next sample. But another number of readers gives
another order, a reader shuffles only within a block of neighbouring samples, and readers with fewer samples
end their epoch sooner.

Shards come in an order drawn from (seed, epoch) and are dealt out in turn. A reader's samples are cut into
blocks, and each block is shuffled by itself, so that four numbers are the whole state; the state of
webdataset's shuffle buffer is the samples in it. To resume, a reader opens the shard in which its block
began, and skips what precedes it.
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
    """Where a reader is; its block of samples begins in one of its own shards."""

    epoch: int = 0
    shards: int = 0  # of its own, before the one in which the block begins
    samples: int = 0  # of that shard, before the block
    position: int = 0  # in the shuffled block: samples already yielded


class Stream:
    """One reader's samples in webdataset's form: `__key__`, `__url__`, and a member's bytes by its extension.

    Args:
        shards: paths or fsspec URLs of tars, the same list in the same order for every reader.
        block: how many samples are shuffled together, and in memory together.
        reader: the number of this reader, of `readers` (rank x workers + worker).

    Raises:
        ValueError: if there are fewer shards than readers.
    """

    def __init__(
        self, shards: Sequence[str], seed: int, block: int = 1000, reader: int = 0, readers: int = 1
    ) -> None:
        if len(shards) < readers:
            raise ValueError(f"shards: {len(shards)} are too few for {readers} readers; start fewer workers")
        self.shards, self.seed, self.block = list(shards), seed, block
        self.reader, self.readers = reader, readers

    def samples(self, place: Place | None = None) -> Iterator[tuple[Place, Sample]]:
        """The rest of the epoch of `place`: each sample with the place after it, from which to resume.

        Raises:
            ValueError: naming a shard that cannot be read to its end.
        """
        place = place or Place()
        source = self._located(place)
        first = place.position
        while block := list(islice(source, self.block)):
            begin, end = block[0][0], block[-1][1]
            draw = np.random.Generator(np.random.PCG64([self.seed, place.epoch, *begin]))
            order = draw.permutation(len(block))
            for position in range(first, len(block)):
                last = position + 1 == len(block)
                following = Place(place.epoch, *end) if last else Place(place.epoch, *begin, position + 1)
                yield following, block[order[position]][2]
            first = 0

    def _located(self, place: Place) -> Iterator[tuple[tuple[int, int], tuple[int, int], Sample]]:
        """The samples from the block's start, each with its own and the next one's (shards, samples)."""
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
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise ValueError(f"{url}: no whole shard ({reason})") from None
