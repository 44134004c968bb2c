"""Three pictures in a folder, and one outside it."""

import pytest

from tests.pictures import plain


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, value in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        (tmp_path / "pictures" / name).write_bytes(plain(value))
    (tmp_path / "secret.png").write_bytes(plain(9))
    return tmp_path
