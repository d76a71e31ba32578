"""Version 3 with a client made from SPEC.txt alone, against the real server: every packet once and in order."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from kit.fault_proxy import End as CutBy
from kit.fault_proxy import FaultProxy, Faults, Link
from kit.independent import PING, PONG, Client, Closed, Gap, Uncertain
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
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionError):
            client.connect(TIMEOUT)
            return
        assert client.over is None, client.over
        time.sleep(0.005)
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
    assert echo(client, packets, 0.05, dice, ahead=20_000) > 10
    client.close()


@with_both_suites
def test_all_sizes_while_the_client_cuts(address: str, suite: int) -> None:
    client, dice = opened(address, suite), random.Random(suite)
    packets = [packet(number, dice.choice(SIZES)) for number in range(300)]
    assert echo(client, packets, 0.1, dice) > 5
    client.close()


@with_both_suites
def test_cuts_at_any_byte(address: str, suite: int) -> None:
    """Also within the handshake, the welcome, its confirmation, and the packets that come again."""
    dice = random.Random(suite)

    def faults() -> Faults:
        return Faults(cut_at=dice.choice([dice.randrange(700), dice.randrange(400_000)]), cut_by=dice.choice([*CutBy]))

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
    while len(seen) < 1 << 16:
        client._write(PING, b"ping")
        client.send(b"pong")
        assert client.recv(TIMEOUT) == b"pong"
    assert seen.count(PONG) > 1 << 14, "of those that come together the last is answered"
    client.close()


@with_both_suites
def test_the_largest_packets_go_through_and_come_again_whole(address: str, suite: int) -> None:
    packets = [packet(number, size) for number, size in enumerate([0, 8_388_599, 0, 1 << 20, 8_388_599])]
    with FaultProxy(address, [Link(up=Faults(cut_at=5_000_000)), Link(down=Faults(cut_at=5_000_000)), Link()]) as proxy:
        client = opened(proxy.address, suite)
        assert echo(client, packets, 0.0, random.Random(), ahead=0) == 2
        client.close()


def test_a_packet_over_the_limit_is_refused(address: str) -> None:
    client = opened(address)
    with pytest.raises(ValueError, match="as large as this"):
        client.send(bytes(8_388_600))
    client._server_limit += 1
    client.send(bytes(8_388_600))
    with pytest.raises(Closed) as closed:
        client.recv(TIMEOUT)
    assert closed.value.code == 3511


@with_both_suites
def test_another_epoch_makes_uncertain_what_is_not_safe(address: str, suite: int) -> None:
    """The client's packets are on their way when it meets another epoch; the first welcome that has it is lost."""
    with FaultProxy(address, [Link(), Link(down=Faults(cut_at=150)), Link()]) as proxy:
        client = opened(proxy.address, suite)
        assert echo(client, [b"1", b"2", b"3"], 0.0, random.Random()) == 0
        proxy.links[0].stall()
        assert [client.send(b"lost?") for _ in range(5)] == [4, 5, 6, 7, 8]
        client.epoch += 1
        with pytest.raises(ConnectionError):
            client.connect(TIMEOUT)
        client.connect(TIMEOUT)
        assert client.recv(TIMEOUT) == Uncertain(4, 8)
        assert client.send(b"new") == 9
        assert client.recv(TIMEOUT) == b"new"
        assert (client.flush(TIMEOUT), client.acked) == (True, 9)
        client.connect(TIMEOUT)
        assert client.recv(0.1) is None
        client.close()


class Server(contextlib.ExitStack):
    """A server with a state directory and an echoing backend; it can be ended and begun again, at the same address."""

    def __init__(self, state: Path) -> None:
        super().__init__()
        self._settings = {"general.state_dir": str(state)}
        self._backend = self.enter_context(BackendProcess())
        self.begin()

    def begin(self) -> None:
        self.process = self.enter_context(ServerProcess(self._backend.address, self._settings))
        self.address = self._settings["listener.address"] = self.process.address


class Ended(NamedTuple):
    """The server ended here: the client's packets up to `acked` were safe, and up to `sent` may have been sent."""

    acked: int
    sent: int


def answers(server: Server, client: Client, dice: random.Random, kill: bool) -> list[object]:
    """Send 1001 numbered packets while the server ends twice; the numbers that come back, and what is told."""
    seen: list[object] = []

    def read(until: int) -> None:
        while item := client.recv(TIMEOUT):
            seen.append(struct.unpack_from("<I", item)[0] if isinstance(item, bytes) else item)
            if seen[-1] == until:
                return
        raise AssertionError(f"nothing more came, and {until} is missing")

    for last in range(500, 1001, 500):
        for number in range(last - 499, last + 1):
            client.send(packet(number, dice.choice([4, 40, 400, 4000])))
        with contextlib.suppress(ConnectionError):
            read(until=last - dice.randrange(1, 500))
            server.process.kill() if kill else server.process.process.terminate()
            read(until=0)
        assert client.over is None
        server.process.wait()
        sent = client.sent
        server.begin()
        come_back(client)
        seen.append(Ended(client.acked, sent))
    client.send(packet(1001, 4))
    read(until=1001)
    assert client.flush(TIMEOUT)
    assert client.recv(0.3) is None
    assert client.sent == client.acked == 1001
    client.close()
    return seen


