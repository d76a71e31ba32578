"""The fault proxy does what it says, and nothing else: a test that trusts it must be able to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.wait import wait_until

DATA = bytes(range(256)) * 40
WAYS = ["up", "down"]


@contextmanager
def through(script: Link) -> Iterator[tuple[FaultProxy, dict[str, tuple[socket.socket, socket.socket]]]]:
    """A proxied connection: for each way, who sends and who receives."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        with FaultProxy(f"127.0.0.1:{listener.getsockname()[1]}", [script]) as proxy:
            host, _, port = proxy.address.rpartition(":")
            with socket.create_connection((host, int(port)), 5) as client, listener.accept()[0] as server:
                server.settimeout(5)
                yield proxy, {"up": (client, server), "down": (server, client)}


def script(way: str, faults: Faults) -> Link:
    return Link(**{way: faults})


def rest(sock: socket.socket) -> tuple[bytes, bool]:
    """What still comes, and whether it ended with a reset."""
    got = b""
    while True:
        try:
            data = sock.recv(1 << 16)
        except ConnectionResetError:
            return got, True
        if not data:
            return got, False
        got += data


def exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        data = sock.recv(size - len(got))
        assert data, f"the end after {len(got)} bytes"
        got += data
    return got


@pytest.mark.parametrize("way", WAYS)
def test_without_faults_everything_gets_through_and_so_does_the_end(way: str) -> None:
    with through(Link()) as (_, ends):
        sender, receiver = ends[way]
        sender.sendall(DATA)
        assert exactly(receiver, len(DATA)) == DATA
        sender.shutdown(socket.SHUT_WR)
        assert rest(receiver) == (b"", False)
        receiver.sendall(b"still here")
        assert exactly(sender, 10) == b"still here"
        receiver.shutdown(socket.SHUT_WR)
        assert rest(sender) == (b"", False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, 1, 300, len(DATA) - 1])
def test_a_cut_lets_exactly_so_many_bytes_through(way: str, at: int) -> None:
    with through(script(way, Faults(cut_at=at))) as (_, ends):
        sender, receiver = ends[way]
        if at:  # at byte 0 there is nothing to wait for
            sender.sendall(DATA)
        assert rest(receiver)[0] == DATA[:at]
        assert rest(sender)[0] == b""


@pytest.mark.parametrize("way", WAYS)
def test_a_half_close_leaves_the_other_way_as_it_was(way: str) -> None:
    with through(script(way, Faults(cut_at=7, cut_by=End.HALF))) as (_, ends):
        sender, receiver = ends[way]
        sender.sendall(DATA[:100])
        assert rest(receiver) == (DATA[:7], False)
        receiver.sendall(DATA)
        assert exactly(sender, len(DATA)) == DATA


@pytest.mark.parametrize("way", WAYS)
def test_a_reset_is_a_reset_on_both_sides(way: str) -> None:
    with through(script(way, Faults(cut_at=7, cut_by=End.RESET))) as (_, ends):
        sender, receiver = ends[way]
        sender.sendall(DATA[:7])
        assert rest(receiver) == (DATA[:7], True)
        assert rest(sender) == (b"", True)


@pytest.mark.parametrize("way", WAYS)
def test_a_drip_takes_its_time_and_is_whole(way: str) -> None:
    with through(script(way, Faults(piece=3, pause=0.002))) as (_, ends):
        sender, receiver = ends[way]
        began = time.monotonic()
        sender.sendall(DATA[:60])
        assert exactly(receiver, 60) == DATA[:60]
        assert time.monotonic() - began >= 19 * 0.002


def test_a_delay_holds_everything_back_in_its_order() -> None:
    with through(script("down", Faults(delay=0.05))) as (_, ends):
        sender, receiver = ends["down"]
        began = time.monotonic()
        sender.sendall(b"a")
        sender.sendall(b"b")
        assert exactly(receiver, 2) == b"ab"
        assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("way", WAYS)
def test_who_sends_into_a_stall_feels_it_and_nothing_is_lost(way: str) -> None:
    with through(script(way, Faults(stall_at=10))) as (proxy, ends):
        sender, receiver = ends[way]
        assert exactly(receiver, 0) == b""
        sender.setblocking(False)
        sent = 0
        wait_until(lambda: proxy.links, "the connection")
        with pytest.raises(BlockingIOError):
            while True:
                sent += sender.send(b"x" * (1 << 16))
        assert exactly(receiver, 10) == b"x" * 10
        wait_until(lambda: getattr(proxy.links[0], way).passed == 10, "the proxy to have counted them")
        proxy.links[0].go_on()
        assert exactly(receiver, sent - 10) == b"x" * (sent - 10)


def test_it_can_be_told_at_any_time() -> None:
    with through(Link()) as (proxy, ends):
        sender, receiver = ends["up"]
        sender.sendall(b"before")
        assert exactly(receiver, 6) == b"before"
        proxy.links[0].cut(End.RESET)
        assert rest(receiver) == (b"", True)
        assert rest(sender) == (b"", True)


def test_each_connection_has_its_own_script_and_the_last_goes_for_the_rest() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        with FaultProxy(target, [Link(up=Faults(cut_at=1)), Link(up=Faults(cut_at=2))]) as proxy:
            host, _, port = proxy.address.rpartition(":")
            for expected in (b"a", b"ab", b"ab"):
                with socket.create_connection((host, int(port)), 5) as client, listener.accept()[0] as server:
                    client.sendall(b"abc")
                    server.settimeout(5)
                    assert rest(server)[0] == expected
            proxy.refusing = True
            with pytest.raises(ConnectionResetError), socket.create_connection((host, int(port)), 5) as client:
                client.recv(1)
