"""A version on disk: what it holds, what it says of itself, and that the same pool and parameters give the same bytes anywhere."""

import hashlib
import json
import socket
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from stages.data import uids as uid_files
from stages.data import version
from stages.params import Dataset, ParamsError

FILES = ("croissant.json", "lineage.json", "reasons.parquet", "uids.npy")


def make(folder, pool):
    """Every third row goes, for one of two reasons."""
    keep = np.arange(len(pool)) % 3 > 0
    reason = np.where(np.arange(len(pool)) % 2 > 0, "tiny", "blank").astype(object)
    steps = [version.taken(step, len(pool), reason[~keep]) for step in version.steps({"tiny": {"min_side": 9}, "blank": None})]
    source = version.source(Dataset(source="digits", path="/some/where/digits.tar"))
    lineage = {"source": source, "parent": None, "model": None, "seed": 0, "steps": steps}
    version.write(folder, "third", pool, keep, reason, lineage)


def test_holds_what_was_kept_and_a_reason_for_the_rest(digits_pool, tmp_path):
    make(tmp_path / "v", digits_pool)
    found = version.load(tmp_path / "v")
    uids = digits_pool.table["uid"].to_pylist()
    assert found.uids == sorted({uid for row, uid in enumerate(uids) if row % 3})
    assert found.reasons.schema == version.REASONS
    assert found.reasons["uid"].to_pylist() == uids
    for row, (keep, reason) in enumerate(zip(found.reasons["keep"].to_pylist(), found.reasons["reason"].to_pylist(), strict=True)):
        assert (keep, reason) == ((True, None) if row % 3 else (False, "tiny" if row % 2 else "blank"))


def test_lineage_says_what_it_is_and_where_it_comes_from(digits_pool, tmp_path):
    make(tmp_path / "v", digits_pool)
    found = version.load(tmp_path / "v")
    facts = found.lineage
    assert facts["digest"] == found.digest == hashlib.sha256((tmp_path / "v/uids.npy").read_bytes()).hexdigest()
    assert facts["pool"] == {
        "digest": hashlib.sha256((digits_pool.folder / "index.parquet").read_bytes()).hexdigest(),
        "rows": len(digits_pool),
    }
    assert (facts["name"], facts["count"], facts["parent"]) == ("third", len(found.uids), None)
    assert facts["reasons"] == dict(Counter(reason for reason in found.reasons["reason"].to_pylist() if reason).most_common())
    assert [(step["name"], step["parameters"]) for step in facts["steps"]] == [("tiny", {"min_side": 9}), ("blank", {"min_std": 4.0})]


def test_the_same_bytes_in_another_process_and_folder(digits_pool, tmp_path):
    make(tmp_path / "here", digits_pool)
    there = tmp_path / "far/away/there"
    subprocess.run([sys.executable, __file__, there, digits_pool.folder], check=True)
    assert sorted(path.name for path in there.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "here" / name).read_bytes() == (there / name).read_bytes(), name


def test_no_machine_in_any_file(digits_pool, tmp_path):
    make(tmp_path / "v", digits_pool)
    for name in FILES:
        data = (tmp_path / "v" / name).read_bytes()
        for secret in (str(tmp_path), str(digits_pool.folder), "/some/where", socket.gethostname()):
            assert secret.encode() not in data, (name, secret)


def test_nothing_kept_is_one_line(digits_pool, tmp_path):
    none = np.zeros(len(digits_pool), bool)
    with pytest.raises(ValueError, match="version v: nothing is left; loosen its filters or give more data"):
        version.write(tmp_path / "v", "v", digits_pool, none, np.full(len(digits_pool), "tiny", object), {})
    assert not (tmp_path / "v").exists()


def test_steps_fill_in_defaults_and_refuse_what_a_filter_does_not_take():
    (step,) = version.steps({"aspect": None})
    assert step["parameters"] == {"max_ratio": 3.0}  # the default of stages/filters/aspect.py
    with pytest.raises(ParamsError, match="versions.v.filters.aspect.*max_ratoi: not a key"):
        version.steps({"aspect": {"max_ratoi": 2}}, key="versions.v.filters")