@with_both_suites
def test_a_server_that_was_killed_tells_what_it_does_not_know(tmp_path: Path, suite: int) -> None:
    """All else comes once and in order."""
    with Server(tmp_path) as server:
        seen = answers(server, opened(server.address, suite), random.Random(suite), kill=True)
    ends = [item for item in seen if isinstance(item, Ended)]
    uncertain = [Uncertain(end.acked + 1, end.sent) for end in ends if end.acked < end.sent]
    assert [item for item in seen if isinstance(item, Uncertain)] == uncertain
    assert len([item for item in seen if isinstance(item, Gap)]) == len(ends) == 2
    taken = came = lost = 0  # the number of the server's last packet; the answer that it was; what has none ends here
    for item in seen:
        if isinstance(item, int):
            assert came < item <= max(came, lost) + 1
            taken, came = taken + 1, item
        elif isinstance(item, Gap):
            assert (item.first, item.why) == (taken + 1, 2)
            taken = item.last
        elif isinstance(item, Ended):
            lost = item.sent


@with_both_suites
def test_a_server_that_ends_in_order_loses_nothing_and_tells_nothing(tmp_path: Path, suite: int) -> None:
    with Server(tmp_path) as server:
        seen = answers(server, opened(server.address, suite), random.Random(suite), kill=False)
    assert [item for item in seen if not isinstance(item, Ended)] == [*range(1, 1002)]


class Keeping(Client):
    """A client that keeps its state (a pickle) before it uses a new secret, and when it is told to."""

    kept = b""
    _secret_kept = b""

    def keep(self) -> None:
        self._secret_kept, self.kept = self._secret, b""
        self.kept = pickle.dumps(self)

    def _put(self, message: bytes) -> None:
        if self.id and self._secret != self._secret_kept:
            self.keep()
        super()._put(message)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_sock": None, "_end": None, "over": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Another life, which does not know what the one before did after that: SPEC.txt, section 17."""
        vars(self).update(state)
        self._fail(ConnectionError("another life"))
        told = [item for _, _, item in self._inbox if isinstance(item, Uncertain)]
        self.taken, self._inbox, self._waiting = self.safe, deque((self.safe, 0, item) for item in told), 0
        self.sent = self._last  # all that the state has may have been sent since
        self._last = self._forgotten = time.time_ns() // 1000


@with_both_suites
def test_a_client_that_goes_on_from_an_older_state_is_told_what_it_misses(address: str, suite: int) -> None:
    """And what it did since is a gap of its own, in front of what it sends then."""
    client = Keeping(parted(address), (suite,))
    client.connect(TIMEOUT)
    echo(client, [b"1"], 0.0, random.Random())
    client.keep()
    echo(client, [b"2", b"3"], 0.0, random.Random())
    for life in range(3):
        older = pickle.loads(client.kept)
        client._fail(ConnectionError("it crashed"))
        client = older
        number = client.send(b"4")
        assert number > 1_000_000_000_000_000
        client.connect(TIMEOUT)
        assert client.recv(TIMEOUT) == Gap(2, 3 + life, 3)
        assert client.recv(TIMEOUT) == b"4"
        assert client.flush(TIMEOUT)
        assert client.recv(0.1) is None  # and it has said that it has the answer
        assert (client.acked, client.taken) == (number, 4 + life)
    client.close()


def test_a_client_sends_again_what_its_state_knows_and_another_life_may_not_have_sent(address: str) -> None:
    with FaultProxy(address) as proxy:
        client = Keeping(parted(proxy.address))
        client.connect(TIMEOUT)
        proxy.links[0].stall()
        client.send(b"1")
        client.send(b"2")
        client.keep()
        client.send(b"3: nobody knows of it any more")
        client._sock.close()
        client = pickle.loads(client.kept)
        client.send(b"4")
        come_back(client)
        assert [client.recv(TIMEOUT) for _ in range(3)] == [b"1", b"2", b"4"]
        assert client.flush(TIMEOUT)
        client.close()


def test_client_and_server_forget_and_nothing_comes_twice(tmp_path: Path) -> None:
    """What the state knows to have been sent is uncertain, and is told also if the client dies before it says so."""
    with Server(tmp_path) as server, FaultProxy(server.address) as proxy:
        client = Keeping(parted(proxy.address))
        client.connect(TIMEOUT)
        echo(client, [b"1", b"2"], 0.0, random.Random())
        proxy.links[0].stall()
        client.send(b"3")
        client.keep()
        server.process.kill()
        server.begin()
        for _ in range(2):
            client._fail(ConnectionError("it crashed"))
            client = pickle.loads(client.kept)
            come_back(client)
        assert client.recv(TIMEOUT) == Uncertain(3, 3)
        gap = client.recv(TIMEOUT)
        assert (gap.first, gap.why) == (3, 2)
        client.send(b"new")
        assert client.recv(TIMEOUT) == b"new"
        assert client.recv(0.3) is None
        assert client.flush(TIMEOUT)
        client.close()


def test_a_copy_of_a_client_is_told_that_the_session_went_on(address: str) -> None:
    client = opened(address)
    client.close(3005)
    twin = copy.copy(client)
    client.connect(TIMEOUT)
    assert refusal(twin) == 3503
    client.send(b"still here")
    assert client.recv(TIMEOUT) == b"still here"
    client.close()


def test_a_connection_that_was_replaced_is_told_to_come_back_and_a_copy_is_then_refused(address: str) -> None:
    client = opened(address)
    old, client._sock = copy.copy(client), None
    client.connect(TIMEOUT)
    with pytest.raises(Closed) as closed:
        old.recv(TIMEOUT)
    assert (closed.value.code, old.over) == (3007, None)
    assert refusal(old) == 3503
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
    client.connect(TIMEOUT)
    client.close()


def refusal(client: Client) -> int:
    with pytest.raises(Closed) as closed:
        client.connect(TIMEOUT)
    return closed.value.code
