"""Help that a newcomer can copy from, and completion."""

import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from winnow.cli import help as shared
from winnow.cli.main import main
from winnow.config.plugins import CODE


def text(*arguments: str) -> str:
    return CliRunner().invoke(main, [*arguments, "--help"]).output


def test_every_command_stands_in_one_section():
    named = [name for names in shared.SECTIONS.values() for name in names]
    assert sorted(named) == sorted(main.commands)
    shown = re.findall(r"^  ([\w-]+)  ", text().partition("Set up:")[2], re.MULTILINE)
    assert shown == named


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_examples_of_itself(name):
    examples = text(name).partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert any(f"winnow {name}" in line for line in examples)


def test_options_in_examples_exist():
    """An option that was renamed must not live on in an example."""
    for name, command in main.commands.items():
        known = {option for param in command.params for option in param.opts} | {"--help"}
        examples = text(name).partition("Examples:\n")[2].partition("\n\n")[0]
        assert set(re.findall(r" (--[a-z-]+)", examples)) <= known, name


def completed(function, incomplete: str) -> list[str]:
    return function(click.Context(main), main.params, incomplete)


def test_overrides_complete_to_files_of_conf_and_keys(monkeypatch):
    monkeypatch.chdir(CODE)
    assert completed(shared.complete_overrides, "scale") == ["scale=debug", "scale=default"]
    assert "arms=learnability" in completed(shared.complete_overrides, "arms=")
    assert {"seeds=", "seed"} & set(completed(shared.complete_overrides, "see")) == {"seeds="}
    assert completed(shared.complete_overrides, "pre") == ["pretrain."]


def test_versions_complete(workspace, monkeypatch):
    monkeypatch.chdir(workspace.root)
    assert completed(shared.complete_versions, "") == ["part", "whole"]
    assert completed(shared.complete_versions, "w") == ["whole"]
    assert completed(shared.complete_arms, "") == []


@pytest.mark.slow
def test_the_shell_is_told_what_fits():
    """What the script of `winnow completion bash` asks for."""
    words = {"_WINNOW_COMPLETE": "bash_complete", "COMP_WORDS": "winnow compose scale", "COMP_CWORD": "2"}
    code = "from winnow.cli.main import main; main(prog_name='winnow')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, cwd=CODE, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["plain,scale=debug", "plain,scale=default"]
    assert "_WINNOW_COMPLETE=zsh_complete" in CliRunner().invoke(main, ["completion", "zsh"]).output