def test_a_code_hash_follows_helpers_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "stages/filters"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text("import numpy\nfrom stages.filters import verdicts\nfrom stages.filters._help import x\n")
    (folder / "_help.py").write_text("from stages.filters import _more\nx = 1\n")
    (folder / "_more.py").write_text("y = 1\n")
    (folder / "two.py").write_text("z = 1\n")
    monkeypatch.setattr(version, "ROOT", tmp_path)
    hashes = [version.code_hash("stages.filters.one")]
    (folder / "two.py").write_text("z = 2\n")
    assert version.code_hash("stages.filters.one") == hashes[0]
    for name, text in (("_more", "y = 2\n"), ("_help", "x = 3\n"), ("one", "pass\n")):
        (folder / f"{name}.py").write_text(text)
        hashes.append(version.code_hash("stages.filters.one"))
    assert len(set(hashes)) == 4
    (folder / "one.py").write_bytes(b"pass\r\n")  # how a checkout ends its lines says nothing about the code
    assert version.code_hash("stages.filters.one") == hashes[-1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/data/shards", "shards"),
        ("data/{000..010}.tar", "{000..010}.tar"),
        ("https://me:secret@host/a/b.tar?token=1", "https://host/a/b.tar"),
        ("s3://bucket/a", "s3://bucket/a"),
        (None, None),
    ],
)
def test_a_source_is_told_without_the_machine_or_a_secret(path, expected):
    dataset = Dataset(source="webdataset", path=path, options={"annotations": "/home/me/x.json", "label": "kind"})
    found = version.source(dataset)
    assert found["path"] == expected
    assert found["options"] == {"annotations": "x.json", "label": "kind"}


def test_a_subset_made_elsewhere_is_a_version_without_lineage(tmp_path):
    uid_files.save(tmp_path / "uids.npy", ["0" * 32])
    found = version.load(tmp_path)
    assert (found.uids, found.lineage, len(found.reasons), found.name) == (["0" * 32], {}, 0, tmp_path.name)


def test_no_version_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no version there \\(FileNotFoundError\\); give a folder with uids.npy, or its name"):
        version.load(tmp_path)
    uid_files.save(tmp_path / "uids.npy", ["0" * 32])
    (tmp_path / "lineage.json").write_text("{")
    with pytest.raises(ValueError, match="lineage.json: not valid JSON .*; make the version again"):
        version.load(tmp_path)


def test_lineage_is_readable_in_any_script(digits_pool, tmp_path):
    every = np.ones(len(digits_pool), bool)
    lineage = {"source": {"source": "ordner", "path": "画像"}, "parent": None, "model": None, "seed": 0, "steps": []}
    version.write(tmp_path / "v", "alle", digits_pool, every, np.full(len(digits_pool), None, object), lineage)
    assert "画像" in (tmp_path / "v/lineage.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "v/lineage.json").read_text(encoding="utf-8"))["reasons"] == {}


if __name__ == "__main__":  # the other process
    from pathlib import Path

    from stages.data.pool import Pool

    make(Path(sys.argv[1]), Pool.open(sys.argv[2]))


def test_lineage_keeps_no_secret_and_no_path_of_a_machine(tmp_path):
    storage = {"storage": {"key": "AKIA", "secret": "hush"}, "sha256": True}
    found = version.source(Dataset(source="webdataset", path="/home/me/shards", options=storage))
    assert found["path"] == "shards"
    assert found["options"] == {"sha256": True}
    words = tmp_path / "words.txt"
    words.write_text("cat\n")
    (step,) = version.steps({"concepts": {"entries": str(words)}})
    assert step["parameters"]["entries"] == "words.txt"
    assert step["files"] == {"entries": hashlib.sha256(b"cat\n").hexdigest()}
