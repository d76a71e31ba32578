"""`voltlane key`: the public key of version 3 in a state directory, also while a server has it, and the next one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.program import environment
from kit.raw_master import RawMaster

KEY = re.compile(r"[0-9a-f]{64}\n")


@contextmanager
def server(state: Path | None) -> Iterator[ServerProcess]:
    settings = {"general.state_dir": state} if state is not None else {}
    with RawMaster() as master, ServerProcess(master.address, settings) as process:
        process.wait_for_log("the server's key for version 3 is ")
        yield process


def logged(process: ServerProcess) -> str:
    found = re.search(r"the server's key for version 3 is ([0-9a-f]{64})\n", process.log)
    assert found
    return found[1] + "\n"


def ask(*arguments: object, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voltlane", "key", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment(**environ), capture_output=True, text=True, timeout=30)


def answer(*arguments: object, cwd: Path) -> str:
    """The key that it prints."""
    ran = ask(*arguments, cwd=cwd)
    assert ran.returncode == 0 and KEY.fullmatch(ran.stdout), ran
    assert ("next start" in ran.stderr) == (arguments[-1:] in (("--next",), ("--switch",)))
    return ran.stdout


def refusal(*arguments: object, cwd: Path, code: int = 2, **environ: str) -> str:
    ran = ask(*arguments, cwd=cwd, **environ)
    assert (ran.returncode, ran.stdout) == (code, ""), ran
    assert ran.stderr.startswith("voltlane: ") and ran.stderr.count("\n") == 1
    return ran.stderr


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A directory in which a server has been."""
    path = tmp_path / "state"
    with server(path):
        pass
    return path


def test_it_is_what_the_server_says_and_stays_the_same(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with server(state) as process:
        key = logged(process)
        assert answer("--state-dir", state, cwd=tmp_path) == key
    assert answer("--state-dir", state, cwd=tmp_path) == key
    with server(state) as process:
        assert logged(process) == key


def test_without_a_directory_it_is_another_one_at_each_start() -> None:
    with server(None) as one, server(None) as other:
        assert logged(one) != logged(other)


def test_the_directory_may_be_that_of_the_configuration(state: Path, tmp_path: Path) -> None:
    key = answer("--state-dir", state, cwd=tmp_path)
    (tmp_path / "connserver.toml").write_text(f'[general]\nstate_dir = "{state}"\n')
    (tmp_path / "other.toml").write_text(f'[general]\nstate_dir = "{tmp_path}/elsewhere"\n')
    assert answer(cwd=tmp_path) == key
    assert "elsewhere cannot be used: No such file" in refusal("--config", "other.toml", cwd=tmp_path)
    assert ask(cwd=state, VOLTLANE_GENERAL_STATE_DIR=str(state)).stdout == key


def test_a_key_follows_in_two_steps(state: Path, tmp_path: Path) -> None:
    old = answer("--state-dir", state, cwd=tmp_path)
    new = answer("--state-dir", state, "--next", cwd=tmp_path)
    assert new != old
    assert answer("--state-dir", state, "--next", cwd=tmp_path) == new, "it is prepared once"
    with server(state) as process:
        assert logged(process) == old
        process.wait_for_log(f"the key that is to follow it, of which clients are told, is {new.strip()}")
        assert answer("--state-dir", state, cwd=tmp_path) == old
    assert answer("--state-dir", state, "--switch", cwd=tmp_path) == new
    with server(state) as process:
        assert logged(process) == new
        process.wait_for_log("clients connect to")
        assert "that is to follow it" not in process.log
    assert "no key that is prepared" in refusal("--state-dir", state, "--switch", cwd=tmp_path)
    assert sorted(os.listdir(state)) == ["channel.key", "lock", "server.key", "sessions.journal"]


@pytest.mark.parametrize("change", ["--next", "--switch"])
def test_a_directory_that_a_server_has_is_not_changed(state: Path, tmp_path: Path, change: str) -> None:
    answer("--state-dir", state, "--next", cwd=tmp_path)
    with server(state) as process:
        message = refusal("--state-dir", state, change, cwd=tmp_path, code=3)
        assert f"{state} is in use by another server (process {process.pid}); stop it to change its keys" in message


def test_what_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    assert "no state directory: set general.state_dir, or give" in refusal(cwd=tmp_path)
    for change in ([], ["--next"], ["--switch"]):
        missing = refusal("--state-dir", tmp_path / "none", *change, cwd=tmp_path)
        assert f"{tmp_path}/none cannot be used: No such file or directory" in missing
    (tmp_path / "empty").mkdir(mode=0o700)
    for change in ([], ["--next"]):
        empty = refusal("--state-dir", tmp_path / "empty", *change, cwd=tmp_path)
        assert "empty has no channel.key yet: a server makes it when it first starts there" in empty
    assert sorted(os.listdir(tmp_path)) == ["empty"], "no configuration file either"


def test_damage_and_open_doors_are_said(state: Path, tmp_path: Path) -> None:
    file = state / "channel.key"
    secret = file.read_text().splitlines()[0]
    file.chmod(0o644)
    assert "is accessible for others (mode 644)" in refusal("--state-dir", state, cwd=tmp_path)
    file.chmod(0o600)
    file.write_text(secret + "\n" + "00" * 32 + "\n")
    message = refusal("--state-dir", state, cwd=tmp_path)
    assert "channel.key is damaged" in message and secret not in message


def test_only_one_step_at_a_time(state: Path, tmp_path: Path) -> None:
    message = refusal("--state-dir", state, "--next", "--switch", cwd=tmp_path)
    assert "--next and --switch: only one of them at a time" in message
