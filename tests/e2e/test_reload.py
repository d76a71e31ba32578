"""SIGHUP to a real server: the file is read again, and whoever is connected stays so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.rig import Rig, running


class Reloading:
    """A server and its file."""

    def __init__(self, rig: Rig) -> None:
        assert isinstance(rig.server, ServerProcess)
        self.rig = rig
        self.server: ServerProcess = rig.server
        self.file = Path(self.server._directory.name, "connserver.toml")

    def reload(self, text: str, said: str, times: int = 1) -> None:
        self.file.write_text(text, encoding="utf-8")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log(said, times)


@pytest.fixture
def reloading() -> Iterator[Reloading]:
    with running({"general.log_level": ""}) as rig:  # empty: not given, so that the file's counts
        yield Reloading(rig)


def test_a_live_setting_takes_effect_and_nobody_notices(reloading: Reloading) -> None:
    rig = reloading.rig
    client = rig.new()
    reloading.reload("[clients]\nhandshake_secs = 0.05\n", "reloaded: clients.handshake_secs")
    with rig.stranger() as stranger:
        assert list(stranger.rest()) == []  # it is closed, long before the five seconds of the default
    assert "handshake deadline passed" in reloading.server.log
    client.send(b"still here")
    assert rig.master.recv_data(client.client_id, 1) == [b"still here"]


def test_a_file_with_a_mistake_changes_nothing(reloading: Reloading) -> None:
    rig = reloading.rig
    client = rig.new()
    wrong = "[clients]\npacket_size_limit = 1\nhandshake_sec = 1\n"
    reloading.reload(wrong, "the settings stay as they are: connserver.toml:3: unknown key handshake_sec")
    client.send(b"more than one byte")
    assert rig.master.recv_data(client.client_id, 1) == [b"more than one byte"]
    reloading.reload("[clients]\npacket_size_limit = 1\n", "reloaded: clients.packet_size_limit")
    client.send(b"more than one byte")
    assert list(client.rest()) == []


def test_the_environment_stays_stronger_than_the_file(reloading: Reloading) -> None:
    text = '[listener]\naddress = "127.0.0.1:1"\n[master]\nreconnect_max_secs = 9\n[clients]\nslow_secs = 3\n'
    reloading.reload(text, "reloaded: clients.slow_secs\n")
    assert "restart" not in reloading.server.log


def test_what_needs_a_restart_is_said_each_time(reloading: Reloading) -> None:
    text = "[clients]\nkeepalive_secs = 7\n"
    for times in (1, 2):
        reloading.reload(text, "changed, but needs a restart: clients.keepalive_secs", times)


def test_the_log_level_changes(reloading: Reloading) -> None:
    rig = reloading.rig
    rig.new()
    assert "is here" not in reloading.server.log
    reloading.reload('[general]\nlog_level = "Debug"\n', "reloaded: general.log_level")
    second = rig.new()
    reloading.server.wait_for_log(f"client {second.client_id} is here")


def test_a_file_that_was_there_must_not_be_away(reloading: Reloading) -> None:
    """Else the defaults would hold while an editor puts another file into its place: they let everybody in."""
    reloading.reload('[limits]\ndeny = ["127.0.0.0/8"]\n', "reloaded: limits.deny")
    reloading.file.unlink()
    reloading.server.process.send_signal(signal.SIGHUP)
    reloading.server.wait_for_log("the settings stay as they are: connserver.toml: cannot be read: No such file")
    with reloading.rig.stranger() as stranger:
        assert list(stranger.rest()) == []
    reloading.reload("", "reloaded: limits.deny", 2)
    reloading.rig.new()


def test_where_there_was_no_file_none_is_needed(reloading: Reloading) -> None:
    reloading.file.unlink()  # the one that it wrote itself, and never read
    reloading.server.process.send_signal(signal.SIGHUP)
    reloading.server.wait_for_log("reloaded: nothing has changed")


@pytest.mark.parametrize(
    ("value", "said"),
    [("9" * 400, "clients.slow_secs"), ("[" * 5000 + "]" * 5000, "RecursionError"), ("9" * 5000, "integer string")],
    ids=["a number of 400 digits", "5,000 brackets", "a number of 5,000 digits"],
)
def test_whatever_is_wrong_with_it_nothing_of_it_is_taken(reloading: Reloading, value: str, said: str) -> None:
    text = f"[clients]\nhandshake_secs = 0.05\nslow_secs = {value}\n"
    reloading.reload(text, "the settings stay as they are: ")
    client = reloading.rig.new()
    reloading.reload("[clients]\nslow_secs = 3\n", "reloaded: clients.slow_secs\n")
    client.send(b"still here")
    assert reloading.rig.master.recv_data(client.client_id, 1) == [b"still here"]
