"""Events over HTTP, by real clients: curl, and a reader that comes back as a browser's does."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.event_reader import EventReader, Sender, split
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.process import BackendProcess, ServerProcess
from kit.raw_master import DATA, RawMaster
from kit.rig import Rig, running
from kit.wait import wait_until

pytest.importorskip("h11", reason="the extra `web` is not installed")

WS = {"listener.address": "ws://127.0.0.1:0"}
README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(scope="module")
def _rig() -> Iterator[Rig]:
    with running(WS) as rig:
        yield rig


@pytest.fixture
def rig(_rig: Rig) -> Iterator[Rig]:
    """With the same server for all tests that leave it as it was."""
    yield _rig


def numbers(packets: list[bytes]) -> list[int]:
    return [int(packet) for packet in packets]


# ---- curl is enough


def shell_lines() -> list[str]:
    """What the README says to type."""
    found = re.search(r"```sh\n(curl -N .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return [line for line in found[1].splitlines() if line]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_what_the_readme_says_of_curl(tmp_path: Path) -> None:
    """A stream in one terminal, and packets from another; the backend echoes."""
    listen, send = shell_lines()
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        server = stack.enter_context(ServerProcess(backend.address, WS))
        host, port = split(server.address)
        said = tmp_path / "said"
        with open(said, "wb") as output:
            command = ["sh", "-c", f"exec {listen}".replace("127.0.0.1:8080", f"{host}:{port}")]
            curl = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        stack.callback(curl.wait)
        stack.callback(curl.kill)
        wait_until(lambda: b"event: session\n" in said.read_bytes() and said.read_bytes().endswith(b"\n\n"), "a stream")
        told = json.loads(re.search(rb"^data: (.*)$", said.read_bytes(), re.MULTILINE)[1])  # type: ignore[index]
        typed = send.replace("127.0.0.1:8080", f"{host}:{port}").replace("TOKEN", told["token"])
        subprocess.run(["sh", "-c", typed], check=True, timeout=20)
        wait_until(lambda: b"\ndata: hello\n\n" in said.read_bytes(), "the echo")


# ---- nothing is lost


@pytest.mark.parametrize("end", list(End), ids=lambda end: end.name)
@pytest.mark.parametrize("at", [0, 150, 200, 333, 420, 431, 500, 777])
def test_cut_at_any_byte_everything_comes_once(rig: Rig, at: int, end: End) -> None:
    host, port = split(rig.server.address)
    cut = Link(down=Faults(cut_at=at, cut_by=end))
    with FaultProxy(f"{host}:{port}", [cut, cut, Link()]) as proxy, EventReader(proxy.address) as reader:
        client = reader.client_id
        rig.master.send(client, *[b"%d" % number for number in range(30)])
        reader.read_until(lambda: len(reader.got) >= 30, "all of it")
        rig.master.send(client, b"30")
        reader.read_until(lambda: len(reader.got) > 30, "what is behind it")
        assert numbers(reader.got) == list(range(31)) and reader.gaps == []


def test_there_and_back_while_the_stream_is_cut_again_and_again(rig: Rig) -> None:
    with EventReader(rig.server.address) as reader, Sender(rig.server.address, reader.token) as sender:
        for number in range(200):
            assert sender.post(b"%d" % number) == 202
            packet = rig.master.recv_for(reader.client_id)
            while packet.flag != DATA:
                packet = rig.master.recv_for(reader.client_id)
            rig.master.send(reader.client_id, packet.data)
            if number % 9 == 5:
                reader.close()  # with whatever is on its way
            if number % 4 == 3:
                reader.read_until(lambda number=number: len(reader.got) > number - 3, "most of it")
        reader.read_until(lambda: len(reader.got) == 200, "all of it")
        assert numbers(reader.got) == list(range(200)) and reader.connections > 15
        assert len({session["client_id"] for session in reader.sessions}) == 1


def test_who_does_not_read_is_told_that_its_session_is_over() -> None:
    with ExitStack() as stack:
        rig = stack.enter_context(running({**WS, "clients.outbox_bytes": 1 << 20}))
        reader = stack.enter_context(EventReader(rig.server.address, receive_buffer=8192))
        first = reader.client_id
        rig.master.send(first, *[bytes(100_000)] * 100)
        rig.master.fence()
        reader.read_until(lambda: len(reader.sessions) == 2, "a new session")
        assert reader.client_id != first and "outbox overflow" in str(reader.sessions[-1]["lost"])


# ---- over a restart


class Home:
    """Servers that follow one another, at one port and with one state directory."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.master = stack.enter_context(RawMaster())
        self._stack, self._state, self._port = stack, path / "state", 0
        self.server: ServerProcess

    def start(self) -> ServerProcess:
        settings = {"general.state_dir": self._state, "listener.address": f"ws://127.0.0.1:{self._port}"}
        self.server = self._stack.enter_context(ServerProcess(self.master.address, settings))
        self.master.accept()
        self._port = split(self.server.address)[1]
        return self.server


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with ExitStack() as stack:
        yield Home(tmp_path, stack)


