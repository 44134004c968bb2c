"""The words of a caption in any script: those of Unicode's default rule (UAX #29), as the package `regex`
finds them.

The rule splits text at what is neither letter nor digit, and keeps "don't" and "3.5" whole. A script without
spaces is split at each letter with its marks (Han, Hiragana, Thai, Lao, Khmer, Burmese), where a dictionary
would find words of one to four letters; Katakana runs are whole. So a caption of three Han letters has three
words, and 熊猫 is found in 一只熊猫 without a segmenter, which would need a model for each language.
"""

import unicodedata

import regex

_WORD = regex.compile(r"(?V1w)[\p{L}\p{N}].*?\b")  # w: \b is the default rule's


def words(text: str) -> list[str]:
    """The words of a text in their order, compatibility forms (NFKC) and case folded."""
    found: list[str] = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return found
