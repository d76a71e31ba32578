"""Version 3 with a client made from SPEC.txt alone, against the real server: every packet once and in order."""

from __future__ import annotations

import contextlib
import copy
import random
import socket
import struct
from collections.abc import Iterator

import pytest
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.independent import GAP, PING, UNCERTAIN, Client, Closed, Told
from kit.process import BackendProcess, ServerProcess

TIMEOUT = 10.0
SIZES = [0, 0, 1, 3, 8, 100, 1000, 1000, 10_000, 65_502, 65_536, 262_144, 300_000, 1 << 20]
with_both_suites = pytest.mark.parametrize("suite", [1, 0])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with an echoing backend."""
    with BackendProcess() as backend, ServerProcess(backend.address) as server:
        yield server.address


def parted(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def opened(address: str, suite: int = 1) -> Client:
    client = Client(parted(address), (suite,))
    client.connect(TIMEOUT)
    return client


def packet(number: int, size: int) -> bytes:
    """Told apart by its first four bytes, as far as it has so many."""
    return (struct.pack("<I", number) + random.Random(number).randbytes(max(0, size - 4)))[:size]


def come_back(client: Client) -> None:
    """As often as it takes: the new connection may be cut as well."""
    for _ in range(1000):
        with contextlib.suppress(ConnectionError):
            client.reconnect(TIMEOUT)
            return
        assert client.over is None, client.over
    raise AssertionError("it never came back")


def cut(client: Client, dice: random.Random) -> None:
    """End the connection behind the client's back: in order, or by a reset."""
    sock = client._sock
    if sock is not None and sock.fileno() >= 0:
        if dice.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR) if dice.random() < 0.3 else sock.close()


def echo(client: Client, packets: list[bytes], cut_chance: float, dice: random.Random, ahead: int = 1 << 20) -> int:
    """Send all, and get all back in order, over as many connections as it takes; how often it was cut."""
    sent = got = under_way = cuts = 0
    while got < len(packets):
        try:
            while sent < len(packets) and (under_way + len(packets[sent]) <= ahead or sent == got):
                under_way += len(packets[sent])
                sent += 1
                client.send(packets[sent - 1])
            if dice.random() < cut_chance:
                cut(client, dice)
            item = client.recv(TIMEOUT)
        except ConnectionError:
            cuts += 1
            come_back(client)
            continue
        assert item == packets[got], f"packet {got}"
        under_way -= len(packets[got])
        got += 1
    while True:
        try:
            assert client.flush(TIMEOUT)
            assert client.recv(0.1) is None
            break
        except ConnectionError:
            come_back(client)
    assert client.sent == client.acked == client.taken == client.safe
    return cuts


@with_both_suites
def test_small_packets_while_the_client_cuts(address: str, suite: int) -> None:
    client, dice = opened(address, suite), random.Random(suite)
    packets = [packet(number, dice.choice([4, 8, 40, 200])) for number in range(5000)]
    assert echo(client, packets, 0.05, dice, ahead=20_000) > 20
    client.close()


@with_both_suites
def test_all_sizes_while_the_client_cuts(address: str, suite: int) -> None:
    client, dice = opened(address, suite), random.Random(suite)
    packets = [packet(number, dice.choice(SIZES)) for number in range(300)]
    assert echo(client, packets, 0.1, dice) > 10
    client.close()


@with_both_suites
def test_cuts_at_any_byte(address: str, suite: int) -> None:
    """Also within the handshake, the welcome, its confirmation, and the packets that come again."""
    dice = random.Random(suite)

    def faults() -> Faults:
        return Faults(cut_at=dice.choice([dice.randrange(700), dice.randrange(400_000)]), cut_by=dice.choice([*End]))

    script = [Link(up=faults()) if dice.random() < 0.5 else Link(down=faults()) for _ in range(150)]
    with FaultProxy(address, [*script, Link()]) as proxy:
        client = Client(parted(proxy.address), (suite,))
        come_back(client)
        packets = [packet(number, dice.choice(SIZES[:-3])) for number in range(1500)]
        assert echo(client, packets, 0.0, dice, ahead=1 << 19) > 30
        client.close()


