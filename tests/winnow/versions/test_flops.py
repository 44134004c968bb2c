"""flops.json: written and read again, with what a further version spends."""

import json

import pytest

from winnow.versions.flops import CurationFlops


def test_what_is_written_is_read(tmp_path):
    for flops in (CurationFlops(), CurationFlops(7, {"clip": 5})):
        flops.write(tmp_path)
        assert CurationFlops.read(tmp_path) == flops
    assert json.loads((tmp_path / "flops.json").read_text()) == {"curate": 7, "references": {"clip": 5}}


def test_a_further_version_adds_its_own():
    first = CurationFlops().plus(10, "clip", 6)
    assert first == CurationFlops(10, {"clip": 6})
    assert first.plus(3, "clip", 0) == CurationFlops(13, {"clip": 6})  # its parent has paid for the model
    assert first.plus(3) == CurationFlops(13, {"clip": 6})


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "flops.json").write_text("{")
    with pytest.raises(
        ValueError, match="flops.json: not valid JSON .*; make it again with: dvc repro -f refine"
    ):
        CurationFlops.read(tmp_path)


def test_a_union_pays_once_for_a_reference_that_made_both():
    """10 + 20 in all, 6 of each of them the same training of clip; the training of dino made one of them."""
    one, other = CurationFlops(10, {"clip": 6}), CurationFlops(20, {"clip": 6, "dino": 3})
    assert one.joined(other) == other.joined(one) == CurationFlops(24, {"clip": 6, "dino": 3})
    assert CurationFlops().joined(one) == one.joined(CurationFlops()) == one
