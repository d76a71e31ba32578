from __future__ import annotations

import gc
import os
import signal
import socket
from pathlib import Path
from typing import Callable

import pytest
from kit.program import Program

from voltlane import cli, config
from voltlane.commands import serve
from voltlane.config import Config
from voltlane.errors import ConfigError

FILE = "connserver.toml"


class Started:
    """Takes the place of the server."""

    def __init__(self) -> None:
        self.settings: Config | None = None
        self.source: Callable[[], Config] | None = None
        self.is_followed = False

    def __call__(self, settings: Config) -> Started:
        self.settings = settings
        return self

    def allow_upgrades(self, launch: object) -> None:
        """It has none."""

    def run(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("VOLTLANE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    stand_in = Started()
    monkeypatch.setattr(serve, "start", stand_in)
    return stand_in


class TestFile:
    def test_is_written_with_the_defaults_where_there_is_none(
        self, tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main([]) == 0
        assert (tmp_path / FILE).read_text(encoding="utf-8") == config.to_toml(config.defaults())
        assert capsys.readouterr() == ("", f"voltlane: wrote {FILE} with the defaults\n")
        assert started.settings == config.defaults()

    def test_is_read_and_left_as_it_is_where_there_is_one(
        self, tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / FILE).write_text("[clients]\nslow_secs = 3\n")
        assert cli.main([]) == 0
        assert (tmp_path / FILE).read_text() == "[clients]\nslow_secs = 3\n"
        assert started.settings is not None
        assert started.settings.clients.slow_secs == 3
        assert capsys.readouterr() == ("", "")

    def test_that_cannot_be_written_is_no_reason_not_to_serve(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Started, capsys: pytest.CaptureFixture[str]
    ) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        gone.rmdir()
        assert cli.main(["--listen", "127.0.0.1:7"]) == 0
        assert capsys.readouterr().err == (
            f"voltlane: cannot write {FILE} (No such file or directory); going on with the defaults\n"
        )
        assert started.settings is not None
        assert started.settings.listener.address == ("127.0.0.1:7",)

    def test_named_by_a_flag_is_read_instead_of_the_default_one(self, tmp_path: Path, started: Started) -> None:
        (tmp_path / FILE).write_text("[clients]\nslow_secs = 3\n")
        (tmp_path / "other.toml").write_text("[clients]\nslow_secs = 4\n")
        assert cli.main(["--config", "other.toml"]) == 0
        assert started.settings is not None
        assert started.settings.clients.slow_secs == 4

    def test_named_by_a_flag_is_never_written(self, tmp_path: Path, started: Started) -> None:
        assert cli.main(["--config", "other.toml"]) == 2
        assert started.settings is None
        assert list(tmp_path.iterdir()) == []

    def test_that_is_a_dangling_link_is_an_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / FILE).symlink_to("nowhere")
        assert cli.main([]) == 2
        assert f"{FILE}: cannot be read" in capsys.readouterr().err


class TestReadAgain:
    def source(self, started: Started, *arguments: str) -> Callable[[], Config]:
        assert cli.main(list(arguments)) == 0
        assert started.source is not None
        return started.source

    def test_the_default_file_has_to_be_there_if_it_was(self, tmp_path: Path, started: Started) -> None:
        (tmp_path / FILE).write_text("[clients]\nslow_secs = 3\n")
        source = self.source(started)
        (tmp_path / FILE).unlink()
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            source()
        (tmp_path / FILE).write_text("[clients]\nslow_secs = 4\n")
        assert source().clients.slow_secs == 4

    def test_a_named_file_has_to_be_there(self, tmp_path: Path, started: Started) -> None:
        (tmp_path / "other.toml").write_text("")
        source = self.source(started, "--config", "other.toml")
        (tmp_path / "other.toml").unlink()
        with pytest.raises(ConfigError, match=r"other\.toml: cannot be read"):
            source()

    def test_without_one_it_goes_on_without_until_it_has_read_one(self, tmp_path: Path, started: Started) -> None:
        source = self.source(started)
        (tmp_path / FILE).unlink()  # which it has written itself
        assert source() == config.defaults()
        (tmp_path / FILE).write_text("[clients]\nslow_secs = 3\n")
        assert source().clients.slow_secs == 3
        (tmp_path / FILE).unlink()
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            source()


def test_flags_over_environment_over_file(tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE).write_text(
        "[general]\nlog_level = 'off'\n[listener]\naddress = '*:1'\n[master]\naddress = 'h:1'\n"
    )
    monkeypatch.setenv("VOLTLANE_LISTENER_ADDRESS", "*:2")
    monkeypatch.setenv("VOLTLANE_MASTER_ADDRESS", "h:2")
    assert cli.main(["--master", "h:3"]) == 0
    assert started.settings is not None
    assert started.settings.general.log_level == "Off"
    assert started.settings.listener.address == ("*:2",)
    assert started.settings.master.address == ("h:3",)


class TestCheckConfig:
    def test_says_ok_and_does_nothing(
        self, tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(["--check-config"]) == 0
        assert capsys.readouterr() == (f"ok: no {FILE} here, so the defaults hold\n", "")
        assert started.settings is None
        assert list(tmp_path.iterdir()) == []

    def test_names_the_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / FILE).write_text("")
        (tmp_path / "other.toml").write_text("")
        assert cli.main(["--check-config"]) == 0
        assert cli.main(["--check-config", "--config", "other.toml"]) == 0
        assert capsys.readouterr() == (f"{FILE}: ok\nother.toml: ok\n", "")

    def test_tells_everything_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / FILE).write_text("[clients]\nslow_sec = 3\nidle_secs = -1\n[listener]\nproxy_protocol = 'required'")
        monkeypatch.setenv("VOLTLANE_CLIENTS_SLOW_SECS", "x")
        assert cli.main(["--check-config", "--log-level", "x", "--master", "[::ffff:127.0.0.1]:1"]) == 2
        out, err = capsys.readouterr()
        assert not out
        beginnings = (
            f"voltlane: {FILE}:2: unknown key slow_sec in [clients]",
            f"voltlane: {FILE}:3: clients.idle_secs: -1 was given",
            "voltlane: VOLTLANE_CLIENTS_SLOW_SECS: clients.slow_secs: 'x' was given",
            "voltlane: --log-level: general.log_level: 'x' was given",
            "voltlane: --master: master.address: '[::ffff:127.0.0.1]:1' is no address",
            f"voltlane: {FILE}:5: listener.proxy_protocol = required needs",
        )
        lines = err.splitlines()
        assert len(lines) == len(beginnings)
        for beginning in beginnings:
            assert any(line.startswith(beginning) for line in lines), beginning

    def test_looks_at_every_source(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / FILE).write_text("[clients]\n\nslow_sec = 3\n")
        assert cli.main(["--check-config"]) == 2
        (tmp_path / FILE).unlink()
        monkeypatch.setenv("VOLTLANE_CLIENTS_SLOW_SECS", "x")
        assert cli.main(["--check-config"]) == 2
        monkeypatch.delenv("VOLTLANE_CLIENTS_SLOW_SECS")
        assert cli.main(["--check-config", "--log-level", "x"]) == 2
        out, err = capsys.readouterr()
        assert not out
        file, variable, flag = err.splitlines()
        assert file == f"voltlane: {FILE}:3: unknown key slow_sec in [clients]; did you mean slow_secs?"
        assert variable.startswith("voltlane: VOLTLANE_CLIENTS_SLOW_SECS: ")
        assert flag.startswith("voltlane: --log-level: ")


def test_print_config_prints_what_all_sources_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FILE).write_text("[clients]\nslow_secs = 3\nhandshake_secs = 3\n")
    monkeypatch.setenv("VOLTLANE_CLIENTS_HANDSHAKE_SECS", "2")
    assert cli.main(["--print-config", "--listen", "::1:5"]) == 0
    out, err = capsys.readouterr()
    assert not err
    (tmp_path / "printed.toml").write_text(out, encoding="utf-8")
    printed = config.load(tmp_path / "printed.toml")
    assert (printed.clients.slow_secs, printed.clients.handshake_secs) == (3, 2)
    assert printed.listener.address == ("[::1]:5",)
    assert printed.master == config.defaults().master


