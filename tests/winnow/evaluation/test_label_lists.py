"""Label lists: drawn, public and refused. Expected values are counts by hand of the lists written here."""

import hashlib
import math
from collections import Counter

import pytest
import torch

from tests.winnow.evaluation.conftest import SET
from winnow.evaluation.label_lists import LabelList, refuse_few, unlabelled
from winnow.pool import uids as uid_files
from winnow.pool.pool import open_set


@pytest.fixture
def where(measured):
    """Workspace, pool and set, and a folder `lists`."""
    workspace, params = measured
    (workspace.root / "lists").mkdir()
    return workspace, open_set(workspace, params.datasets, SET), SET


def split(where, name):
    return uid_files.load(where[0].split(SET, name))


def sources(where):
    table = where[1].records("sources", ["uid", "source"])
    return dict(zip(table["uid"].to_pylist(), table["source"].to_pylist(), strict=True))


def test_the_first_draw_is_curations_and_the_others_are_balanced_and_differ(where):
    workspace, pool, _ = where
    probe = split(where, "probe")
    uid_files.save(workspace.split(SET, "labels-0.1"), probe[:8])
    first = LabelList.drawn(*where, 0.1, 0)
    assert first.uids == probe[:8]
    assert first.sha256 == hashlib.sha256(workspace.split(SET, "labels-0.1").read_bytes()).hexdigest()
    labels = dict(zip(probe, pool.index.label[pool.rows(probe)].tolist(), strict=True))
    expected = {label: math.ceil(0.1 * count) for label, count in Counter(labels.values()).items()}
    draws = [LabelList.drawn(*where, 0.1, draw) for draw in (1, 2, 1)]
    for one in draws:
        assert Counter(labels[uid] for uid in one.uids) == expected
    assert draws[0] == draws[2] != draws[1]


def test_a_public_list_of_file_names_is_read(where):
    """As SimCLR's of ImageNet: a name with its ending in each line, in no order."""
    chosen = split(where, "probe")[:5] + split(where, "val")[:2]
    path = where[0].root / "lists" / "1percent.txt"
    path.write_text("\n".join(f"{sources(where)[uid]}.JPEG" for uid in reversed(chosen)) + "\n")
    found = LabelList.read(*where, "lists", 0.01, 0)
    assert found == LabelList(sorted(chosen), hashlib.sha256(path.read_bytes()).hexdigest(), 0)


def test_a_list_of_uids_is_read_and_each_draw_has_its_own(where):
    probe = split(where, "probe")
    for name, uids in (("0.1.npy", probe[:4]), ("0.1-1.npy", probe[4:9])):
        uid_files.save(where[0].root / "lists" / name, uids)
    assert [LabelList.read(*where, "lists", 0.1, draw).uids for draw in (0, 1)] == [probe[:4], probe[4:9]]
    with pytest.raises(ValueError, match=r"lists has none of 0.1-2.npy, 0.1-2.txt, 10percent-2.txt; add one"):
        LabelList.read(*where, "lists", 0.1, 2)


def test_images_of_test_and_names_of_nothing_are_refused(where):
    folder, tested = where[0].root / "lists", split(where, "test")
    uid_files.save(folder / "0.1.npy", [*split(where, "probe")[:3], tested[0]])
    with pytest.raises(ValueError, match=f"0.1.npy: 1 of 4 uids, the first {tested[0]}, are not in"):
        LabelList.read(*where, "lists", 0.1, 0)
    (folder / "0.01.txt").write_text(f"{sources(where)[tested[0]]}\nn01440764_10026.JPEG\n")
    with pytest.raises(ValueError, match=r"0.01.txt: 2 of 2 names are of no image in the splits"):
        LabelList.read(*where, "lists", 0.01, 0)


def test_labels_of_one_class_are_refused_and_missing_classes_are_told():
    refuse_few(torch.tensor([0, 3]), "here")
    for labels, says in (([], "0 labels of 0 classes"), ([2, 2, 2], "3 labels of 1 classes")):
        with pytest.raises(ValueError, match=f"^here: {says}; a classifier needs two classes: give more"):
            refuse_few(torch.tensor(labels), "here")
    labels, test = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 2, 5, 1])
    assert unlabelled(labels, test, "listed") == (
        "; 2 classes have no listed label, and their 3 test images count as wrong"
    )
    assert unlabelled(labels, test[:1], "listed") == ""
