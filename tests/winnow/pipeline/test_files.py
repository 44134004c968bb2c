"""Files that are whole or not there, long work that outlives a kill, and one process an address."""

import contextlib
import subprocess
import sys
import time

import pytest

from winnow.pipeline.files import read_json, replacing, write_json
from winnow.pipeline.lock import exclusive
from winnow.pipeline.partial import deliver, partial_folder
from winnow.pipeline.workspace import Workspace


def test_a_file_is_replaced_when_it_is_whole_and_not_before(tmp_path):
    path = tmp_path / "deep/file.txt"
    with replacing(path) as partial:
        partial.write_text("one")
        assert not path.exists()
    with contextlib.suppress(RuntimeError), replacing(path) as partial:
        partial.write_text("tw")
        raise RuntimeError
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]


def test_equal_values_are_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b.json", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None], "b": 1}


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000])
def test_a_damaged_json_file_is_one_line_with_the_mend(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.json: .*; make it again with: dvc repro -f") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_a_partial_folder_is_that_of_its_inputs_and_code(tmp_path):
    first = partial_folder(tmp_path, "ingest", {"a": 1}, "winnow.pool.images")
    (first / "file").write_text("x")
    assert partial_folder(tmp_path, "ingest", {"a": 1}, "winnow.pool.images") == first
    other = partial_folder(tmp_path, "refine-clean", {"a": 1}, "winnow.pool.images")
    assert (first / "file").exists(), "that of other work stays"
    assert partial_folder(tmp_path, "ingest", {"a": 1}, "winnow.pool.uids") != first
    assert not first.exists(), "that of other code goes"
    assert other.exists()


def test_a_whole_result_is_delivered_file_by_file(tmp_path):
    folder = tmp_path / "partial"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/file").write_text("x")
    deliver(folder, tmp_path / "out")
    assert (tmp_path / "out/deep/file").read_text() == "x"
    assert not folder.exists()


def test_a_second_process_at_one_address_is_refused_until_the_first_has_ended(tmp_path):
    path = tmp_path / "locks/pretrain@x.lock"
    program = (
        "import sys, time; from pathlib import Path; from winnow.pipeline.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'x'):\n    print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        says = f"pretrain@x is already running as process {child.pid}; wait for it, or end it"
        with pytest.raises(ValueError, match=says), exclusive(path, "pretrain@x", patience=0.3):
            pass
    finally:
        child.kill()
        child.wait()
    with exclusive(path, "pretrain@x", patience=5):
        time.sleep(0)


def test_a_workspace_is_found_from_below_it(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "a/b").mkdir(parents=True)
    assert Workspace.find(tmp_path / "a/b") == Workspace(tmp_path.resolve())
    assert Workspace.find(tmp_path.parent).root.joinpath("winnow").is_dir(), (
        "outside of any, that of the code"
    )
