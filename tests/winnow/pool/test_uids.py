import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.pool import uids

UID = st.binary(min_size=16, max_size=16).map(bytes.hex)


def test_uid_is_the_first_half_of_sha256():
    # FIPS 180-2, appendix B.1: SHA-256 of "abc" begins with these 128 bits
    assert uids.of(b"abc") == "ba7816bf8f01cfea414140de5dae2223"


@given(st.sets(UID, max_size=30))
def test_what_is_saved_is_loaded_sorted(tmp_path_factory, given_uids):
    path = tmp_path_factory.mktemp("uids") / "uids.npy"
    uids.save(path, given_uids)
    assert uids.load(path) == sorted(given_uids)


def test_file_is_datacomps_subset_format(tmp_path):
    names = [hashlib.sha256(bytes([i])).hexdigest()[:32] for i in range(50)]
    uids.save(tmp_path / "ours.npy", names)
    # DataComp, README "Subset file format": this array, sorted, written with np.save
    theirs = np.array([(int(u[:16], 16), int(u[16:32], 16)) for u in names], np.dtype("u8,u8"))
    theirs.sort()
    buffer = io.BytesIO()
    np.save(buffer, theirs)
    assert (tmp_path / "ours.npy").read_bytes() == buffer.getvalue()


def test_duplicate_and_invalid_uids_are_refused(tmp_path):
    with pytest.raises(ValueError, match="occurs twice"):
        uids.save(tmp_path / "u.npy", ["0" * 32, "1" * 32, "0" * 32])
    for wrong in ("abc", "g" * 32, "A" * 32, " " + "0" * 31):
        with pytest.raises(ValueError, match="not a uid"):
            uids.save(tmp_path / "u.npy", [wrong])
    assert not (tmp_path / "u.npy").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_is_one_line(tmp_path, content):
    (tmp_path / "u.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"u\.npy: not a uid file") as caught:
        uids.load(tmp_path / "u.npy")
    assert "\n" not in str(caught.value)


def test_an_array_of_another_kind_is_refused(tmp_path):
    np.save(tmp_path / "u.npy", np.arange(3))
    with pytest.raises(ValueError, match="u8,u8"):
        uids.load(tmp_path / "u.npy")


def test_fractions_are_even_and_do_not_run_together():
    draws = np.array([uids.fraction(0, "kind", i) for i in range(20_000)])
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    # binomial: 2,000 expected in each tenth, standard deviation sqrt(20,000 * 0.1 * 0.9) = 42
    assert np.all(np.abs(counts - 2000) < 5 * 42)
    assert uids.fraction("a", "bc") != uids.fraction("ab", "c")
    assert uids.fraction(1, "x") == uids.fraction("1", "x")


@given(st.text())
def test_any_text_has_a_fraction(text):
    assert 0 <= uids.fraction(text) < 1
