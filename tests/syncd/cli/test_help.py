"""What every command of both programs has: examples that are commands, JSON for data, completion."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from crdt_conv import Store
from syncd.cli.conv import app as conv_app
from syncd.cli.examples import examples_of
from syncd.cli.syncd import app as syncd_app

APPS = {"conv": conv_app, "syncd": syncd_app}
PROGRAMS: dict[str, Any] = {name: typer.main.get_command(app) for name, app in APPS.items()}
# Commands that print no data, and why.
WITHOUT_JSON = {
    "conv chat": "a person talks; 'conv run --json' is for programs",
    "conv export": "what it prints is the format that was asked for",
}


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its program's name before it."""
    for program, group in PROGRAMS.items():
        for name in group.list_commands(None):
            yield f"{program} {name}", group.get_command(None, name)


COMMANDS = dict(commands())
EXAMPLES = [line for command in COMMANDS.values() for line in examples_of(command.callback)]


def test_all_commands_of_the_contract_are_there() -> None:
    """Contract 4's table, by hand, and what was added to it."""
    conv = "new ls show search append run chat tools approve fork merge explain archive redact verify import"
    syncd = "serve token revoke rotate status compact backup check recover"
    assert set(COMMANDS) == {
        *(f"conv {name}" for name in f"{conv} export sync status demo".split()),
        *(f"syncd {name}" for name in syncd.split()),
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name: str) -> None:
    """They stand in its help in lines of their own, and the first one is of this command."""
    examples = examples_of(COMMANDS[name].callback)
    assert any(name in example for example in examples)
    program, command = name.split()
    told = CliRunner().invoke(APPS[program], [command, "--help"])
    lines = [line.strip() for line in told.stdout.splitlines()]
    assert lines[lines.index("Examples:") + 1 :][: len(examples)] == examples


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_command(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its options and arguments are taken by the command that it names; the files that it names are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export.zip").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".claude" / "projects").mkdir(parents=True)
    words = [os.path.expanduser(word) for word in shlex.split(example, posix=True)]  # noqa: PTH111 - as a shell
    pieces = " ".join("|" if word == "|" else shlex.quote(word) for word in words).split(" | ")
    ours = [shlex.split(piece) for piece in pieces]
    ours = [[word for word in piece if not re.match("[A-Z_]+=", word)] for piece in ours]
    ours = [piece for piece in ours if piece[0] in PROGRAMS]
    assert ours
    for program, command, *arguments in ours:
        found = PROGRAMS[program].get_command(None, command)
        found.make_context(command, arguments, default_map={}).close()


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_JSON.keys()))
def test_every_command_that_prints_data_prints_json(name: str) -> None:
    """``--json`` is an option of each."""
    assert any("--json" in parameter.opts for parameter in COMMANDS[name].params)


@pytest.mark.parametrize("name", WITHOUT_JSON)
def test_no_command_is_excused_without_need(name: str) -> None:
    """The table above holds no command that has it by now."""
    assert not any("--json" in parameter.opts for parameter in COMMANDS[name].params)


def complete(shell: str, *words: str, program: str = "conv") -> str:
    """Ask for completions as a shell's script does; the last word is begun."""
    line = " ".join([program, *words])
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    variable = {f"_{program.upper()}_COMPLETE": f"complete_{shell}"}
    told = CliRunner().invoke(APPS[program], [], prog_name=program, env={**variable, **asked})
    return told.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_ids_and_branches(shell: str, tmp_path: Path) -> None:
    """What a shell asks for is answered: also which conversations there are, and their branches."""
    db = str(tmp_path / "chats.db")
    with Store(db) as store:
        conversation = store.create("Trip")
        conversation.fork("plan-b", conversation.append("user", "Hi").id)
        trip = conversation.id
    assert "approve" in complete(shell, "app")
    assert "append" in complete(shell, "app")
    assert "merge" not in complete(shell, "app")
    assert "--adapter" in complete(shell, "run", "--ad")
    assert trip in complete(shell, "--db", db, "show", trip[:4])
    assert "plan-b" in complete(shell, "--db", db, "show", trip, "--branch", "pl")
    assert "serve" in complete(shell, "se", program="syncd")


@pytest.mark.parametrize("program", ["conv", "syncd"])
def test_a_program_says_which_version_it_is(program: str) -> None:
    """As everybody's does who reports a fault."""
    assert CliRunner().invoke(APPS[program], ["--version"]).stdout.strip() == version("crdt-conv")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    """``--show-completion`` prints what a shell reads."""
    told = CliRunner().invoke(APPS["conv"], [], prog_name="conv", env={"_CONV_COMPLETE": f"source_{shell}"})
    assert f"complete_{shell}" in told.stdout
