"""`voltlane config`: every setting can be asked for, by each of its names, and by one that is nearly right."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.terminal import shown_on_a_terminal

from voltlane import cli
from voltlane.config import SETTINGS, Setting


@pytest.mark.parametrize("name", SETTINGS)
def test_everything_that_the_table_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", name]) == 0
    row, said = SETTINGS[name], " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{name} {row.help} type ")
    for fact in (
        f"type {row.type_text}",
        f"allowed {row.allowed}",
        f"default {row.default_text}",
        f"in the file [{row.section}], {row.key} = …",
        f"environment {row.env}",
        f"flag {row.flag or 'none'}",
        "a change takes effect at a reload (SIGHUP)" if row.live else "a change needs a restart",
    ):
        assert fact in said


@pytest.mark.parametrize(
    "name, found",
    [
        ("slow_secs", ["clients.slow_secs"]),
        ("Clients.Slow_Secs", ["clients.slow_secs"]),
        ("VOLTLANE_CLIENTS_SLOW_SECS", ["clients.slow_secs"]),
        ("VOLTLANE_LOG_LEVEL", ["general.log_level"]),
        ("VOLTLANE_GENERAL_LOG_LEVEL", ["general.log_level"]),
        ("--listen", ["listener.address"]),
        ("[quality]", ["quality.sample_secs"]),
        ("quality", ["quality.sample_secs"]),
        ("address", ["listener.address", "master.address", "admin.address"]),
        ("web", [name for name in SETTINGS if name.startswith("web.")]),
    ],
)
def test_by_each_name(name: str, found: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--", name]) == 0
    out = capsys.readouterr().out
    first_words = [line.split()[0] for line in out.splitlines() if line]
    assert (first_words[:1] if len(found) == 1 else first_words) == found


@pytest.mark.parametrize("row", [row for row in SETTINGS.values() if row.flag])
def test_a_flag_as_it_is(row: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the -- that other arguments need which begin with a line."""
    assert cli.main(["config", row.flag]) == 0
    assert capsys.readouterr().out.startswith(f"{row.name}\n")


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SETTINGS)
    for line, row in zip(lines, SETTINGS.values()):
        assert row.default_text in line and line.endswith(row.help), "in a pipe nothing is cut"


@pytest.mark.parametrize(
    "name, meant",
    [
        ("clients.slow_sec", "clients.slow_secs"),
        ("slow_sec", "slow_secs"),
        ("listner.address", "listener.address"),
        ("LOGLEVEL", "log_level"),
        ("VOLTLANE_LOG_LEVL", "log_level"),
        ("--lisen", "--listen"),
        ("memory_byte", "memory_bytes"),
    ],
)
def test_a_name_that_is_nearly_right(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--", name]) == 2
    assert capsys.readouterr() == ("", f"voltlane: unknown setting {name}; did you mean {meant}?\n")


def test_a_name_that_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "xyzzy"]) == 2
    assert capsys.readouterr().err == "voltlane: unknown setting xyzzy; voltlane config lists all of them\n"


@pytest.mark.parametrize("columns", [40, 70, 120, 300])
def test_no_line_is_longer_than_the_terminal(columns: int, tmp_path: Path) -> None:
    for arguments in (["config"], ["config", "listener.address"]):
        lines = shown_on_a_terminal(*arguments, columns=columns, cwd=tmp_path).splitlines()
        assert len(lines) > 5 and max(map(len, lines)) <= max(columns, 60)
