"""caption: drop rows without a caption, or with one too short to describe its image.

The rule is that of DataComp's basic filter: more than two words and more than five characters (Gadre et al.
2023, arXiv 2304.14108; baselines/utils.py of its repository). It splits at white space; here words are those
of `winnow/filters/_words.py`, so that captions in scripts without spaces are not dropped for being one word:
there each letter with its marks is a word. Characters are counted without the white space around them, and
wide letters (Han, Kana, Hangul) as two, as on a terminal, because they say more: "a cat" and 一只猫 are both
on the border. Text without a letter or digit, such as emoji, has no words.

DataComp also keeps English only, by a fastText model (lid.176). Here the language is not detected: packages
that do it well bring a model of several megabytes, and short captions are where they err most.
"""

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts
from winnow.filters._words import words


@dataclass
class Config:
    min_words: int = bounded(3, 0)
    min_characters: int = bounded(6, 0)


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column caption; the reasons are no_caption (none, or only white space) and short_caption."""
    captions = [(caption or "").strip() for caption in pool["caption"].to_pylist()]
    captioned = np.array([bool(caption) for caption in captions], bool)
    long = [len(words(c)) >= config.min_words and characters(c) >= config.min_characters for c in captions]
    return verdicts(
        pool, captioned & np.array(long, bool), np.where(captioned, "short_caption", "no_caption")
    )


def characters(text: str) -> int:
    """How many characters, wide ones counted twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
