"""What a shell completes, asked of the shells themselves where they are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from voltlane import cli
from voltlane.commands.completion import SHELLS
from voltlane.commands.outline import Command, outline
from voltlane.config import LOG_LEVELS, PROFILES, SETTINGS

OUTLINE = outline(cli._parser(), cli._WORDS)
EVERYTHING = [OUTLINE.program, *OUTLINE.commands]


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell} here")


def flags_of(command: Command) -> list[str]:
    return [name for flag in command.flags for name in flag.names]


def test_the_outline_is_what_the_parser_takes() -> None:
    assert [command.name for command in OUTLINE.commands] == list(cli._COMMANDS)
    for command in OUTLINE.commands:
        assert flags_of(command) == ["-h", "--help", *cli._COMMANDS[command.name][1]]
        for flag in command.flags[1:]:
            assert bool(flag.value) == ("metavar" in cli._FLAGS[flag.names[-1]])
    assert flags_of(OUTLINE.program) == ["-h", "--help", *cli._COMMANDS["serve"][1]]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert capsys.readouterr().out == SHELLS[shell](OUTLINE).rstrip("\n") + "\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_every_command_and_flag(shell: str) -> None:
    script = SHELLS[shell](OUTLINE)
    for command in EVERYTHING:
        assert command.name in script
        for name in flags_of(command):
            assert (f"-l {name[2:]} " if shell == "fish" and name.startswith("--") else name.lstrip("-")) in script


def completed(cwd: Path, *words: str) -> list[str]:
    """What bash offers for the last of these words, which is begun or empty."""
    script = f'{SHELLS["bash"](OUTLINE)}\nCOMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n'
    script += '_voltlane; printf "%s\\n" "${COMPREPLY[@]}"'
    ran = subprocess.run(
        ["bash", "-c", script, "bash", "voltlane", *words], cwd=cwd, capture_output=True, text=True, timeout=20
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [line for line in ran.stdout.split("\n") if line]


def offers() -> Iterator[tuple[list[str], list[str]]]:
    yield [""], list(cli._COMMANDS)
    yield ["c"], ["connect", "config", "completion"]
    yield ["-"], flags_of(OUTLINE.program)
    yield ["serve", ""], []
    yield ["serve", "--l"], ["--listen", "--log-level"]
    yield ["serve", "--log-level", ""], list(LOG_LEVELS)
    yield ["--log-level", "D"], ["Debug"]
    yield ["--log-level", "Debug", "dem"], ["demo"]
    yield ["serve", "--listen", ""], []
    yield ["init", "--profile", ""], list(PROFILES)
    yield ["init", "--profile", "g"], ["game", "gateway"]
    yield ["connect", "--protocol", ""], ["2", "3"]
    yield ["config", "quality."], ["quality.sample_secs"]
    yield ["config", ""], list(SETTINGS)
    yield ["completion", ""], list(SHELLS)
    yield ["connect", "127.0.0.1:1", "--s"], ["--server-key", "--server-name"]
    yield ["init", "--config", ""], ["a file.toml", "sub"]
    yield ["init", "--config", "a"], ["a file.toml"]
    yield ["key", "--state-dir", ""], ["sub"]


@needs("bash")
@pytest.mark.parametrize("words, offered", list(offers()), ids=[" ".join(words) for words, _ in offers()])
def test_bash(words: list[str], offered: list[str], tmp_path: Path) -> None:
    (tmp_path / "a file.toml").touch()
    (tmp_path / "sub").mkdir()
    assert sorted(completed(tmp_path, *words)) == sorted(offered)


@needs("bash")
def test_bash_takes_the_script_as_people_load_it(tmp_path: Path) -> None:
    (tmp_path / "voltlane").write_text(SHELLS["bash"](OUTLINE))
    script = "source ./voltlane; complete -p voltlane"
    ran = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert (ran.stdout, ran.stderr) == ("complete -F _voltlane voltlane\n", "")


@needs("zsh")
def test_zsh_reads_its_script() -> None:
    ran = subprocess.run(["zsh", "-n"], input=SHELLS["zsh"](OUTLINE), capture_output=True, text=True, timeout=20)
    assert (ran.returncode, ran.stderr) == (0, "")


@needs("fish")
def test_fish_completes() -> None:
    script = SHELLS["fish"](OUTLINE) + '\ncomplete -C "voltlane init --profile g"'
    ran = subprocess.run(["fish", "--no-config"], input=script, capture_output=True, text=True, timeout=20)
    assert sorted(line.split("\t")[0] for line in ran.stdout.splitlines()) == ["game", "gateway"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_quotes_are_paired_as_the_shell_counts_them(shell: str) -> None:
    """Of shells that are not everywhere: a help with an apostrophe must not open a string."""
    for line in SHELLS[shell](OUTLINE).splitlines():
        if line.lstrip().startswith("#"):
            continue
        bare = line.replace("\\\\", "").replace("\\'", "") if shell == "fish" else line.replace("'\"'\"'", "")
        assert bare.count("'") % 2 == 0, line
