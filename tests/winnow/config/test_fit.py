"""The image size that follows the data."""

import pytest

from tests.pictures import noise
from winnow.config.compose import composed
from winnow.config.errors import ParamsError
from winnow.config.plugins import CODE
from winnow.pipeline.workspace import Workspace

CONF = Workspace(CODE).conf


def overrides(tmp_path):
    return ["experiment=own_images", f"datasets.pool={tmp_path}", f"datasets.reference={tmp_path}/trusted"]


@pytest.mark.slow
@pytest.mark.parametrize(("side", "expected"), [(70, 64), (500, 224), (20, 28)])
def test_image_size_follows_the_pictures(tmp_path, capsys, side, expected):
    """The rule of winnow/config/proposals.py: the largest step up to the median, 28 at least, 224 at most."""
    (tmp_path / "trusted").mkdir()
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(noise(number, (side + number, side)))
        (tmp_path / "trusted" / f"{number}.png").write_bytes(noise(9 + number, (side, side)))
    found = composed(overrides(tmp_path), CONF)["backbones"]
    assert {name: one["image_size"] for name, one in found.items()} == {
        "resnet10t": expected,
        "test_byobnet": expected,
    }
    assert f"image_size {expected}: the median shorter side of" in capsys.readouterr().out
    given = composed([*overrides(tmp_path), "backbones.resnet10t.image_size=48"], CONF)["backbones"]
    assert given["resnet10t"]["image_size"] == 48


@pytest.mark.slow
def test_without_a_picture_the_size_must_be_given(tmp_path):
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted/a.txt").write_text("no picture")
    with pytest.raises(
        ParamsError, match=r"backbones.resnet10t.image_size: null, and no picture of the pool"
    ):
        composed(overrides(tmp_path), CONF)
