"""A version: a whole one is good, and each way to be wrong is counted and named."""

import numpy as np
import pytest

from winnow.lint.check_version import check_version
from winnow.pool import uids


@pytest.fixture
def held(version):
    return uids.load(version / "uids.npy")


def save(version, *names):
    """Without the checks of `uids.save`."""
    pairs = [(int(name[:16], 16), int(name[16:], 16)) for name in names]
    np.save(version / "uids.npy", np.array(pairs, uids.DTYPE))


def test_a_whole_version_is_good(version):
    report = check_version(version)
    assert (report.failed, report.good) == (False, 15)
    assert list(report.lines())[-1].split() == ["15", "good;", "nothing", "wrong"]


def test_uids_out_of_order_or_twice(version, held):
    save(version, *held[::-1])
    assert dict(check_version(version).counts) == {"unsorted": 1}
    save(version, held[0], *held)
    report = check_version(version)
    assert (dict(report.counts), report.first["twice"]) == ({"twice": 1}, [held[0]])


def test_uids_that_the_pool_or_the_reasons_do_not_have(version, held):
    save(version, *held, "f" * 32)
    assert dict(check_version(version).counts) == {"not_in_pool": 1, "reasons_differ": 1}
    save(version, *held[1:])
    assert check_version(version).first["reasons_differ"] == [held[0]]


def test_uids_that_are_none(version):
    np.save(version / "uids.npy", np.arange(3))
    assert dict(check_version(version).counts) == {"wrong_uids": 1}
    (version / "uids.npy").write_bytes(b"no")
    assert dict(check_version(version).counts) == {"wrong_uids": 1}


def test_a_drop_without_a_reason_and_no_reasons(version, put):
    put(version / "reasons.parquet", "reason", 19, None)
    assert dict(check_version(version).counts) == {"no_reason": 1}
    (version / "reasons.parquet").write_bytes(b"PAR1 no")
    assert dict(check_version(version).counts) == {"reasons_differ": 1}
    (version / "reasons.parquet").unlink()
    assert dict(check_version(version).counts) == {"no_reason": 1}


def test_without_a_pool_the_uids_are_not_looked_up(version, pool):
    (pool / "index.parquet").unlink()
    report = check_version(version)
    assert (report.failed, len(report.notes)) == (False, 1)
