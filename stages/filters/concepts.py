"""concepts: balance the concepts that captions name, as MetaCLIP does (Xu et al. 2023, arXiv 2309.16671, algorithm 1).

Each entry of a list of concepts is sought in each caption. An entry that n captions name passes each of them with probability
min(1, cap / n), drawn for each caption and entry by itself; a caption is kept if one of its entries passes. So frequent concepts
are thinned to about `cap` captions each, and a rare one keeps all of its captions. Captions that name no entry are dropped.

The paper seeks an entry with a space at either end in a caption with a space at either end. This is the same on words
(`stages/filters/_words.py`): an entry is found where its words follow each other, so "cat" is in "A cat, asleep" and not in
"concatenate". Case does not count, and Han or Thai entries are found too. Each run of words is looked up in a set,
so the time hardly depends on how many entries there are.

The paper's list is 500,000 entries (synsets of WordNet; frequent words, pairs of words and titles of Wikipedia) with a cap of
20,000 for 400 M pairs. A larger cap keeps all that a smaller one keeps, and applying the filter again changes nothing.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.data.uids import fraction
from stages.filters import verdicts
from stages.filters._classes import class_names
from stages.filters._words import words


@dataclass
class Config:
    # classes: the names of the pool's classes; words: every word of its captions; a list; or the path of a text file, an entry a line
    entries: Any = "classes"
    cap: int = 20_000  # captions of one entry
    seed: int = 0

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ValueError(f"cap: {self.cap} is out of range; allowed: 1 or more")
        if not isinstance(self.entries, str | list) or not self.entries:
            raise ValueError(f"entries: {self.entries!r} names no concepts; allowed: classes, words, the path of a text file, a list")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns uid and caption; the reasons are no_concept (no caption, or no entry in it) and concept_capped.

    Raises:
        ValueError: when the entries cannot be read, or none of them has a word.
    """
    captions = [words(caption or "") for caption in pool["caption"].to_pylist()]
    entries = set(chain.from_iterable(captions)) if config.entries == "words" else listed(pool, config.entries)
    lengths = sorted({entry.count(" ") + 1 for entry in entries})
    named = [matches(caption, entries, lengths) for caption in captions]
    count = Counter(chain.from_iterable(named))

    def passes(uid: str, entry: str) -> bool:
        return count[entry] <= config.cap or fraction(config.seed, "concepts", uid, entry) < config.cap / count[entry]

    keep = [any(passes(uid, entry) for entry in of) for uid, of in zip(pool["uid"].to_pylist(), named, strict=True)]
    answer = verdicts(pool, np.array(keep, bool), "concept_capped")
    none = pa.array([not of for of in named], pa.bool_())
    return answer.set_column(2, "reason", pc.if_else(none, "no_concept", answer["reason"].combine_chunks()))


def matches(caption: list[str], entries: set[str], lengths: list[int]) -> set[str]:
    """The entries, words joined by a space, whose words follow each other in a caption; `lengths` are theirs, in words."""
    starts = range(len(caption))
    return {run for n in lengths for at in starts[: max(0, len(caption) - n + 1)] if (run := " ".join(caption[at : at + n])) in entries}


def listed(pool: pa.Table, given: str | list[Any]) -> set[str]:
    """The entries of the config, as words joined by a space."""
    if given == "classes":
        given = class_names(pool)
    elif isinstance(given, str):
        try:
            given = list(Path(given).read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"entries: {given!r}: not a text file to read ({error}); give classes, words, a path or a list") from None
    entries = {" ".join(words(str(entry))) for entry in given} - {""}
    if not entries:
        raise ValueError("entries: no word in any of them; give classes, words, the path of a text file or a list")
    return entries
