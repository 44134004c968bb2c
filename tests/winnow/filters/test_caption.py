"""The caption filter: DataComp's rule on spaced text, words in scripts without spaces, reasons."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import numbered
from winnow.filters import caption
from winnow.filters._words import words


def reasons(captions, **config):
    pool = pa.table({"uid": numbered(len(captions)), "caption": pa.array(captions, pa.string())})
    answer = caption.apply(pool, caption.Config(**config))
    assert [reason is None for reason in answer["reason"].to_pylist()] == answer["keep"].to_pylist()
    return answer["reason"].to_pylist()


def test_more_than_two_words_and_more_than_five_characters():
    found = reasons(["a black cat", "black cat", "a b c", "a b cd"])
    assert found == [None, "short_caption", "short_caption", None]


def test_a_missing_caption_has_a_reason_of_its_own():
    assert reasons([None, "", " \n\t", "a black cat"]) == ["no_caption"] * 3 + [None]
    assert reasons([]) == []


def test_thresholds_are_the_configs():
    assert reasons(["cat", None], min_words=1, min_characters=3) == [None, "no_caption"]
    assert reasons(["👍👍👍👍👍👍"], min_words=1) == ["short_caption"], "no letter, no word"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't pay 3.5 for snake_case!", ["don't", "pay", "3.5", "for", "snake_case"]),
        ("T-shirt/top", ["t", "shirt", "top"]),
        ("一只猫", ["一", "只", "猫"]),  # "a cat", Chinese
        ("ネコがいる", ["ネコ", "が", "い", "る"]),  # "there is a cat", Japanese: a Katakana run is whole
        ("고양이 사진", ["고양이", "사진"]),  # "picture of a cat", Korean writes spaces
        ("แมวดี", ["แ", "ม", "ว", "ดี"]),  # "good cat", Thai: a letter with its marks
        ("काली बिल्ली", ["काली", "बिल्ली"]),  # "black cat", Hindi: marks stay with their letters
        ("قطة سوداء", ["قطة", "سوداء"]),  # "black cat", Arabic
        ("ＣＡＴ Straße ﬁne", ["cat", "strasse", "fine"]),
        ("👍 -- _", []),
    ],
)
def test_words_in_any_script(text, expected):
    """Expected values by hand from the rules of UAX #29, section 4.1."""
    assert words(text) == expected


def test_a_script_without_spaces_is_not_one_word():
    chinese, japanese, thai = "一只猫", "猫がいる", "แมวดีตัวหนึ่ง"
    assert reasons([chinese, japanese, thai, "黑猫"]) == [None, None, None, "short_caption"]


@pytest.mark.slow
@given(st.lists(st.none() | st.text(max_size=12), max_size=8))
def test_ascii_text_is_judged_as_by_datacomp_and_any_text_by_itself(captions):
    found = reasons(captions)
    assert found == [reasons([one])[0] for one in captions]
    for one, reason in zip(captions, found, strict=True):
        if one and one.isascii() and all(part.isalnum() for part in one.split()) and one.strip():
            kept = len(one.split()) > 2 and len(one.strip()) > 5  # baselines/utils.py of DataComp
            assert (reason is None) == kept
