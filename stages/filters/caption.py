"""caption: drop rows without a caption, or with one too short to tell of its picture.

The rule is that of DataComp's basic filter: more than two words and more than five characters (Gadre et al. 2023, arXiv
2304.14108; baselines/utils.py of its repository). Where it parts at white space, words are those of `stages/filters/_words.py`,
so that captions in scripts without spaces are not dropped for being one word: there each letter with its marks is a word. In
characters, which are counted without the white space around them, wide letters (Han, Kana, Hangul) are two, as on a terminal,
because they say more: "a cat" and 一只猫 are both on the border. Text without a letter or digit, such as emoji, has no words.

DataComp also keeps English only, by a fastText model (lid.176). Here no language is told: packages that do it well bring a model
of several megabytes, and short captions are where they err most.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.filters import verdicts
from stages.filters._words import words


@dataclass
class Config:
    min_words: int = 3
    min_characters: int = 6

    def __post_init__(self) -> None:
        for key in ("min_words", "min_characters"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key}: {getattr(self, key)} is out of range; allowed: 0 or more")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column caption; the reasons are no_caption (none, or only white space) and short_caption."""
    captions = [(caption or "").strip() for caption in pool["caption"].to_pylist()]
    long = [len(words(c)) >= config.min_words and characters(c) >= config.min_characters for c in captions]
    answer = verdicts(pool, np.array([bool(c) and ok for c, ok in zip(captions, long, strict=True)], bool), "short_caption")
    missing = pa.array([not c for c in captions], pa.bool_())
    return answer.set_column(2, "reason", pc.if_else(missing, "no_caption", answer["reason"].combine_chunks()))


def characters(text: str) -> int:
    """How many characters, wide ones counted twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
