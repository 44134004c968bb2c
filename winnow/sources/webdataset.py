"""WebDataset shards, as img2dataset and DataComp write them: *.tar of KEY.jpg|png|webp|txt|cls|json.

From: `dataset.path`, a folder, a .tar, a{0..9}.tar, or a .txt that lists them, each a local path or a URL of
http, s3, ... (winnow/sources/formats/shards.py); licence and checksum are its owner's (every stored image has
its uid, a SHA-256). Read as a stream, one example in memory, remote shards too. The order is fixed: shards as
listed, examples as stored. Keys are SHARD/KEY.

    caption   KEY.txt, or else `caption` in KEY.json, or in the row
    label     the integer in KEY.cls; classes are named by classes.json (a list), or else, of local shards, by
              their numbers
    split     `split` in KEY.json (train, or test, val, validation), or else about 10 % are test by a hash of
              the key
    uid       `uid` in KEY.json, or in the row: DataComp's name for the image
    row       that of KEY in SHARD.parquet, where img2dataset left one beside the tar

Dropped and counted, each with its reason; of two the first is kept:

    no_image, two_images, duplicate_member          what the sample holds
    label_unreadable, label_out_of_range            KEY.cls
    duplicate_key, uid_conflict                     an earlier sample of the shard has the key, or another
                                                    picture with the uid
    link_in_shard, not_a_file, sparse_member        a member that is no plain file
    too_large_member                                an image above 320 MB, a text above 1 MB
    missing_member, no_row, uid_differs             tar and parquet disagree
    sha256_differs                                  only with `options.sha256`: img2dataset's is of the file
                                                    before it was resized
    damaged_shard_*, unreachable_shard_*,           the rest of the shard, as one
    not_a_file_*, unreadable_parquet_*

Names are text, never paths: nothing is unpacked. A pool that ingest wrote can be read again as it is. Source
of the conventions: WebDataset's README; img2dataset's README, "Output format".
"""

import contextlib
import functools
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example, Unreadable
from winnow.sources.formats import files, names
from winnow.sources.formats import shards as shard_urls
from winnow.sources.formats.remote import Unreachable, is_url
from winnow.sources.formats.samples import IMAGES, TEXT_BYTES, TEXTS, samples
from winnow.sources.formats.shard_reader import ShardReader, label
from winnow.sources.formats.tar import Damaged

log = logging.getLogger(__name__)


@dataclass
class Config:
    """`storage` is passed to fsspec: {anon: true}, {endpoint_url: ...}, ..."""

    sha256: bool = False
    storage: dict[str, Any] = field(default_factory=dict)


def classes(config: Dataset) -> list[str]:
    """The names in classes.json; without it, the numbers up to the highest label in local shards.

    Raises:
        ParamsError: if there are no shards, or classes.json is no list of names.
    """
    found = shards(config)
    try:
        place = shard_urls.classes_file(found)
    except Unreachable as error:
        why = f"the server does not say whether classes.json is there ({error})"
        raise ParamsError(f"dataset.path: {config.path!r}: {why}") from None
    if place is None:
        return [str(n) for n in range(1 + max(_highest_label(shard) for shard in found))]
    try:
        with shard_urls.opened(place, found[0].storage) as file:
            listed = json.loads(file.read(TEXT_BYTES * 10))
    except (ValueError, OSError, Unreachable, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ParamsError(f"dataset.path: {place} is wrong; it must be a JSON list of class names")
    return listed


def read(config: Dataset) -> Iterator[Example]:
    """Yield every sample of every shard.

    Raises:
        ParamsError: as `classes`; and at the first label of remote shards without classes.json.
    """
    count = len(classes(config))
    for shard in shards(config):
        yield from read_shard(config, shard, count)


def shards(config: Dataset) -> list[shard_urls.Shard]:
    """The shards of `dataset.path`, in order; raises ParamsError as `classes`."""
    if not config.path:
        raise ParamsError("dataset.path: null; the webdataset source needs a folder of .tar shards")
    return shard_urls.shards(config.path, _options(config).storage)


def read_shard(
    config: Dataset, shard: shard_urls.Shard, count: int, wanted: tuple[str, ...] = IMAGES + TEXTS
) -> Iterator[Example]:
    """Yield every sample of one shard.

    Args:
        count: how many classes there are.
        wanted: the extensions to read; unwanted images come empty.
    """
    name = names.text(shard.file)
    reader = ShardReader(shard, _options(config).sha256, count)
    with contextlib.ExitStack() as open_files:
        try:
            reader.open_rows(open_files)
            file = open_files.enter_context(shard.open())
            yield from map(reader.example, samples(file, wanted))
            yield from reader.missing()
        except Damaged:
            yield Unreadable(name, b"", reason=f"damaged_shard_{name}")
        except files.NotAFile:
            yield Unreadable(name, b"", reason=f"not_a_file_{name}")
        except (Unreachable, OSError) as error:
            log.warning("%s", error)  # the server's reason; dropped.parquet has only the shard's name
            yield Unreadable(name, b"", reason=f"unreachable_shard_{name}")
        yield from reader.notes


def _highest_label(shard: shard_urls.Shard) -> int:
    """-1 if there is none, or the shard is remote."""
    if is_url(shard.place):
        return -1
    with contextlib.suppress(OSError):
        state = os.stat(shard.place)
        return _highest_in(shard.place, (state.st_size, state.st_mtime_ns))
    return -1


# Cached because both ingest and `read` call `classes`: all headers are read only once for them.
@functools.cache
def _highest_in(place: str, state: tuple[int, int]) -> int:
    highest = -1
    with contextlib.suppress(Damaged, OSError), files.opened(place) as file:
        for sample in samples(file, wanted=("cls",)):
            found = label(sample.parts)
            highest = max(highest, -1 if found is None else found)
    return highest


def _options(config: Dataset) -> Config:
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return options
