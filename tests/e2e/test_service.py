"""A real server under a service manager: what the manager hears and when, and sockets that it opened itself."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kit.datagram_parties import Plain, sealed_client
from kit.process import Process, ServerProcess, Settings, environment, usual
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.rig import running
from kit.wait import wait_until
from kit.workers import EchoBackend

from voltlane.net.activation import name_of


class Manager:
    """The manager's end of the notification socket, and its store of descriptors."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self._messages: list[str] = []
        self.kept: dict[str, socket.socket] = {}

    @property
    def messages(self) -> list[str]:
        """All so far, their lines joined by blanks; but for those about what it is to keep, which it does."""
        try:
            while True:
                data, descriptors, _, _ = socket.recv_fds(self.sock, 4096, 10)
                lines = dict(line.split("=", 1) for line in data.decode().splitlines())
                if "FDSTOREREMOVE" in lines:
                    self.forget(lines["FDNAME"])
                elif "FDSTORE" in lines:
                    (descriptor,) = descriptors
                    assert lines["FDNAME"] not in self.kept, "names are for one each"
                    self.kept[lines["FDNAME"]] = socket.socket(fileno=descriptor)
                else:
                    self._messages.append(data.decode().replace("\n", " "))
        except BlockingIOError:
            return self._messages

    def forget(self, name: str) -> None:
        if name in self.kept:
            self.kept.pop(name).close()

    def close(self) -> None:
        for name in list(self.kept):
            self.forget(name)
        self.sock.close()

    def wait_for(self, pattern: str, times: int = 1) -> list[str]:
        """The messages that match, once there are so many."""

        def found() -> list[str]:
            return [message for message in self.messages if re.fullmatch(pattern, message)]

        wait_until(lambda: len(found()) >= times, f"{pattern!r} among {self.messages}")
        return found()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.close()


def test_ready_once_it_listens_even_without_a_master(manager: Manager) -> None:
    with RawMaster() as master:
        master.stop_listening()
        with ServerProcess(master.address) as server:
            manager.wait_for("READY=1 STATUS=no connection to the master; 0 clients, 0 stale")
            RawClient(server.address).close()
        manager.wait_for("STOPPING=1 STATUS=stopping; 0 clients, 0 stale")
        assert [message.split()[0] for message in manager.messages] == ["READY=1", "STOPPING=1"]


