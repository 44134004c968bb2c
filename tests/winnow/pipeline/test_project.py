"""`winnow init`: a project beside the clone, whose stages run the clone's code."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from winnow.cli.main import main
from winnow.config.plugins import CODE
from winnow.pipeline.project import link, start
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace

COPIED = ("dvc.yaml", "params.yaml", "conf/config.yaml", ".dvc/config")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_project_has_settings_of_its_own_and_the_code_of_the_clone(tmp_path):
    start(tmp_path / "mine")
    mine = tmp_path / "mine"
    for name in COPIED:
        assert (mine / name).read_bytes() == (CODE / name).read_bytes()
        assert not (mine / name).is_symlink()
    assert (mine / "winnow").resolve() == CODE / "winnow"
    assert Workspace.find(mine / "conf").root == mine
    code = {dep for entry in Stages.read(mine).entries.values() for dep in entry.deps if dep.endswith(".py")}
    assert [dep for dep in code if not (mine / dep).is_file()] == []


def test_git_sees_the_settings_alone(tmp_path):
    start(tmp_path / "mine")
    listed = run(tmp_path / "mine", "git", "status", "--short", "--untracked-files=all").stdout
    names = {line.removeprefix("?? ").split("/")[0] for line in listed.splitlines()}
    assert names == {".dvc", ".dvcignore", ".gitignore", "conf", "dvc.yaml", "params.yaml"}


@pytest.mark.parametrize(
    ("folder", "says"),
    [("full", "is not empty; give a new folder"), ("full/file", "is not empty; give a new folder")],
)
def test_what_is_there_is_left_alone(tmp_path, folder, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    result = CliRunner().invoke(main, ["init", str(tmp_path / folder)])
    assert (result.exit_code, result.output) == (1, f"{tmp_path / folder} {says}\n")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_a_project_needs_a_clone_and_lies_outside_of_it(tmp_path):
    with pytest.raises(ValueError, match="has no dvc.yaml; run `winnow init` of a clone"):
        start(tmp_path / "mine", code=tmp_path)
    with pytest.raises(ValueError, match="lies in the clone"):
        start(CODE / "data-of-mine")
    assert not (CODE / "data-of-mine").exists()


def test_links_are_made_anew_after_a_move(tmp_path):
    start(tmp_path / "mine")
    (tmp_path / "mine" / "winnow").unlink()
    (tmp_path / "mine" / "winnow").symlink_to(tmp_path / "gone")
    link(tmp_path / "mine")
    assert (tmp_path / "mine" / "winnow" / "cli").is_dir()
    with pytest.raises(ValueError, match="has no dvc.yaml, so it is no project"):
        link(tmp_path)
    (tmp_path / "mine" / "stages").unlink()
    (tmp_path / "mine" / "stages").mkdir()
    with pytest.raises(ValueError, match="stages is there and no link; move it away"):
        link(tmp_path / "mine")


@pytest.mark.slow
def test_a_stage_runs_as_a_new_user_runs_it(tmp_path):
    """And DVC has nothing left to do afterwards: what a link leads to is a dependency like any other."""
    mine = tmp_path / "mine"
    start(mine)
    dvc = (str(mine / ".venv" / "bin" / "python"), "-m", "dvc")
    done = run(mine, *dvc, "repro", "plugins")
    assert done.returncode == 0, done.stderr
    assert (mine / "data/plugins/code/versions/pool.json").is_file()
    assert "up to date" in run(mine, *dvc, "status", "plugins").stdout