class TestProcess:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_serves_until_a_signal(self, tmp_path: Path, number: signal.Signals) -> None:
        arguments = ("--listen", "127.0.0.1:0", "--master", f"unix:{tmp_path}/nobody")
        with Program(*arguments, cwd=tmp_path) as program:
            port = int(program.wait_err(r"clients connect to 127\.0\.0\.1:(\d+)")[1])
            program.wait_err("no master at unix:")  # the signal handlers are in place
            socket.create_connection(("127.0.0.1", port), timeout=5.0).close()
            program.signal(number)
            assert program.finish() == 0
        assert "Traceback" not in program.err
        assert program.out == b""
        assert (tmp_path / FILE).exists()

    def test_address_in_use(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with Program("--listen", address, cwd=tmp_path) as program:
                assert program.finish() == 3
        assert f"voltlane: cannot listen on {address}: Address already in use\n" in program.err
        assert "voltlane: is it running already? If not, choose another address; or an outgoing c" in program.err

    def test_address_of_another_machine(self, tmp_path: Path) -> None:
        with Program("--listen", "192.0.2.1:42000", cwd=tmp_path) as program:
            assert program.finish() == 3
        assert "voltlane: cannot listen on 192.0.2.1:42000: Cannot assign requested address\n" in program.err
        assert "voltlane: this machine has no such address, or not yet" in program.err
        assert "running already" not in program.err

    def test_gives_up_on_a_master_that_stays_away(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            master = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = {"VOLTLANE_MASTER_GIVE_UP_SECS": "0.05"}
        with Program("--listen", "127.0.0.1:0", "--master", master, cwd=tmp_path, environ=environ) as program:
            assert program.finish() == 4
        assert master in program.err


@pytest.mark.skipif(not hasattr(gc, "freeze"), reason="this Python's collector cannot be told to leave things alone")
def test_the_collector_leaves_what_is_loaded_alone() -> None:
    gc.unfreeze()
    serve._settle_memory()
    assert gc.get_freeze_count() > 1000
    gc.unfreeze()
