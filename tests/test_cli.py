from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit.program import ROOT, environment

from voltlane import cli
from voltlane.commands import connect, demo, echo, explain, init, key
from voltlane.config import SETTINGS
from voltlane.errors import ConfigError, ConnectionLost, MalformedPacket, StartupError
from voltlane.version import __version__


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is called instead of the commands, with their arguments."""
    made: list[tuple[Any, ...]] = []

    def instead(module: object, name: str) -> None:
        def call(*arguments: object) -> int:
            made.append((name, *map(str, arguments)))
            return 0

        monkeypatch.setattr(module, name, call)

    for name in ("serve", "check_config", "print_config"):
        instead(cli, name)
    instead(demo, "demo")
    instead(echo, "echo")
    instead(connect, "connect")
    instead(key, "key")
    instead(init, "init")
    instead(explain, "explain")
    return made


@pytest.mark.parametrize(
    ("argv", "called"),
    [
        ("", ("serve", "{}", "None")),
        ("serve", ("serve", "{}", "None")),
        ("--config a.toml", ("serve", "{}", "a.toml")),
        ("serve --config=a.toml", ("serve", "{}", "a.toml")),
        ("--listen *:1", ("serve", "{'listener.address': '*:1'}", "None")),
        ("serve --listen *:1", ("serve", "{'listener.address': '*:1'}", "None")),
        ("serve --listen *:1 --listen ws://*:2", ("serve", "{'listener.address': '*:1,ws://*:2'}", "None")),
        ("--listen *:1 serve", ("serve", "{'listener.address': '*:1'}", "None")),
        ("--listen *:1 serve --listen *:2", ("serve", "{'listener.address': '*:2'}", "None")),
        ("--master h:1 serve --listen *:1", ("serve", "{'listener.address': '*:1', 'master.address': 'h:1'}", "None")),
        ("--check-config --config a.toml", ("check_config", "{}", "a.toml")),
        ("serve --check-config", ("check_config", "{}", "None")),
        ("--print-config --listen *:1", ("print_config", "{'listener.address': '*:1'}", "None")),
        ("demo", ("demo", "{}", "None")),
        ("demo --listen *:1 --config a.toml", ("demo", "{'listener.address': '*:1'}", "a.toml")),
        ("--listen *:1 demo", ("demo", "{'listener.address': '*:1'}", "None")),
        ("echo", ("echo", "127.0.0.1:42001")),
        ("echo --listen *:1", ("echo", "*:1")),
        ("connect 127.0.0.1:1", ("connect", "127.0.0.1:1", "2.0", "3", "None", "{}")),
        ("connect --wait 0.5 ::1:1", ("connect", "[::1]:1", "0.5", "3", "None", "{}")),
        ("connect unix:/x --wait=0", ("connect", "unix:/x", "0.0", "3", "None", "{}")),
        ("key", ("key", "{}", "None", "None", "")),
        ("key --state-dir /d --next", ("key", "{}", "None", "/d", "next")),
        ("key --config a.toml --switch", ("key", "{}", "a.toml", "None", "switch")),
        ("init", ("init", "None", "None", "False")),
        ("init --profile iot --config a.toml --force", ("init", "iot", "a.toml", "True")),
        ("config", ("explain", "None")),
        ("config clients.slow_secs", ("explain", "clients.slow_secs")),
    ],
)  # fmt: skip
def test_arguments_reach_their_command(argv: str, called: tuple[str, ...], calls: list[tuple[Any, ...]]) -> None:
    assert cli.main(argv.split()) == 0
    assert calls == [called]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("serv", "unknown command serv; did you mean serve?"),
        ("conect 127.0.0.1:1", "unknown command conect; did you mean connect?"),
        ("xyzzy", "unknown command xyzzy; there are serve, demo, echo, connect"),
        ("--lisen 127.0.0.1:1", "unknown flag --lisen; did you mean --listen?"),
        ("--lisen=127.0.0.1:1", "unknown flag --lisen; did you mean --listen?"),
        ("demo --loglevel off", "unknown flag --loglevel; did you mean --log-level?"),
        ("--lis 127.0.0.1:1", "unknown flag --lis; did you mean --listen?"),
        ("serve 127.0.0.1:1", "serve takes no 127.0.0.1:1"),
        ("-x", "serve takes no -x"),
        ("demo --master 127.0.0.1:1", "demo takes no --master"),
        ("--master 127.0.0.1:1 demo", "demo takes no --master"),
        ("demo --check-config", "demo takes no --check-config"),
        ("--check-config echo", "echo takes no --check-config"),
        ("echo --log-level off", "echo takes no --log-level"),
        ("serve --next", "serve takes no --next"),
        ("connect 127.0.0.1:1 --listen *:1", "connect takes no --listen"),
        ("connect", "the following arguments are required: HOST:PORT"),
        ("connect 127.0.0.1:1 127.0.0.1:2", "connect takes no 127.0.0.1:2"),
        ("completion tcsh", "argument SHELL: invalid choice: 'tcsh'"),
        ("completion", "the following arguments are required: SHELL"),
        ("config a b", "config takes no b"),
        ("config slow_secs --listen", "argument --listen: not allowed with argument KEY"),
        ("config --config", "config takes no --config"),
        ("serve --profile iot", "serve takes no --profile"),
        ("inti", "unknown command inti; did you mean init?"),
        ("connect 127.0.0.1:1 --wait soon", "argument --wait: 'soon' was given, a number of seconds, at least 0"),
        ("connect 127.0.0.1:1 --wait -1", "'-1' was given, a number of seconds"),
        ("connect 127.0.0.1:1 --wait nan", "'nan' was given, a number of seconds"),
        ("connect 127.0.0.1:1 --wait 1_0", "'1_0' was given, a number of seconds"),
        ("connect 127.0.0.1:1 --wait 1e9", "'1e9' was given, a number of seconds"),
        (
            "connect 127.0.0.1:1 --wait 31536001",
            "a number of seconds, at least 0, at most 31536000, is needed",
        ),
        ("--listen", "argument --listen: expected one argument"),
    ],
)
def test_wrong_usage_is_explained_and_ends_with_2(
    argv: str, message: str, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv.split())
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("voltlane: ")
    assert message in err
    assert not calls


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--log-level loud", "--log-level: general.log_level: 'loud' was given, one of Off, Error, Warn"),
        ("--listen nowhere", "--listen: listener.address: 'nowhere' is no address: it has no port"),
        ("serve --master *:1", "--master: master.address: '*:1' was given, but one cannot connect to every interface"),
        ("--config none.toml", "none.toml: cannot be read: No such file or directory"),
        ("--check-config --config none.toml", "none.toml: cannot be read: No such file or directory"),
        ("--print-config --config none.toml", "none.toml: cannot be read: No such file or directory"),
        ("demo --config none.toml", "none.toml: cannot be read: No such file or directory"),
        ("demo --listen nowhere", "--listen: listener.address: 'nowhere' is no address: it has no port"),
        ("echo --listen nowhere", "--listen: 'nowhere' is no address: it has no port"),
        ("connect nowhere", "connect: 'nowhere' is no address: it has no port"),
        ("--listen a..b:1", "--listen: listener.address: 'a..b:1' is no address: 'a..b' is no host name"),
        ("--master a..b:1", "--master: master.address: 'a..b:1' is no address: 'a..b' is no host name"),
        ("--admin a..b:1", "--admin: admin.address: 'a..b:1' is no address: 'a..b' is no host name"),
        ("demo --listen a..b:1", "--listen: listener.address: 'a..b:1' is no address: 'a..b' is no host name"),
        ("echo --listen a..b:1", "--listen: 'a..b:1' is no address: 'a..b' is no host name"),
        ("connect a..b:1", "connect: 'a..b:1' is no address: 'a..b' is no host name"),
        ("status a..b:1", "'a..b:1' is no address: 'a..b' is no host name"),
        ("top a..b:1", "'a..b:1' is no address: 'a..b' is no host name"),
        ("top [::1]:1 --token é", "--token: admin.token: 16 to 256 printable characters of ASCII without blanks"),
    ],
)
def test_wrong_settings_are_explained_and_end_with_2(
    argv: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(argv.split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"voltlane: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (StartupError("no room", 1), 1, "voltlane: no room\n"),
        (
            StartupError("cannot listen on *:1: Address already in use", 3, "is it running already?"),
            3,
            "voltlane: cannot listen on *:1: Address already in use\nvoltlane: is it running already?\n",
        ),
        (StartupError("cannot listen on 192.0.2.1:1", 3), 3, "voltlane: cannot listen on 192.0.2.1:1\n"),
        (ConfigError("one is wrong", "so is another"), 2, "voltlane: one is wrong\nvoltlane: so is another\n"),
        (ConnectionLost("nobody there"), 1, "voltlane: nobody there\n"),
        (MalformedPacket("strange words"), 1, "voltlane: strange words\n"),
        (
            ModuleNotFoundError("No module named 'nacl'", name="nacl"),
            1,
            "voltlane: the package pynacl is needed: pip install pynacl, or make run, which installs it\n",
        ),
        (KeyboardInterrupt(), 0, ""),
    ],
)
def test_errors_become_messages_and_exit_codes(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(flags: Mapping[str, str], file: Path | None) -> int:
        raise error

    monkeypatch.setattr(cli, "serve", fail)
    assert cli.main([]) == code
    assert capsys.readouterr() == ("", message)


def test_errors_of_our_own_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(flags: Mapping[str, str], file: Path | None) -> int:
        raise ModuleNotFoundError("No module named 'voltlane.oops'", name="voltlane.oops")

    monkeypatch.setattr(cli, "serve", fail)
    with pytest.raises(ModuleNotFoundError):
        cli.main([])


def test_only_connect_ends_with_130_at_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(connect, "connect", interrupted)
    monkeypatch.setattr(echo, "echo", interrupted)
    monkeypatch.setattr(demo, "demo", interrupted)
    assert cli.main(["connect", "127.0.0.1:1"]) == 130
    assert cli.main(["echo"]) == 0
    assert cli.main(["demo"]) == 0


@pytest.mark.parametrize("command", ["", "serve", "demo", "echo", "connect"])
def test_help_names_every_flag_of_the_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "-h"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    flags = {"serve": [row.flag for row in SETTINGS.values() if row.flag], "connect": ["--wait"]}.get(
        command or "serve"
    )
    for flag in flags or ["--listen"]:
        assert f"  {flag} " in out
    if not command:
        for name in ("serve", "demo", "echo", "connect"):
            assert f"    {name} " in out


def test_version_tells_what_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    program, interpreter, loops, curve = capsys.readouterr().out.splitlines()
    assert program == f"voltlane {__version__}"
    assert ".".join(map(str, sys.version_info[:2])) in interpreter or "PyPy" in interpreter
    assert loops.startswith("wire loops: ")
    assert curve in ("curve: ecdsa", "curve: coincurve")


class TestLauncher:
    def test_runs_the_program_from_anywhere(self, tmp_path: Path) -> None:
        ran = self.run(ROOT / "voltlane.py", "--version", cwd=tmp_path)
        assert ran.stdout.startswith(f"voltlane {__version__}\n")
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_passes_the_exit_code_on(self, tmp_path: Path) -> None:
        assert self.run(ROOT / "voltlane.py", "--config", "none.toml", cwd=tmp_path).returncode == 2

    def test_changes_to_the_environment_beside_it_for_packages_it_lacks(self, tmp_path: Path) -> None:
        launcher = self.copy(tmp_path, '#!/bin/sh\necho "other interpreter: $@"\n')
        ran = self.run(launcher, "--version", cwd=tmp_path, options=["-S"])
        assert ran.stdout == f"other interpreter: {launcher} --version\n"

    def test_changes_only_once(self, tmp_path: Path) -> None:
        launcher = self.copy(tmp_path, f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        ran = self.run(launcher, "--version", cwd=tmp_path, options=["-S"])
        assert ran.returncode == 1
        assert "No module named" in ran.stderr or "tomli is needed" in ran.stderr

    def test_stays_isolated_when_it_changes(self, tmp_path: Path) -> None:
        launcher = self.copy(tmp_path, '#!/bin/sh\necho "other interpreter: $@"\n')
        ran = self.run(launcher, "--version", cwd=tmp_path, options=["-I", "-S"])
        assert ran.stdout == f"other interpreter: -I {launcher} --version\n"

    @pytest.mark.parametrize("how", ["plain", "-I", "-P", "PYTHONSAFEPATH", "a link"])
    def test_runs_the_package_beside_it(self, how: str, tmp_path: Path) -> None:
        """Whatever is on Python's path, and whatever is installed."""
        if how == "-P" and sys.version_info < (3, 11):
            pytest.skip("this Python has no -P")
        launcher = tmp_path / "checkout" / "voltlane.py"
        shutil.copytree(ROOT / "voltlane", launcher.parent / "voltlane")
        shutil.copy(ROOT / "voltlane.py", launcher)
        (launcher.parent / "voltlane" / "version.py").write_text('__version__ = "9.8.7"\n')
        if how == "a link":
            (tmp_path / "bin").mkdir()
            (tmp_path / "bin" / "voltlane.py").symlink_to(launcher)
            launcher = tmp_path / "bin" / "voltlane.py"
        more = {"PYTHONSAFEPATH": "1"} if how == "PYTHONSAFEPATH" else {}
        options = [how] if how.startswith("-") else []
        ran = self.run(launcher, "--version", cwd=tmp_path, options=options, **more)
        assert (ran.stdout.partition("\n")[0], ran.stderr, ran.returncode) == ("voltlane 9.8.7", "", 0)

    def copy(self, where: Path, interpreter: str) -> Path:
        """The launcher alone, with an environment beside it."""
        launcher, python = where / "voltlane.py", where / ".venv" / "bin" / "python"
        launcher.write_bytes((ROOT / "voltlane.py").read_bytes())
        python.parent.mkdir(parents=True)
        python.write_text(interpreter)
        python.chmod(0o755)
        return launcher

    def run(
        self, launcher: Path, *arguments: str, cwd: Path, options: Sequence[str] = (), **more: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *options, str(launcher), *arguments]
        environ = environment(PYTHONPATH="", **more)
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=30)


def test_python_m_works(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voltlane", "--check-config"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "ok: no connserver.toml here, so the defaults hold\n"


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m voltlane --print-config | true"
    ran = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, b"")
