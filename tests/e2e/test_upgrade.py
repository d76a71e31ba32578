"""One program follows another in place: no connection is cut, no packet lost or doubled; or nothing has happened."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest
from kit.heir import FAULTS
from kit.process import HAS_PROC, BackendProcess, ServerProcess
from kit.program import Program
from kit.raw_client import RawClient
from kit.raw_master import DATA, FAILURE, RawMaster, Tagged
from kit.raw_records import RawRecordClient
from kit.upgrades import OfVersion2, OfVersion3, Streamer, UpgradingServer, drive, finish
from kit.wait import wait_until

from voltlane.address import parse_address
from voltlane.client import Connection
from voltlane.commands.inquiry import Inquiry

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")

KINDS: dict[str, Callable[..., Streamer]] = {
    "v2": OfVersion2,
    "v3": OfVersion3,
    "v3-clear": partial(OfVersion3, suite=0),
}
ROUNDS = 2
SETTINGS = {"clients.outbox_bytes": 1 << 26, "socket.send_buffer": 8192}


def figures(admin: str) -> Any:
    """What its admin endpoint says of a server."""
    inquiry = Inquiry(parse_address(admin), "")
    try:
        return inquiry.get("/stats", dict)
    finally:
        inquiry.close()


def more_of(clients: list[Streamer]) -> Callable[[], bool]:
    """That each of them has some more back."""
    goals = [(client, client.received + 50) for client in clients]
    return lambda: all(client.received >= goal for client, goal in goals)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_under_load_do_not_notice(kind: str) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        server = stack.enter_context(UpgradingServer(backend.address, SETTINGS))
        clients = [KINDS[kind](server.address) for _ in range(20)]
        slow = [KINDS[kind](server.address, 4096, 20_000) for _ in range(3)]
        for client in (*clients, *slow):
            stack.callback(client.close)
        for _ in range(ROUNDS):
            drive([*clients, *slow], lambda: all(client.received > 20 for client in clients))
            for client in slow:
                client.pause()
            server.ask()
            drive([*clients, *slow], lambda: server.upgraded or "has failed" in server.log)
            assert "has failed" not in server.log, server.log[-3000:]
            for client in slow:
                client.paused = False
            drive([*clients, *slow], more_of(clients))
        finish([*clients, *slow])
        assert "failure" not in backend.log and "reconnection" not in backend.log and "gone" not in backend.log
        assert len(server.pauses) == ROUNDS


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_the_old_process_goes_on(fault: str) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        server = stack.enter_context(UpgradingServer(backend.address, fault=fault))
        clients = [KINDS[kind](server.address) for kind in KINDS for _ in range(2)]
        for client in clients:
            stack.callback(client.close)
        drive(clients, lambda: all(client.received > 20 for client in clients))
        server.ask()
        drive(clients, lambda: "handing over has failed" in server.log)
        drive(clients, more_of(clients))
        clients.append(OfVersion2(server.address))
        stack.callback(clients[-1].close)
        finish(clients)
        assert "failure" not in backend.log and "gone" not in backend.log
        assert server.process.poll() is None
        if "raises" in fault:
            server.expect_traceback()


def test_what_waits_goes_along() -> None:
    """For a master that is not there, for a client that is away, and for one that does not read."""
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        here, away = RawClient.new(server.address), RawClient.new(server.address)
        here.send(b"hello"), away.send(b"hello")
        assert {master.recv().client_id for _ in range(2)} == {here.client_id, away.client_id}
        away.close()
        server.wait_for_log(f"client {away.client_id} ")
        wait_until(lambda: server.log.count(f"client {away.client_id}") > 1, "its end")
        master.send(away.client_id, b"missed")
        master.fence()
        master.stop_listening()
        master.drop()
        server.wait_for_log("the master is gone")
        here.send(b"waits")
        server.wait_for_log("trying again")
        server.upgrade()
        master.listen_again()
        master.accept()
        assert master.recv_for(here.client_id).flag == 3, "the master is told who is here"
        assert master.recv_for(here.client_id) == Tagged(here.client_id, DATA, b"waits")
        again = away.come_back()
        assert again.recv() == b"missed"
        again.close(), here.close()


def test_a_packet_of_the_masters_that_is_cut() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        client = RawClient.new(server.address)
        client.send(b"hello")
        master.recv()
        whole = b"".join(
            len(data).__add__(9).to_bytes(4, "little") + client.client_id.to_bytes(8, "little") + b"\0" + data
            for data in (b"first", b"x" * 100_000)
        )
        for end in (3, 30, len(whole)):
            master.send_raw(whole[:end])
            whole = whole[end:]
            if end == 30:
                assert client.recv() == b"first"
            server.upgrade()
        assert client.recv() == b"x" * 100_000
        client.close()


def test_ids_and_refusals_go_on() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        first = RawClient.new(server.address)
        server.upgrade()
        second = RawClient.new(server.address)
        assert second.client_id == first.client_id + 1
        master.send(first.client_id + 7, b"for nobody")
        assert master.recv() == Tagged(first.client_id + 7, FAILURE, b"Client not found")
        first.close(), second.close()


# ---- the state directory


def test_the_state_directory_is_the_next_process_s(tmp_path: Path) -> None:
    settings = {"general.state_dir": tmp_path / "state"}
    with RawMaster() as master:
        with UpgradingServer(master.address, settings) as server:
            master.accept()
            client, record = RawClient.new(server.address), RawRecordClient(server.address).enter()
            server.upgrade()
            lock = tmp_path / "state" / "lock"
            wait_until(lambda: lock.read_text().strip() == str(server.current), "the next process to say who it is")
            with ServerProcess(master.address, settings) as another:
                assert another.wait() == 3
                assert f"in use by another server (process {server.current})" in another.log
            later = RawClient.new(server.address)
            record.close()
            record = record.come_back()
            assert master.recv_for(record.client_id).flag == 3
            for one in (client, record, later):
                one.send(b"hello")
                assert master.recv_for(one.client_id).client_id == one.client_id
            server.kill_current()
            for one in (client, record, later):
                one.close()
        with ServerProcess(master.address, settings) as restarted:
            master.accept()
            for one in (client, record, later):
                one.address = restarted.address
                again = one.come_back()
                again.send(b"back")
                assert master.recv_for(one.client_id).flag == 3
                assert master.recv_for(one.client_id) == Tagged(one.client_id, DATA, b"back")
                again.close()
            new = RawClient.new(restarted.address)
            assert new.client_id > later.client_id
            new.close()


def test_what_waited_over_a_restart_waits_over_an_upgrade_too(tmp_path: Path) -> None:
    settings = {"general.state_dir": tmp_path / "state"}
    with RawMaster() as master:
        with ServerProcess(master.address, settings) as server:
            master.accept()
            clients = [RawClient.new(server.address) for _ in range(2)]
            for client in clients:
                client.leave()
                master.send(client.client_id, b"missed")
            master.fence()
        with UpgradingServer(master.address, settings) as server:
            master.accept()
            for client in clients:
                client.address = server.address
            first = clients[0].come_back()
            assert first.recv() == b"missed"
            server.upgrade()
            second = clients[1].come_back()
            assert second.recv() == b"missed"
            assert not (tmp_path / "state" / "backlogs").exists()
            first.close(), second.close()


def test_a_failed_upgrade_changes_nothing_in_the_state_directory(tmp_path: Path) -> None:
    settings = {"general.state_dir": tmp_path / "state"}
    with RawMaster() as master:
        with UpgradingServer(master.address, settings, "dies_before_it_has_taken") as server:
            master.accept()
            client = RawClient.new(server.address)
            server.ask()
            server.wait_for_log("handing over has failed")
            later = RawClient.new(server.address)
            server.process.kill()
            client.close(), later.close()
            server.process.wait()
        with ServerProcess(master.address, settings) as restarted:
            master.accept()
            for one in (client, later):
                one.address = restarted.address
                one.come_back().close()


# ---- the settings


def test_settings_that_cannot_change_so_are_refused(tmp_path: Path) -> None:
    """And others hold from then on."""
    config = tmp_path / "connserver.toml"
    with RawMaster() as master:
        config.write_text('[general]\nnode = 1\nlog_level = "Info"\n')
        with UpgradingServer(master.address, {"general.log_level": "Info"}, config=config) as server:
            master.accept()
            client = RawClient.new(server.address)
            for text, why in (
                ("[general]\nnode = 2\n", "general.node is 2, and was 1"),
                (f"[general]\nnode = 1\nstate_dir = '{tmp_path}/new'\n", "general.state_dir is"),
                ("[general]\nnode = 'x'\n", "exit code 2"),
            ):
                config.write_text(text)
                failures = server.log.count("handing over has failed")
                server.ask()
                server.wait_for_log("handing over has failed", failures + 1)
                assert why in server.log
                client.send(b"still here")
                assert master.recv().data == b"still here"
            config.write_text("[general]\nnode = 1\n[clients]\npacket_size_limit = 100\n")
            server.upgrade(failures=3)
            client.send(b"x" * 101)
            with pytest.raises(EOFError):
                client.recv()
            client.close()


def listed(*addresses: str) -> str:
    return f"[listener]\naddress = {list(addresses)}\n"


def test_addresses_come_and_go_with_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    stays, goes, comes = (f"unix:{tmp_path}/{name}" for name in ("stays", "goes", "comes"))
    config.write_text(listed(goes, stays, "127.0.0.1:0"))
    with RawMaster() as master, UpgradingServer(master.address, {"listener.address": None}, config=config) as server:
        master.accept()
        server.wait_for_log("clients connect to ", 3)
        addresses = re.findall(r"clients connect to (\S+)", server.log)
        port, clients = addresses[2], [RawClient.new(address) for address in addresses]
        config.write_text(listed(comes, stays, goes, port))  # which the other process has under another name
        server.ask()
        server.wait_for_log("handing over has failed")
        assert f"cannot listen on {port}: Address already in use" in server.log
        assert not (tmp_path / "comes").exists()
        config.write_text(listed(comes, stays))
        server.upgrade(failures=1)
        server.wait_for_log(f"clients connect to {goes} no more: it is not in listener.address")
        for address in (stays, comes):
            clients.append(RawClient.new(address))
        assert not (tmp_path / "goes").exists()
        with pytest.raises(ConnectionRefusedError):
            RawClient(port)
        config.write_text(listed(comes, stays, goes))
        server.upgrade(failures=1)
        clients.append(RawClient.new(goes))
        for client in clients:
            client.send(b"still here")
            assert master.recv_data(client.client_id, 1) == [b"still here"]
            client.close()


# ---- where clients and operators come in


def test_listeners_of_all_kinds_go_along(tmp_path: Path) -> None:
    unix, admin = tmp_path / "clients", tmp_path / "admin"
    settings = {
        "listener.address": f"127.0.0.1:0, unix:{unix}, ws://127.0.0.1:0",
        "admin.address": f"unix:{admin}",
    }
    with RawMaster() as master, UpgradingServer(master.address, settings) as server:
        master.accept()
        addresses = [server.address, f"unix:{unix}"]
        server.wait_for_log("clients connect to ", 3)
        (web_address,) = re.findall(r"clients connect to (ws://\S+)", server.log)
        clients = [RawClient.new(address) for address in addresses]
        web = Connection(web_address, timeout=10)
        inodes = [path.stat().st_ino for path in (unix, admin)]
        for _ in range(2):
            server.upgrade()
            assert [path.stat().st_ino for path in (unix, admin)] == inodes
            clients += [RawClient.new(address) for address in addresses]
            for number, client in enumerate((*clients, web)):
                client.send(b"up %d" % number)
                packet = master.recv()
                assert packet.data == b"up %d" % number
                master.send(packet.client_id, b"down")
                assert client.recv() == b"down"
            assert figures(f"unix:{admin}")["clients"]["live"] == len(clients) + 1
        for client in (*clients, web):
            client.close()
    assert not unix.exists() and not admin.exists(), "the last process has removed them"


# ---- how it is asked for, and who watches


def test_the_command_waits_until_another_process_serves(tmp_path: Path) -> None:
    settings = {"general.state_dir": tmp_path / "state"}
    file = tmp_path / "pid"
    with RawMaster() as master, UpgradingServer(master.address, settings) as server:
        master.accept()
        client = RawClient.new(server.address)
        ways = [["--pid", "{pid}"], ["--pid-file", str(file)], []]
        for way in ways:
            before = server.current
            file.write_text(f"{before}\n")
            arguments = [part.format(pid=before) for part in way]
            environ = {"VOLTLANE_GENERAL_STATE_DIR": str(tmp_path / "state")}
            with Program("upgrade", *arguments, cwd=tmp_path, environ=environ) as command:
                wait_until(lambda: server.upgraded, "another process", 30.0)
                assert command.finish() == 0 and command.out == b"process %d has handed over\n" % before
            client.send(b"here")
            assert master.recv().data == b"here"
        client.close()


def test_the_command_says_that_it_has_failed(tmp_path: Path) -> None:
    with RawMaster() as master, UpgradingServer(master.address, fault="cannot_be_built") as server:
        master.accept()
        with Program("upgrade", "--pid", str(server.current), cwd=tmp_path) as command:
            assert command.finish(30) == 1
            assert f"process {server.current} goes on: its log says why" in command.err
        for arguments, code, why in (
            (["--pid", "x"], 2, "--pid: 'x' was given"),
            (["--pid-file", "none"], 2, "none cannot be read"),
            (["--pid", "4194999"], 1, "there is no process 4194999"),
            ([], 2, "which process?"),
        ):
            with Program("upgrade", *arguments, cwd=tmp_path) as command:
                assert command.finish() == code and why in command.err


def test_the_service_manager_hears_which_process_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(10)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "600000000")
    with manager, RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        for _ in range(2):
            server.upgrade()
            while (said := manager.recv(4096).decode())[:7] != "MAINPID":
                pass
            assert said.startswith(f"MAINPID={server.current}\n")
            while not (said := manager.recv(4096).decode()).startswith("WATCHDOG=1"):
                pass


def test_the_first_process_stays_where_nobody_knows_another(tmp_path: Path) -> None:
    """It passes signals on, and ends as the last one does."""
    with RawMaster() as master, UpgradingServer(master.address, {"general.stay": "true"}) as server:
        server.stays = True
        master.accept()
        client = RawClient.new(server.address)
        server.upgrade()
        with Program("upgrade", "--pid", str(server.process.pid), cwd=tmp_path) as command:
            wait_until(lambda: server.upgraded, "another process", 30.0)
            assert command.finish() == 0
        server.process.send_signal(signal.SIGUSR2)  # to whom it was started as
        wait_until(lambda: server.upgraded, "another process", 30.0)
        client.send(b"here")
        assert master.recv().data == b"here"
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        client.close()


# ---- what else may happen meanwhile


def test_no_descriptor_is_left_behind() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        clients = [RawClient.new(server.address) for _ in range(5)]
        counts = set()
        for _ in range(3):
            server.upgrade()
            clients[0].send(b"x")
            master.recv()
            counts.add(len(os.listdir(f"/proc/{server.current}/fd")))
        assert len(counts) == 1, "each process has as many as the one before"
        for client in clients:
            client.close()


def test_a_server_that_is_asked_to_stop_meanwhile_stops() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        client = RawClient.new(server.address)
        server.ask()
        server.wait_for_log("is starting")
        pid = int(re.search(r"process (\d+) is starting", server.log)[1])  # type: ignore[index]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0 and server.failures == 1
        assert not os.path.exists(f"/proc/{pid}"), "it was waited for"
        assert list(client.rest()) == []
        client.close()


def test_a_second_request_changes_nothing() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        server.ask()
        server.wait_for_log("is starting")
        server.ask()
        server.wait_for_log("is under way already")
        wait_until(lambda: server.upgraded, "another process", 30.0)
        assert server.failures == 0


def test_a_handshake_that_is_not_through_is_cut_and_begun_again() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        stranger, away = RawClient(server.address), RawClient.new(server.address)
        away.close()
        stranger.send_raw(b"\x02\0\0\0\x01")
        resuming = RawClient(server.address, keys=away.keys)
        resuming.begin_resume(away.client_id)
        server.upgrade()
        with pytest.raises((EOFError, ConnectionResetError)):
            stranger.recv()
        with pytest.raises(ConnectionResetError):
            resuming.sock.recv(1)  # not an end in order, which would say that its session is gone
        away.come_back().close()
        stranger.close(), resuming.close()


def test_a_request_to_drain_meanwhile_is_heeded(tmp_path: Path) -> None:
    with RawMaster() as master:
        settings = {"admin.address": "127.0.0.1:0"}
        with UpgradingServer(master.address, settings, "dies_before_it_has_taken") as server:
            master.accept()
            server.wait_for_log("the admin endpoint is at ")
            address = re.search(r"the admin endpoint is at (\S+)", server.log)[1]  # type: ignore[index]
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("POST", "/drain")
            assert connection.getresponse().status < 300
            connection.close()
            server.ask()
            server.wait_for_log("nothing is handed over by a server that is draining")
            with Program("upgrade", "--pid", str(server.current), cwd=tmp_path) as command:
                assert command.finish(30) == 1, "it does not wait for what does not begin"
                assert f"process {server.current} goes on: its log says why" in command.err


def test_an_admin_endpoint_may_go_and_come(tmp_path: Path) -> None:
    config, admin = tmp_path / "connserver.toml", tmp_path / "admin"
    with_admin = f"[admin]\naddress = 'unix:{admin}'\n"
    config.write_text(with_admin)
    with RawMaster() as master, UpgradingServer(master.address, config=config) as server:
        master.accept()
        assert figures(f"unix:{admin}")
        config.write_text("")
        server.upgrade()
        wait_until(lambda: not admin.exists(), "the end of the endpoint")
        config.write_text(with_admin)
        server.upgrade()
        assert figures(f"unix:{admin}")
