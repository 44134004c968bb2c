"""flops.json: written and read again, with what a further version spends."""

import json

import pytest

from winnow.versions.flops import CurationFlops


def test_what_is_written_is_read(tmp_path):
    for flops in (CurationFlops(), CurationFlops({"small": 2}, {"clip": 5})):
        flops.write(tmp_path)
        assert CurationFlops.read(tmp_path) == flops
    found = json.loads((tmp_path / "flops.json").read_text())
    assert found == {"curate": 7, "versions": {"small": 2}, "references": {"clip": 5}}


def test_a_further_version_adds_its_own():
    first = CurationFlops().plus("a", 10, "clip", 6)
    assert first == CurationFlops({"a": 4}, {"clip": 6})
    assert first.plus("b", 3, "clip", 0) == CurationFlops({"a": 4, "b": 3}, {"clip": 6})  # already paid for
    assert first.plus("b", 3).curate == 13


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "flops.json").write_text("{")
    with pytest.raises(
        ValueError, match="flops.json: not valid JSON .*; make it again with: dvc repro -f refine"
    ):
        CurationFlops.read(tmp_path)


def test_a_union_pays_once_for_what_its_parts_have_in_common():
    """4 and 11 + 3 of their own, 6 for clip that made both, 3 for dino that made one. With a descendant, the
    ancestor's 10 are in both, and only 5 are new.
    """
    one = CurationFlops().plus("a", 10, "clip", 6)
    other = CurationFlops({"b": 11}, {"dino": 3}).plus("c", 9, "clip", 6)
    assert one.joined(other).curate == other.joined(one).curate == 4 + 11 + 3 + 3 + 6
    assert one.joined(one.plus("d", 5)).curate == 15
    assert CurationFlops().joined(one) == one.joined(CurationFlops()) == one
