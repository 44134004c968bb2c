"""The archive of a comparison: complete, reproducible, and without images or weights."""

import tarfile

import pytest

from winnow.export_results import export_results
from winnow.pipeline.workspace import Workspace

KEPT = {
    "params.yaml": "seed: 0\n",
    "dvc.yaml": "stages: {}\n",
    "results/compare/table.json": "[]",
    "results/compare/plots/curves.png": "png",
    "results/pretrain/easy/metrics.json": "{}",
    "results/pretrain/easy/curve.csv": "step\n",
    "results/tasks/linear_probe/easy/held_out/outcomes.parquet": "p",
    "data/versions/pool/uids.npy": "u",
    "data/splits/held_out/test.npy": "t",
}
LEFT_OUT = ("results/pretrain/easy/model.safetensors", "data/datasets/pool/shop/shards/000000.tar")


@pytest.fixture
def workspace(tmp_path):
    root = tmp_path / "project"
    for name in (*KEPT, *LEFT_OUT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(KEPT.get(name, "large"))
    return Workspace(root)


def test_what_a_table_stands_on_is_there(workspace, tmp_path):
    count = export_results(workspace, tmp_path / "r.tar.gz")
    with tarfile.open(tmp_path / "r.tar.gz") as archive:
        found = {one.name: archive.extractfile(one).read().decode() for one in archive}
    assert len(found) == count
    assert {name: found[name] for name in KEPT} == KEPT
    assert not set(LEFT_OUT) & set(found)
    assert "Code: commit " in found["README.md"] or "Code: unknown" in found["README.md"]
    assert "requirements.lock" in found  # of the code, where the workspace has none


def test_equal_results_are_equal_bytes(workspace, tmp_path):
    for name in ("a.tar.gz", "b.tar.gz"):
        export_results(workspace, tmp_path / name)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def test_mistakes_are_one_line(workspace, tmp_path):
    with pytest.raises(ValueError, match=r"r.zip: end the name with .tar.gz"):
        export_results(workspace, tmp_path / "r.zip")
    (tmp_path / "r.tar.gz").touch()
    with pytest.raises(ValueError, match="exists already"):
        export_results(workspace, tmp_path / "r.tar.gz")
    (workspace.comparison / "table.json").unlink()
    with pytest.raises(ValueError, match="table.json: no such file; make it with: dvc repro"):
        export_results(workspace, tmp_path / "other.tar.gz")
    assert not (tmp_path / "other.tar.gz").exists()