def test_an_open_whose_welcome_is_lost_opens_one_session(address: str) -> None:
    before = opened(address)
    with FaultProxy(address, [Link(down=Faults(cut_at=150)), Link()]) as proxy:  # behind the server hello
        client = Client(parted(proxy.address))
        with pytest.raises(ConnectionError):
            client.connect(TIMEOUT)
        client.connect(TIMEOUT)
        assert (client.id, client.generation) == (before.id + 1, 1)
        client.close()
    before.close()


def test_keys_are_replaced_after_65536_records_each_way(address: str) -> None:
    client, seen = opened(address), []
    receive = client._receive
    client._receive = lambda record, first=False: (seen.append(record[0]), receive(record, first))  # type: ignore[method-assign]
    for _ in range(660):
        for _ in range(100):
            client._write(PING, b"ping")
        client.send(b"pong")
        assert client.recv(TIMEOUT) == b"pong"
    assert len(seen) > 1 << 16
    client.close()


@with_both_suites
def test_a_server_that_lost_its_memory_says_so(address: str, suite: int) -> None:
    """The client's packets are on their way; and the epoch that it knows is not the server's."""
    with FaultProxy(address) as proxy:
        client = Client(parted(proxy.address), (suite,))
        client.connect(TIMEOUT)
        assert echo(client, [b"1", b"2", b"3"], 0.0, random.Random()) == 0
        proxy.links[0].stall()
        assert [client.send(b"lost?") for _ in range(5)] == [4, 5, 6, 7, 8]
        client.epoch += 1
        client.reconnect(TIMEOUT)
        assert client.recv(TIMEOUT) == Told(UNCERTAIN, 4, 8, 0)
        assert client.recv(TIMEOUT) == Told(GAP, 4, 4, 2)
        assert client.send(b"new") == 9
        assert client.recv(TIMEOUT) == b"new"
        assert (client.taken, client.flush(TIMEOUT), client.acked) == (5, True, 9)
        client.close()


def test_a_client_that_goes_on_from_an_older_state_is_told_what_it_misses(address: str) -> None:
    client = opened(address)
    echo(client, [b"1", b"2", b"3"], 0.0, random.Random())
    client.taken = client.safe = 1
    client.reconnect(TIMEOUT)
    assert client.recv(TIMEOUT) == Told(GAP, 2, 3, 3)
    client.send(b"4")
    assert client.recv(TIMEOUT) == b"4"
    client.close()


def test_a_copy_of_a_client_is_told_that_the_session_went_on(address: str) -> None:
    client = opened(address)
    client.close(3005)
    twin = copy.copy(client)
    client.reconnect(TIMEOUT)
    assert refusal(twin) == 3503
    client.send(b"still here")
    assert client.recv(TIMEOUT) == b"still here"
    client.close()


def test_a_connection_that_was_replaced_is_told_so(address: str) -> None:
    client = opened(address)
    old, client._sock = copy.copy(client), None
    client.reconnect(TIMEOUT)
    with pytest.raises(Closed) as closed:
        old.recv(TIMEOUT)
    assert closed.value.code == 3505
    client.close()


def test_whoever_has_left_for_good_does_not_come_back(address: str) -> None:
    client = opened(address)
    client.send(b"last")
    assert client.flush(TIMEOUT)
    twin = copy.copy(client)
    client.close()
    assert refusal(client) == 3510
    assert refusal(twin) == 3504
    assert (twin.over.ack, twin.over.taken) == (1, 1)  # type: ignore[union-attr]


def test_another_servers_key_is_refused(address: str) -> None:
    client = Client(parted(address))
    client.server_keys = (bytes(32),)
    with pytest.raises(ConnectionError, match="another server"):
        client.connect(TIMEOUT)


def test_breaking_the_protocol_is_answered_and_costs_the_session_nothing(address: str) -> None:
    client = opened(address)
    client._write(100)
    with pytest.raises(Closed) as closed:
        client.recv(TIMEOUT)
    assert closed.value.code == 3500
    client.over = None
    client.reconnect(TIMEOUT)
    client.close()


def refusal(client: Client) -> int:
    with pytest.raises(Closed) as closed:
        client.reconnect(TIMEOUT)
    return closed.value.code