def test_an_orderly_restart_loses_nothing(home: Home) -> None:
    server = home.start()
    with EventReader(server.address) as reader:
        token, client = reader.token, reader.client_id
        home.master.send(client, *[b"%d" % number for number in range(100)])
        reader.read_until(lambda: len(reader.got) >= 10, "some of it")
        third = reader.events[3].last_id
        reader.close()
        home.master.fence()
        home.master.send(client, b"100")
        home.master.fence()
        assert server.stop() == 0
        home.start()
        reader.read_until(lambda: len(reader.got) > 100, "the rest")
        assert reader.token == token and numbers(reader.got) == list(range(101)) and reader.gaps == []
        with Sender(reader.address, token) as sender:
            assert sender.post(b"up") == 202
        with EventReader(reader.address, last_id=third) as again:  # what was sent before is retained as well
            again.read_until(lambda: len(again.got) == 98, "what is behind the third")
            assert numbers(again.got) == list(range(3, 101))


def test_after_a_kill_the_gap_is_told(home: Home) -> None:
    server = home.start()
    with EventReader(server.address) as reader:
        token, client = reader.token, reader.client_id
        home.master.send(client, *[b"%d" % number for number in range(10)])
        reader.read_until(lambda: len(reader.got) == 10, "all of it")
        server.process.send_signal(signal.SIGKILL)
        server.wait()
        home.start()
        reader.read_until(lambda: len(reader.sessions) == 2, "the stream")
        assert reader.token == token and "lost" not in reader.sessions[-1]
        home.master.send(client, b"behind")
        reader.read_until(lambda: len(reader.got) == 11, "a packet behind it")
        (gap,) = reader.gaps
        assert gap["first"] == 11 and reader.last_id == f"{token}.{gap['last'] + 1}"


def test_without_a_state_directory_a_new_session_is_told(home: Home) -> None:
    with running(WS) as rig, EventReader(rig.server.address) as reader:
        token = reader.token
        with running(WS) as other:
            reader.address = other.server.address
            reader.close()
            reader.read_until(lambda: len(reader.sessions) == 2, "another session")
        assert reader.token != token and reader.sessions[-1]["lost"] == "the session is over, or of another server"


# ---- who means no good


def test_tokens_stand_in_no_log(rig: Rig) -> None:
    with EventReader(rig.server.address) as reader:
        token = reader.token
        with Sender(rig.server.address, token) as sender:
            assert sender.post(b"up") == 202
        with Sender(rig.server.address, token[:-1] + ("A" if token[-1] != "A" else "Q")) as sender:
            assert sender.post(b"up") == 401
        reader.close()
        reader.begin()
        with socket.create_connection(split(rig.server.address)) as sock:
            sock.sendall(f"GET /events?last_event_id={token}.0 HTTP/1.1\r\nHost: a b\r\n\r\n".encode())
            assert sock.recv(1000).startswith(b"HTTP/1.1 400")
        rig.server.wait_for_log("token that opens no session")
        assert token.partition(".")[2][:10] not in rig.server.log


def test_heads_that_are_too_large(rig: Rig) -> None:
    for line, status in (
        (b"GET /events?last_event_id=" + b"1" * 3000, 414),
        (b"GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: " + b"1" * 9000, 431),
    ):
        with socket.create_connection(split(rig.server.address)) as sock:
            sock.sendall(line)
            assert sock.recv(1000).startswith(b"HTTP/1.1 %d" % status)
