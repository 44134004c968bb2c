"""A store of embeddings: exact look-ups, each key once, and nothing of half a part."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import unit
from winnow.embedding.cache import Store, text_key

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.lists(HEX, min_size=1, max_size=8, unique=True), max_size=4),
    others=st.lists(HEX, max_size=6),
)
def test_a_store_gives_back_what_it_was_given(tmp_path_factory, groups, others):
    store, known = Store(tmp_path_factory.mktemp("store")), {}
    draw = np.random.default_rng(0)
    for keys in groups:
        fresh = [keys[i] for i in store.missing(keys)]
        assert fresh == [key for key in keys if key not in known]
        if fresh:
            values = draw.normal(size=(len(fresh), 3)).astype(np.float32)
            store.add(fresh, values)
            known |= dict(zip(fresh, values, strict=True))
    keys = [*others, *others, *known]
    assert [keys[i] for i in store.missing(keys)] == [k for k in dict.fromkeys(others) if k not in known]
    if known:
        got = store.get(list(known))
        np.testing.assert_allclose(got, unit(np.array(list(known.values()))), atol=2e-3)  # float16
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)


def test_a_key_that_is_not_there_is_named(tmp_path):
    store = Store(tmp_path)
    store.add(["0" * 32], np.ones((1, 2)))
    with pytest.raises(ValueError, match="no embedding of f{32}"):
        store.get(["0" * 32, "f" * 32])


def test_half_a_part_does_not_count(tmp_path):
    store = Store(tmp_path)
    store.add(["0" * 32], np.ones((1, 2)))
    next(tmp_path.glob("*.keys.npy")).unlink()  # as a kill between its two files leaves it
    assert store.missing(["0" * 32]).tolist() == [0]


def test_texts_have_keys_of_their_own():
    assert text_key("a dog") != text_key("a cat")
    assert text_key("\udc80") == text_key("\udc80")  # a lone surrogate, from bytes that were no text
