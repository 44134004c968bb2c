"""concepts: balance the concepts that captions name, as MetaCLIP does.

Xu et al. 2023 (arXiv 2309.16671), algorithm 1. Each entry of a list of concepts is looked up in each caption.
An entry that n captions name passes each of them with probability min(1, cap / n), drawn independently for
each caption and entry; a caption is kept if one of its entries passes. So frequent concepts are thinned to
about `cap` captions each, and a rare one keeps all of its captions. Captions that name no entry are dropped.

The paper looks for an entry between spaces in a caption between spaces. This is the same on words
(`winnow/filters/_words.py`): an entry is found where its words follow each other, so "cat" is in "A cat,
asleep" and not in "concatenate". Case is ignored, and Han or Thai entries are found too. Each run of words is
looked up in a set, so the time hardly depends on how many entries there are.

The paper's list is 500,000 entries (synsets of WordNet; frequent words, pairs of words and titles of
Wikipedia) with a cap of 20,000 for 400 M pairs. A larger cap keeps all that a smaller one keeps, and applying
the filter again changes nothing.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.filters import verdicts
from winnow.filters._classes import class_names
from winnow.filters._words import words
from winnow.pool.uids import fraction


@dataclass
class Config:
    # classes: the names of the pool's classes; words: every word of its captions; a list; or the path of a
    # text file with an entry per line
    entries: Any = "classes"
    cap: int = bounded(20_000, 1)  # captions of one entry
    seed: int = 0

    def check(self, key: str) -> None:
        if not isinstance(self.entries, str | list) or not self.entries:
            allowed = "classes, words, the path of a text file, a list"
            raise ParamsError(f"{key}.entries: {self.entries!r} names no concepts; allowed: {allowed}")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns uid and caption; the reasons are no_concept (no caption, or no entry in it) and
    concept_capped.

    Raises:
        ValueError: when the entries cannot be read, or none of them has a word.
    """
    captions = [words(caption or "") for caption in pool["caption"].to_pylist()]
    if config.entries == "words":
        entries = set(chain.from_iterable(captions))
    else:
        entries = read_entries(pool, config.entries)
    lengths = sorted({entry.count(" ") + 1 for entry in entries})
    named = [matches(caption, entries, lengths) for caption in captions]
    count = Counter(chain.from_iterable(named))

    def passes(uid: str, entry: str) -> bool:
        chance = config.cap / count[entry]
        return chance >= 1 or fraction(config.seed, "concepts", uid, entry) < chance

    rows = zip(pool["uid"].to_pylist(), named, strict=True)
    keep = [any(passes(uid, entry) for entry in entries_of_row) for uid, entries_of_row in rows]
    reasons = ["concept_capped" if entries_of_row else "no_concept" for entries_of_row in named]
    return verdicts(pool, np.array(keep, bool), np.array(reasons, str))


def matches(caption: list[str], entries: set[str], lengths: list[int]) -> set[str]:
    """The entries, words joined by a space, whose words follow each other in a caption; `lengths` are theirs,
    in words.
    """
    runs = (" ".join(caption[i : i + n]) for n in lengths for i in range(len(caption) - n + 1))
    return entries.intersection(runs)


def read_entries(pool: pa.Table, given: str | list[Any]) -> set[str]:
    """The entries of the config, as words joined by a space."""
    if given == "classes":
        given = class_names(pool)
    elif isinstance(given, str):
        try:
            given = list(Path(given).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            allowed = "classes, words, a path or a list"
            raise ValueError(f"entries: {given!r}: no readable text file ({error}); give {allowed}") from None
    entries = {" ".join(words(str(entry))) for entry in given} - {""}
    if not entries:
        allowed = "classes, words, the path of a text file or a list"
        raise ValueError(f"entries: no word in any of them; give {allowed}")
    return entries
