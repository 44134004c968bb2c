"""Checkpoints: whole or not there, whatever happens to the process, the file or the disk."""

import os
import resource
import subprocess
import sys
import textwrap

import pytest
import torch

from winnow.training.checkpoint import Checkpoint, checkpoint_key

STATE = {"step": 3, "weights": torch.arange(100_000)}


def saved(folder, state=STATE):
    checkpoint = Checkpoint(folder, "key", 1e9)
    checkpoint.save(state)
    return checkpoint


def test_what_is_saved_is_loaded(tmp_path):
    loaded = saved(tmp_path / "new").load()
    assert loaded["step"] == 3
    assert torch.equal(loaded["weights"], STATE["weights"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["key.pt"]


def test_there_is_none_before_the_first_save_and_after_the_run(tmp_path):
    assert Checkpoint(tmp_path, "key", 0).load() is None
    checkpoint = saved(tmp_path)
    (tmp_path / "key.pt.4711.partial").touch()  # of a process that was killed while it wrote
    (tmp_path / "other.pt").touch()
    checkpoint.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["other.pt"]
    checkpoint.remove()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_file_counts_as_none(content, tmp_path, capsys):
    checkpoint = saved(tmp_path)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert checkpoint.load() is None
    assert "key.pt cannot be read" in capsys.readouterr().out


def test_it_is_due_when_its_time_has_passed(tmp_path):
    assert Checkpoint(tmp_path, "key", 0.0).due()
    checkpoint = Checkpoint(tmp_path, "key", 0.0)
    checkpoint.seconds = 1e9
    assert not checkpoint.due()


def test_a_disk_without_space_is_one_line_and_the_last_checkpoint_stays(tmp_path):
    """torch's own traceback names neither the file nor what to do."""
    checkpoint = saved(tmp_path)
    (tmp_path / f"key.pt.{os.getpid()}.partial").symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=r"key\.pt: the checkpoint cannot be written \(.*\); free some"
    ) as caught:
        checkpoint.save({"step": 4, "weights": torch.zeros(1_000_000)})
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert checkpoint.load()["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["key.pt"]


@pytest.mark.slow
def test_a_disk_that_fills_while_the_file_is_written_is_one_line_too(tmp_path):
    """A limit of the file's size, in a process of its own, stands for the disk."""
    saved(tmp_path)
    script = f"""
        import resource, torch
        from pathlib import Path
        from winnow.training.checkpoint import Checkpoint
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, {resource.RLIM_INFINITY}))
        try:
            Checkpoint(Path({str(tmp_path)!r}), "key", 0).save({{"weights": torch.zeros(1_000_000)}})
        except OSError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'key.pt'}: the checkpoint cannot be written (")
    assert Checkpoint(tmp_path, "key", 0).load()["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["key.pt"]


def test_another_setting_file_or_module_is_another_key(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    base = checkpoint_key({"lr": 0.1}, [one], "models.criteria.hard")
    assert base == checkpoint_key({"lr": 0.1}, [one], "models.criteria.hard")
    assert base != checkpoint_key({"lr": 0.2}, [one], "models.criteria.hard")
    assert base != checkpoint_key({"lr": 0.1}, [other], "models.criteria.hard")
    assert base != checkpoint_key({"lr": 0.1}, [one], "models.criteria.easy")
    one.write_text("3")
    assert base != checkpoint_key({"lr": 0.1}, [one], "models.criteria.hard")
