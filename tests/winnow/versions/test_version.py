"""A version on disk: what it holds, its lineage, and that the same pool and parameters give the same bytes
anywhere.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tests.vectors import numbered
from tests.versions import PLAIN_CPU, write_all
from winnow.config.plugins import CODE
from winnow.pool import uids as uid_files
from winnow.versions import version

FILES = ["croissant.json", "lineage.json", "reasons.parquet", "uids.npy"]


def test_holds_what_was_kept_and_a_reason_for_the_rest(digits_pool, third):
    found = version.load(third)
    uids = digits_pool.table["uid"].to_pylist()
    assert found.uids == sorted({uid for row, uid in enumerate(uids) if row % 3})
    assert found.reasons.schema == version.REASONS
    assert found.reasons["uid"].to_pylist() == uids
    expected = [
        (True, None) if row % 3 else (False, "tiny" if row % 2 else "blank") for row in range(len(uids))
    ]
    columns = found.reasons["keep"].to_pylist(), found.reasons["reason"].to_pylist()
    assert list(zip(*columns, strict=True)) == expected


def test_lineage_says_what_it_is_and_where_it_comes_from(digits_pool, third):
    found = version.load(third)
    facts = found.lineage
    assert facts["digest"] == found.digest == hashlib.sha256((third / "uids.npy").read_bytes()).hexdigest()
    index = hashlib.sha256((digits_pool.folder / "index.parquet").read_bytes()).hexdigest()
    (one,) = facts["datasets"].items()
    about = {"role": "pool", "digest": index, "rows": len(digits_pool)}
    held = sum(found.reasons["keep"].to_pylist())
    assert one == ("digits", {**about, "held": held, "source": one[1]["source"]})
    assert one[1]["source"]["path"] == "digits.tar"
    assert (facts["name"], facts["count"], facts["parent"]["name"]) == ("third", len(found.uids), "pool")
    reasons = Counter(reason for reason in found.reasons["reason"].to_pylist() if reason)
    assert facts["reasons"] == dict(reasons.most_common())
    assert [(step["name"], step["parameters"]) for step in facts["steps"]] == [
        ("tiny", {"min_side": 9}),
        ("blank", {"min_std": 4.0}),
    ]


RUN = """
import sys
from pathlib import Path
from tests.versions import write_third
from winnow.pool.pool import Pool
write_third(Path(sys.argv[1]), Pool.open(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}, PLAIN_CPU])
def test_the_same_bytes_in_another_process_folder_and_environment(digits_pool, third, tmp_path, environment):
    there = tmp_path / "far/away/there"
    command = [sys.executable, "-c", RUN, there, digits_pool.folder]
    subprocess.run(command, check=True, cwd=CODE, env={**os.environ, **environment})
    assert sorted(path.name for path in there.iterdir()) == FILES
    for name in FILES:
        assert (third / name).read_bytes() == (there / name).read_bytes(), name


def test_no_machine_in_any_file(digits_pool, third, tmp_path):
    for name in FILES:
        data = (third / name).read_bytes()
        for secret in (str(tmp_path), str(digits_pool.folder), "/some/where", socket.gethostname()):
            assert secret.encode() not in data, (name, secret)


def test_nothing_kept_is_one_line(digits_pool, tmp_path):
    none, reason = np.zeros(len(digits_pool), bool), np.full(len(digits_pool), "tiny", object)
    with pytest.raises(ValueError, match="version v: nothing is left; loosen its filters or give more data"):
        version.write(tmp_path / "v", "v", digits_pool, none, reason, {})
    assert not (tmp_path / "v").exists()


def test_a_subset_made_elsewhere_is_a_version_without_lineage(tmp_path):
    uid_files.save(tmp_path / "uids.npy", numbered(1))
    found = version.load(tmp_path)
    assert (found.uids, found.lineage, len(found.reasons), found.name) == (numbered(1), {}, 0, tmp_path.name)


def test_no_version_is_one_line(tmp_path):
    line = r"no version there \(FileNotFoundError\); give a folder with uids.npy, or its name"
    with pytest.raises(ValueError, match=line):
        version.load(tmp_path)
    uid_files.save(tmp_path / "uids.npy", numbered(1))
    (tmp_path / "lineage.json").write_text("{")
    with pytest.raises(ValueError, match="lineage.json: not valid JSON .*; make the version again"):
        version.load(tmp_path)


def test_lineage_is_readable_in_any_script(digits_pool, tmp_path):
    write_all(tmp_path / "v", digits_pool, "alle", {"source": "ordner", "path": "画像"})
    text = (tmp_path / "v/lineage.json").read_text(encoding="utf-8")
    assert "画像" in text
    assert json.loads(text)["reasons"] == {}
