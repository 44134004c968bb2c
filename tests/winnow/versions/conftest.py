"""A version of the digits."""

import pytest

from tests.versions import write_third


@pytest.fixture
def third(digits_pool, tmp_path):
    """The folder data/versions/third beside data/datasets: two steps, from a parent, by a model."""
    (tmp_path / "data/datasets/pool").mkdir(parents=True)
    (tmp_path / "data/datasets/pool/digits").symlink_to(digits_pool.folder)
    write_third(tmp_path / "data/versions/third", digits_pool)
    return tmp_path / "data/versions/third"
