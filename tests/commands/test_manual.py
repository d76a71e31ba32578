"""The manual page: what is in it, and that its readers find no mistake."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from voltlane import cli, server
from voltlane.commands.manual import page
from voltlane.commands.outline import outline
from voltlane.config import SETTINGS
from voltlane.version import __version__

OUTLINE = outline(cli._parser(), cli._WORDS)
SOURCE = "\n".join(page(OUTLINE, cli.EXITS)) + "\n"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


def plain(source: str) -> str:
    """Its words, without what is roff's."""
    return re.sub(r"\\f[BIR]|\\&", "", source).replace("\\-", "-").replace("\\e", "\\")


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["man"]) == 0
    assert capsys.readouterr().out == SOURCE


def test_it_has_every_command_flag_setting_and_exit_code() -> None:
    words = plain(SOURCE)
    assert f'"voltlane {__version__}"' in words
    for command in OUTLINE.commands:
        assert f"\n.SS {command.name}\n" in words
        for flag in command.flags:
            assert f"\n{', '.join(flag.names)}{f' {flag.value}' if flag.value else ''}\n{flag.help}\n" in words
        for argument in command.arguments:
            assert f"\n{argument.value}\n{argument.help}\n" in words
    for row in SETTINGS.values():
        assert f"\n{row.env}\n{row.name}; by default {row.default_text}\n" in words
    for code, meaning in cli.EXITS.items():
        assert f"\n{code}\n{meaning}\n" in words


def test_the_exit_codes_are_those_there_are() -> None:
    codes = {value for module in (cli, server) for name, value in vars(module).items() if name.startswith("EXIT_")}
    assert sorted(cli.EXITS) == sorted({0} | {code for code in codes})


def test_no_line_is_taken_for_a_request_by_accident() -> None:
    for line in SOURCE.splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or re.match(r"\.(TH|SH|SS|TP|PP|br)\b", line), line
        assert not re.search(r"(?<!\\)-", line) or line.startswith(".TH"), "a hyphen, where a minus is meant"


@needs("groff")
def test_groff_finds_no_mistake() -> None:
    ran = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-k"], input=SOURCE.encode(), capture_output=True, timeout=30
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"CONNECT" not in ran.stdout and "127.0.0.1:42000" in ran.stdout.decode()


@needs("man")
def test_man_shows_it() -> None:
    ran = subprocess.run(
        ["man", "--warnings", "-l", "-"],
        input=SOURCE,
        capture_output=True,
        text=True,
        timeout=30,
        env={"MANWIDTH": "70", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    if ran.returncode and not ran.stdout:
        pytest.skip(f"man cannot format here: {ran.stderr.strip()}")
    assert ran.stderr == "" and "--server-key" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80


@needs("mandoc")
def test_mandoc_finds_no_mistake() -> None:
    ran = subprocess.run(["mandoc", "-Tlint", "-Wwarning"], input=SOURCE, capture_output=True, text=True, timeout=30)
    assert ran.stdout == ""
