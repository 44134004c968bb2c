"""What the guard says that it misses, and what a version says about leaks."""

import json

import numpy as np
import pytest
from scipy.stats import norm

from tests.pictures import encode
from tests.pools import ingest
from tests.winnow.leakage.conftest import scene
from winnow.config.datasets import Dataset
from winnow.leakage import estimate
from winnow.leakage.alterations import ALTERATIONS
from winnow.leakage.config import Config
from winnow.leakage.thumbnails import Thumbnails, fingerprints


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A pool of twelve jpgs of 200 px."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(12):
        file = folder / "source" / "one" / f"{seed:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(scene(seed, 200), "JPEG", quality=95))
    return ingest(folder / "pool", Dataset(source="folder", path=str(folder / "source"), trusted=1.0))[1]


def test_fingerprints_are_in_the_order_of_the_rows_for_any_number_of_threads(photographs):
    rows = np.array([3, 1, 1, 7])
    one, three = (fingerprints(photographs, rows, threads) for threads in (1, 3))
    np.testing.assert_array_equal(one.luma, three.luma)
    np.testing.assert_array_equal(one.chroma, three.chroma)
    np.testing.assert_array_equal(one.luma[1], one.luma[2])
    assert (one.luma[0] != one.luma[1]).any()
    assert one.luma.nbytes + one.chroma.nbytes == 4 * 1152


@pytest.mark.slow
def test_the_estimate_finds_copies_and_no_strangers(photographs):
    others = Thumbnails.of([scene(seed) for seed in range(100, 130)])
    found = estimate.estimate_missed(photographs, np.arange(12), others, Config(), seed=0)
    assert list(found["alterations"]) == list(ALTERATIONS)
    assert (found["sample"], found["others"]) == (12, 30)
    for name in ("crop", "reencode", "flip"):
        assert found["alterations"][name]["recall"] >= 0.9
    assert found["unrelated"]["found"] == 0
    assert found == estimate.estimate_missed(photographs, np.arange(12), others, Config(), seed=0, threads=1)
    assert json.loads(json.dumps(found)) == found


def test_where_nothing_is_searched_for_nothing_is_found(photographs):
    found = estimate.estimate_missed(
        photographs, np.arange(3), Thumbnails.empty(0), Config(method="off"), seed=0
    )
    assert {each["found"] for each in found["alterations"].values()} == {0}
    assert found["unrelated"] == {"others": 0, "found": 0, "share": None, "interval": None}


def test_the_interval_is_wilsons():
    """E. B. Wilson 1927, written out."""
    k, n, z = 17, 20, norm.ppf(0.975)
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    assert estimate._share(k, n, "recall")["interval"] == pytest.approx(
        [centre - half, centre + half], abs=1e-4
    )


def test_a_certificate_is_json_and_says_what_was_done():
    made = estimate.certificate(
        {"flowers.test": 400}, Config(threshold=0.6), {"flowers.test": 3}, {"sample": 0}
    )
    assert json.loads(json.dumps(made)) == made
    assert (made["method"], made["parameters"]["threshold"]) == ("aligned", 0.6)
    assert made["guarded"] == {"flowers.test": 400}
    assert made["dropped"] == {"flowers.test": 3}
    assert len(made["code"]) == 64