def test_no_readiness_before_it_listens(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with ServerProcess("127.0.0.1:1", {"listener.address": address}) as server:
            assert server.wait() == 3
    assert manager.messages == []


def test_the_status_follows_the_master(manager: Manager) -> None:
    with running() as rig:
        manager.wait_for("STATUS=ready; 0 clients, 0 stale")
        rig.new()
        rig.master.drop()
        manager.wait_for("STATUS=no connection to the master; 1 clients, 0 stale")
        rig.master.accept()
        manager.wait_for("STATUS=ready; 1 clients, 0 stale")


def test_reloading_is_announced_and_ended_whatever_came_of_it(manager: Manager) -> None:
    with running() as rig:
        assert isinstance(rig.server, ServerProcess)
        manager.wait_for("STATUS=ready.*")
        file = Path(rig.server._directory.name, "connserver.toml")
        texts = [
            "[clients]\nslow_secs = 3\n",
            "[clients]\nslow_sec = 3\n",
            "",
            f"[clients]\nslow_secs = {'9' * 400}\n",
            f"[clients]\nslow_secs = {'[' * 5000}{']' * 5000}\n",
            f"[clients]\nslow_secs = {'9' * 5000}\n",
        ]
        for times, text in enumerate(texts, 1):
            file.write_text(text, encoding="utf-8")
            rig.server.process.send_signal(signal.SIGHUP)
            manager.wait_for(r"RELOADING=1 MONOTONIC_USEC=\d+", times)
            manager.wait_for("READY=1 STATUS=ready.*", times)
        assert rig.server.log.count("the settings stay as they are: ") == 4
        assert "internal error" not in rig.server.log


def test_a_drain_is_a_status_and_only_a_signal_is_the_end(manager: Manager, tmp_path: Path) -> None:
    """Of a service that says STOPPING=1 the manager expects that it ends, and kills it when it does not."""
    with running({"admin.address": f"unix:{tmp_path}/admin"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.new()
        manager.wait_for("STATUS=ready.*")
        with socket.socket(socket.AF_UNIX) as operator:
            operator.connect(f"{tmp_path}/admin")
            operator.sendall(b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert operator.recv(4096).startswith(b"HTTP/1.1 200 ")
        manager.wait_for("STATUS=draining; 1 clients, 0 stale")
        assert "STOPPING" not in "".join(manager.messages)
        rig.master.close()
        assert rig.server.stop() == 0
    manager.wait_for("STOPPING=1 STATUS=stopping; 1 clients, 0 stale")


def test_the_watchdog_hears_of_us_while_the_loop_turns(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with running() as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.new()
        manager.wait_for("WATCHDOG=1 STATUS=ready; 1 clients, 0 stale", 3)
        rig.server.process.send_signal(signal.SIGSTOP)  # as good as stuck
        os.waitpid(rig.server.pid, os.WUNTRACED)
        stopped = len(manager.messages)
        with pytest.raises(AssertionError):
            wait_until(lambda: len(manager.messages) > stopped, "a sign of life", timeout=0.5)
        rig.server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(manager.messages) > stopped, "a sign of life")


# ---- sockets

LAUNCHER = """
import os, sys
descriptors = [os.dup(int(text)) for text in sys.argv[1].split(",")]
for number, descriptor in enumerate(descriptors, 3):
    os.dup2(descriptor, number)
    os.set_inheritable(number, True)
os.closerange(number + 1, 1000)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(number - 2), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, "-m", "voltlane", "serve"])
"""


def activated(
    master: str,
    socks: list[socket.socket],
    names: str = "a:b",
    address: str = "127.0.0.1:1",
    more: Settings | None = None,
) -> Process:
    """A server that gets its listening sockets, as from a service manager. It has no use for this address, unless the
    sockets are for that."""
    descriptors = [sock.fileno() for sock in socks]
    environ = environment(usual(master, {"listener.address": address, **(more or {})}))
    return Process(["-c", LAUNCHER, ",".join(map(str, descriptors)), names], environ, descriptors)


def restarted(manager: Manager, master: str, address: str, more: Settings | None = None) -> Process:
    """The next process of a service, with what its manager has kept."""
    assert manager.messages is not None
    return activated(master, list(manager.kept.values()), ":".join(manager.kept), address, more)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_who_connects_after_a_crash_waits_for_the_next_process(manager: Manager, tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/clients"]
    with RawMaster() as master:
        with ServerProcess(master.address, {"listener.address": ", ".join(addresses)}) as server:
            master.accept()
            manager.wait_for("STATUS=ready.*")
            assert list(manager.kept) == [name_of(address) for address in addresses]
            server.kill()
        master.drop()
        waiting = [RawClient(address) for address in addresses]
        with restarted(manager, master.address, ", ".join(addresses)) as server:
            master.accept()
            for client in waiting:
                client.greet()
                client.finish_new()
                client.send(b"I have waited")
                assert master.recv_data(client.client_id, 1) == [b"I have waited"]
                client.close()
            manager.wait_for("STATUS=ready.*", 2)
            assert list(manager.kept) == [name_of(address) for address in addresses]
            assert server.stop() == 0


def test_what_is_kept_and_not_asked_for_any_more_is_closed(manager: Manager, tmp_path: Path) -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    gone = f"unix:{tmp_path}/clients"
    with RawMaster() as master:
        with ServerProcess(master.address, {"listener.address": f"{first}, {gone}"}) as server:
            manager.wait_for("READY=1.*")
            server.kill()
        os.unlink(f"{tmp_path}/clients")
        with restarted(manager, master.address, f"{second}, {gone}") as server:
            manager.wait_for("READY=1.*", 2)
            assert sorted(manager.kept) == sorted([name_of(second), name_of(gone)])
            for address in (second, gone):
                RawClient(address).close()
            with pytest.raises(ConnectionRefusedError):
                RawClient(first)
            assert server.stop() == 0


def test_nobody_waits_where_nobody_is_accepted_any_more(manager: Manager, tmp_path: Path) -> None:
    with running({"admin.address": f"unix:{tmp_path}/admin"}):
        manager.wait_for("STATUS=ready.*")
        assert len(manager.kept) == 1
        with socket.socket(socket.AF_UNIX) as operator:
            operator.connect(f"{tmp_path}/admin")
            operator.sendall(b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert operator.recv(4096).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: manager.messages and not manager.kept, "it to be forgotten")


def test_sockets_that_were_passed_are_listened_on_and_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "clients"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix, RawMaster() as master:
        unix.bind(str(path))
        unix.listen()
        waiting = RawClient(f"127.0.0.1:{tcp.getsockname()[1]}")  # it connects before there is a server
        with activated(master.address, [tcp, unix]) as server:
            master.accept()
            server.wait_for_log(f"clients connect to 127.0.0.1:{tcp.getsockname()[1]}")
            server.wait_for_log(f"clients connect to unix:{path}")
            for address in (f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{path}"):
                with RawClient.new(address) as client:
                    client.send(b"hello")
                    assert master.recv_data(client.client_id, 1) == [b"hello"]
            waiting.close()
            master.close()
            assert server.stop() == 0
            assert "127.0.0.1:1\n" not in server.log
        assert path.exists()
        # The manager's sockets still listen: the next server can have them.
        socket.create_connection(tcp.getsockname()).close()


def test_a_socket_for_datagrams_that_was_passed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, RawMaster() as master:
        udp.bind(("127.0.0.1", 0))
        place = f"udp://127.0.0.1:{udp.getsockname()[1]}"
        tcp = socket.create_server(("127.0.0.1", 0))
        with tcp, activated(master.address, [tcp, udp], "tcp:udp") as server:
            master.accept()
            server.wait_for_log(f"clients connect to {place}")
            client, wire = sealed_client(f"127.0.0.1:{tcp.getsockname()[1]}")
            client.close(), wire.close()
            assert server.stop() == 0


def test_datagrams_after_a_crash_wait_for_the_next_process(manager: Manager) -> None:
    place = f"udp://127.0.0.1:{free_port()}"
    settings = {"listener.address": place, "udp.mode": "open"}
    with RawMaster() as master:
        with ServerProcess(master.address, settings) as server:
            master.accept()
            manager.wait_for("STATUS=ready.*")
            assert list(manager.kept) == [name_of(place)]
            server.kill()
        master.drop()
        with restarted(manager, master.address, place, {"udp.mode": "open"}) as server, closing(Plain(place)) as client:
            master.accept()
            manager.wait_for("STATUS=ready.*", 2)
            master.fence()
            client.send(b"to the same socket")
            assert master.recv().data == b"to the same socket"
            assert list(manager.kept) == [name_of(place)]
            assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="that is for Linux only")
def test_workers_go_on_with_what_one_process_had_kept(manager: Manager) -> None:
    place = f"udp://127.0.0.1:{free_port()}"
    with EchoBackend() as backend:
        with ServerProcess(backend.address, {"listener.address": place, "udp.mode": "open"}) as server:
            manager.wait_for("STATUS=ready.*")
            assert list(manager.kept) == [name_of(place)]
            server.kill()
        more: Settings = {"udp.mode": "open", "general.workers": 2}
        with restarted(manager, backend.address, place, more) as server, closing(Plain(place)) as client:
            for index in range(2):
                server.wait_for_log(f"worker {index} takes connections")
            assert manager.messages and manager.kept == {}, "another group could come into disorder beside it"
            client.send(b"hello")
            wait_until(client.pump, "an answer")
            assert client.got == [b"hello"] and server.stop() == 0


@pytest.mark.parametrize("mode", ["open", "sessions"])
def test_workers_do_not_share_a_socket_that_was_passed(mode: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        more: Settings = {"udp.mode": mode, "general.workers": 2}
        with activated("127.0.0.1:1", [udp], "udp", more=more) as server:
            assert server.wait() == 3
            assert "which was passed: that goes with general.workers = 1 only" in server.log


def test_a_descriptor_that_is_no_listening_socket_ends_with_3() -> None:
    with socket.socket() as plain, activated("127.0.0.1:1", [plain]) as server:
        assert server.wait() == 3
        assert "cannot listen on descriptor 3, which was passed: it is no stream socket that listens" in server.log
