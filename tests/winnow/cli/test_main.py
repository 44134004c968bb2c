"""The command itself: quick to start, and one line for each mistake of the user."""

import shutil
import subprocess
import sys

import pytest

from winnow.config.plugins import CODE


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["show"], 1, "results/compare/table.md: no comparison there yet; make it with: dvc repro"),
        (["show", "--limit", "3"], 1, "require a VERSION: winnow show VERSION --dropped-by FILTER"),
        (["show", "part", "--limit", "3"], 1, "--limit and --html require --dropped-by FILTER"),
        (["show", "nothing"], 1, "data/versions/nothing: no version there"),
        (["show", "part", "--dropped-by", "blur"], 1, "neither a step nor a reason of part; it has: dark 3"),
        (["diff", "part", "nothing"], 1, "data/versions/nothing: no version there"),
        (["trace", "a", "b"], 1, "results/pretrain/a/trace.parquet: no readable trace"),
        (["export", "nothing", "out"], 1, "data/versions/nothing: no version there"),
        (["export", "part", "."], 1, "already"),
        (["lint", "nothing.tar"], 2, "nothing.tar"),
        (["compose", "pretrain.budgets=3"], 2, "pretrain.budgets: not a key; did you mean budget?"),
        (["compose", "pretrain.budget=-1"], 2, "pretrain.budget: -1.0 is out of range; allowed: above 0"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(winnow, workspace, arguments, code, expected):
    shutil.copytree(CODE / "conf", workspace.conf)
    before = workspace.params.read_text()
    result = winnow(*arguments)
    assert expected in result.output
    assert result.output.count("\n") == 1
    assert result.exit_code == code
    assert workspace.params.read_text() == before


def test_compose_writes_the_params_of_the_workspace(winnow, workspace):
    shutil.copytree(CODE / "conf", workspace.conf)
    result = winnow("compose", "dataset=digits", "scale=debug", "arms=supervised-easy,hard")
    arms = "4 arms: supervised-hard, supervised-easy-s0, supervised-easy-s1, supervised-easy-s2"
    assert result.output == f"params.yaml written, {arms}; now: dvc repro\n"
    assert "source: digits" in workspace.params.read_text()


def test_compose_says_what_dvc_must_be_told(winnow, workspace):
    shutil.copytree(CODE / "conf", workspace.conf)
    workspace.params.unlink()
    result = winnow("compose", "--dvc", "scale=debug", "arms=hard", "arms.supervised-hard.seed=3")
    sets = "-S scale=debug -S ++arms.supervised-hard.seed=3 -S '++keep=[supervised-hard]'"
    assert result.output == f"dvc exp run {sets}\n"
    assert not workspace.params.exists()


def test_starting_imports_nothing_heavy():
    heavy = {"numpy", "pyarrow", "PIL", "omegaconf", "yaml", "torch", "matplotlib", "mlflow"}
    code = f"import sys, winnow.cli.main; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
