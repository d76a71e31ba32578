"""The log of a real server: as JSON, bounded, and without what must not stand in it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.raw_client import RawClient, frame
from kit.rig import running


def test_json_lines_have_client_peer_and_reason_as_fields() -> None:
    with running({"general.log_format": "json", "clients.packet_size_limit": 100}) as rig:
        client = rig.new()
        host, port = client.sock.getsockname()[:2]
        client.send(bytes(101))
        assert list(client.rest()) == []
        rig.server.wait_for_log("over the size limit")
        lines = rig.server.log.splitlines()
        assert lines.pop(0).startswith("voltlane: ")  # said by the command, before there is a log
        entries = [json.loads(line) for line in lines]
        (here,) = [entry for entry in entries if entry["event"] == "client CLIENT is here from PEER by LANE, SESSION"]
        assert (here["client"], here["level"]) == (client.client_id, "debug")
        assert (here["peer"], here["lane"], here["session"]) == (f"{host}:{port}", "tcp", "new")
        assert not [entry for entry in entries if "packets_up" in entry], "the first minute is not over"
        (gone,) = [entry for entry in entries if entry.get("reason") == "frame over the size limit"]
        assert (gone["client"], gone["peer"], gone["level"]) == (client.client_id, f"{host}:{port}", "info")
        assert gone["message"].startswith(f"client {client.client_id} ({host}:{port}): frame over the size limit")


def test_the_format_changes_with_a_reload() -> None:
    with running() as rig:
        assert isinstance(rig.server, ServerProcess)
        file = Path(rig.server._directory.name, "connserver.toml")
        file.write_text('[general]\nlog_format = "json"\n', encoding="utf-8")
        rig.server.process.send_signal(signal.SIGHUP)
        rig.server.wait_for_log('"message": "reloaded: general.log_format"')


def test_a_flood_of_failing_peers_leaves_few_lines_and_their_number() -> None:
    settings = {"general.log_lines_per_minute": 40, "general.log_level": "Info"}
    with running(settings) as rig:
        for _ in range(200):
            with RawClient(rig.server.address) as stranger:
                stranger.sock.sendall(frame(b"\xff"))
                assert list(stranger.rest()) == []
        assert rig.server.stop() == 0  # type: ignore[union-attr]
        lines = rig.server.log.splitlines()
        assert len(lines) < 60
        told = [line for line in lines if "more: malformed" in line or "lines were left out" in line]
        assert told


def test_neither_keys_nor_payloads_are_logged() -> None:
    """At the most talkative level, with everything going wrong that a client can make go wrong."""
    payload = os.urandom(8).hex().encode()
    with running({"general.log_level": "Trace", "clients.packet_size_limit": 1000}) as rig:
        client = rig.new()
        client.send(payload)
        rig.master.recv_data(client.client_id, 1)
        rig.master.send(client.client_id, payload)
        assert client.recv() == payload
        client.leave()
        again = rig.back(client)
        again.send(payload * 100)
        with RawClient(rig.server.address) as stranger:
            stranger.sock.sendall(frame(payload))
            list(stranger.rest())
        rig.master.fence()
        log = rig.server.log
        for secret in (payload, client.keys.session_key(client.server_point), client.keys.public):
            assert secret.hex() not in log and repr(secret)[2:-1] not in log


def test_nor_are_those_of_version_3(tmp_path: Path) -> None:
    payload = os.urandom(8).hex().encode()
    settings = {"general.log_level": "Trace", "general.state_dir": str(tmp_path / "state")}
    with running(settings) as rig:
        first = rig.records().enter()
        secrets = [first.session.handle, first.session.secret]
        first.send(payload)
        assert rig.master.recv_data(first.client_id, 1) == [payload]
        copy = first.session.copy()
        again = first.come_back()
        secrets.append(again.session.secret)
        wrong = again.session.copy()
        wrong.secret = os.urandom(32)
        for refused in (copy, wrong):
            with pytest.raises(EOFError):
                rig.records(refused).enter()
        again.say(again.endpoint.record(2, payload))
        rig.server.wait_for_log("malformed record")
        again.close()
        key = Path(tmp_path, "state", "channel.key").read_text(encoding="ascii").splitlines()[0]
        log = rig.server.log
        assert "superseded" in log and "proof of the key failed" in log
        assert key not in log
        for secret in (payload, *secrets):
            assert secret.hex() not in log and repr(secret)[2:-1] not in log
