"""Datagrams of real processes over bad networks: in namespaces of the test's own where it may make them, and always
through a wire of ours (kit/datagram_wire.py) on loopback.

How long anything takes is nowhere asked. What "within one round trip" means is counted: each datagram that is under way
when its client gets another address may be lost, and behind the one challenge and the one response to it none is.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Callable

import pytest
from kit.datagram_client import CHALLENGE, DATA, Wire
from kit.datagram_wire import DOWN, UP, DatagramWire, Faults
from kit.fault_proxy import FaultProxy
from kit.netns import CLIENT, SERVER, SERVER_HOST, Cable, why_no_faults, why_not
from kit.process import BackendProcess, ServerProcess
from kit.raw_master import RawMaster, tagged
from kit.raw_records import RawRecordClient
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.reasons import DatagramDrop

DATAGRAM = 4
HEAD = 37
SIZE = 100
"""Bytes of a packet in a datagram, that tell it from everything else on a wire."""
TIMEOUT = 10.0
SETTINGS: dict[str, object] = {
    "listener.address": "127.0.0.1:0, udp://127.0.0.1:0",
    "master.datagrams": True,
    "udp.fallback": "drop",
    "admin.address": "127.0.0.1:0",
}
RAN: set[str] = set()
"""Which kinds of network there were in this run."""


class Numbered:
    """A client's datagrams and its master, who counts them: each is a number, and some bytes to go with it."""

    def __init__(self, server: ServerProcess, master: RawMaster, wire: DatagramWire | None) -> None:
        self.server, self.master, self.network = server, master, wire
        self.stream = RawRecordClient(server.address).enter()
        self.wire = Wire(self.stream.ask(), wire.address if wire is not None else server.datagrams)
        self.sent = self.told = self._strangers = 0
        self.up: list[int] = []
        """What has come to the master as a datagram."""
        self.packets: list[bytes] = []
        """What has come there over the stream."""

    def close(self) -> None:
        self.wire.close()
        self.stream.close()

    def send(self, size: int = 8) -> int:
        self.wire.send(self.sent.to_bytes(8, "little").ljust(size, b"."))
        self.sent += 1
        return self.sent - 1

    def tell(self, size: int = 8) -> int:
        """From the master."""
        data = self.told.to_bytes(8, "little").ljust(size, b".")
        self.master.send_raw(tagged(self.stream.client_id, data, DATAGRAM))
        self.told += 1
        return self.told - 1

    @property
    def down(self) -> list[int]:
        """What has come to the client as a datagram, each number of the server's once: its network may repeat them."""
        once = {got.number: got.body for got in self.wire.heard if got.kind == DATA}
        return [int.from_bytes(body[:8], "little") for body in once.values()]

    def pump(self) -> int:
        """Whatever can move without waiting."""
        moved = self.wire.pump() + (self.network.step() if self.network is not None else 0)
        self.master.fence()
        for packet in self.master.waiting_for(self.stream.client_id):
            if packet.flag == DATAGRAM:
                self.up.append(int.from_bytes(packet.data[:8], "little"))
            else:
                self.packets.append(packet.data)
        return moved

    def until(self, done: Callable[[], bool], what: str) -> None:
        def there() -> bool:
            self.pump()
            return done()

        wait_until(there, what)

    def until_a_way_down(self) -> None:
        """However often it takes until a challenge and its response have come through."""
        before = len(self.wire.got)

        def there() -> bool:
            self.send()
            self.tell()
            self.pump()
            return len(self.wire.got) > before

        wait_until(there, "a datagram down")

    def rest(self) -> None:
        """Until nothing is under way. What is sent to the server on this machine stands in its socket's queue, so a
        datagram behind it, which is none, comes last."""
        assert self.network is not None
        while True:
            wait_until(lambda: self.pump() + self.network.is_empty == 1, "the wire is empty")  # type: ignore[union-attr]
            self._strangers += 1
            self.wire.sock.sendto(b"?", self.server.datagrams)
            wait_until(lambda: dropped(self.server).get(DatagramDrop.SHORT, 0) == self._strangers, "all is taken")
            if not self.pump():
                return


def dropped(server: ServerProcess) -> Counter[DatagramDrop]:
    """What the server has dropped so far."""
    counts = server.stats["reasons"]["dropped_datagrams"]
    return Counter({reason: counts[reason.value] for reason in DatagramDrop if reason.value in counts})


@contextmanager
def running(
    wire: DatagramWire | None = None, settings: Mapping[str, object] | None = None
) -> Iterator[tuple[ServerProcess, Numbered]]:
    """A server, its master, and a client of it whose datagrams go through the wire."""
    with ExitStack() as stack:
        master = stack.enter_context(RawMaster())
        server = stack.enter_context(ServerProcess(master.address, {**SETTINGS, **(settings or {})}))
        master.accept()
        stack.callback(master.close)
        if wire is not None:
            stack.enter_context(wire)
            wire.target = server.datagrams
        numbered = Numbered(server, master, wire)
        stack.callback(numbered.close)
        yield server, numbered


def settled(client: Numbered) -> None:
    """Its first address is validated, and something has gone there."""
    client.send()
    client.until(lambda: len(client.wire.heard) > 0, "a challenge")
    first = client.send()
    client.until(lambda: first in client.up, "the datagram behind the response")
    number = client.tell()
    client.until(lambda: number in client.down, "the first datagram down")


# ---- on loopback, through a wire


@pytest.mark.parametrize("rebinds", [False, True], ids=["it moves itself", "its NAT rebinds"])
def test_five_addresses_and_one_round_trip_for_each(rebinds: bool) -> None:
    RAN.add("wire")
    with running(DatagramWire()) as (server, client):
        assert client.network is not None
        settled(client)
        for change in range(5):
            client.stream.send(b"packet %d" % change)
            client.network.rebind() if rebinds else client.wire.move((f"127.0.4.{1 + change}", 0))
            heard, log = len(client.wire.heard), len(client.network.log)
            first = client.send()
            client.until(lambda: first in client.up, "the first datagram from the new address")  # noqa: B023
            client.until(lambda: len(client.wire.heard) > heard, "a challenge")  # noqa: B023
            second = client.send()  # behind the response
            client.until(lambda: second in client.up, "the datagram behind the response")  # noqa: B023
            number = client.tell()
            client.until(lambda: number in client.down, "the first datagram at the new address")  # noqa: B023
            assert [got.kind for got in client.wire.heard[heard:]] == [CHALLENGE, DATA]
            assert [one.way for one in client.network.log[log:]] == [UP, DOWN, UP, UP, DOWN]
        client.rest()
        assert client.up == list(range(client.sent)) and len(set(client.down)) == len(client.down)
        assert client.packets == [b"packet %d" % change for change in range(5)]
        figures = server.stats["datagrams"]
        assert (figures["channels"], figures["roamed"], figures["challenges"]) == (1, 5, 6)


def test_a_nat_that_rebinds_all_the_time_costs_what_is_under_way() -> None:
    """Each time, what the master sends to the old address is lost, and nothing else."""
    RAN.add("wire")
    with running(DatagramWire(rebind_every=20)) as (server, client):
        assert client.network is not None
        settled(client)
        for _ in range(300):
            number = client.send()
            client.until(lambda: number in client.up, "it comes to the master")  # noqa: B023
            client.tell()
            for _ in range(2):  # a challenge came before, and is answered with these
                client.pump()
        client.rest()
        rebound = client.network.rebound
        assert rebound >= 15 and client.up == list(range(client.sent))
        assert len(set(client.down)) == len(client.down) >= client.told - rebound
        assert server.stats["datagrams"]["roamed"] in (rebound, rebound - 1)


BAD = Faults(loss=0.1, twice=0.1, reorder=0.2, delay=0.008, jitter=0.004)


@pytest.mark.parametrize("seed", range(3))
def test_over_a_bad_network_each_comes_at_most_once(seed: int) -> None:
    RAN.add("wire")
    with running(DatagramWire(faults=BAD, seed=seed)) as (server, client):
        network = client.network
        assert network is not None
        for burst in range(60):
            if burst % 20 == 0:
                client.rest()  # so that nothing but the wire loses anything up
                network.rebind()
                client.until_a_way_down()
            for _ in range(10):
                client.send(8 + burst * 10)
                client.tell(8 + burst * 10)
            client.stream.send(b"packet %d" % burst)
            client.pump()
        client.rest()
        for numbers, sent in ((client.up, client.sent), (client.down, client.told)):
            assert len(set(numbers)) == len(numbers) and set(numbers) <= set(range(sent))
        assert client.packets == [b"packet %d" % burst for burst in range(60)]
        ups = [one for one in network.log if one.way == UP]
        lost, again = sum(not one.copies for one in ups), sum(one.copies == 2 for one in ups)
        assert lost > 20 and len(client.up) >= client.sent - lost, "what was not lost has come"
        assert dropped(server)[DatagramDrop.REPLAYED] == again > 20
        assert client.up != sorted(client.up) and client.down != sorted(client.down), "and in another order"
        assert server.stats["datagrams"]["channels"] == 1 and server.stats["datagrams"]["roamed"] == 2


def test_where_large_ones_vanish_small_ones_go_on() -> None:
    RAN.add("wire")
    with running(DatagramWire(faults=Faults(mtu=576))) as (_, client):
        settled(client)
        most = 576 - 28 - HEAD
        for size in (1000, most + 1, most):
            client.send(size), client.tell(size)
        client.rest()
        assert client.up == [0, 1, 4] and client.down == [0, 3]
        client.stream.send(b"x" * 5000)
        client.until(lambda: client.packets == [b"x" * 5000], "the stream is not disturbed")


# ---- the client library, on loopback and between machines of the test's own


class Player:
    """The client library against an echo: numbers its packets and its datagrams, and notes what comes back."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.packets = self.returned = 0
        self.sent = 0
        self.got: list[int] = []

    def exchange(self) -> None:
        """A packet there and back; and a datagram there, and whatever has come back."""
        self.connection.send(b"packet %d" % self.packets)
        self.packets += 1
        self.datagram()
        assert self.connection.recv(TIMEOUT) == b"packet %d" % self.returned
        self.returned += 1
        self.take()

    def datagram(self, size: int = SIZE) -> int:
        self.connection.datagram(self.sent.to_bytes(8, "little").ljust(size, b"."))
        self.sent += 1
        return self.sent - 1

    def take(self, timeout: float = 0.0) -> None:
        """Datagrams that are there, or come within so many seconds."""
        with contextlib.suppress(TimeoutError):
            while True:
                self.got.append(int.from_bytes(self.connection.recv_datagram(timeout)[:8], "little"))
                timeout = 0.0

    def until_one_returns(self, size: int = SIZE) -> None:
        """Send datagrams until one of these has come back: the way stands again."""
        first, end = self.sent, time.monotonic() + TIMEOUT
        while not self.got or self.got[-1] < first:
            assert time.monotonic() < end, "no datagram comes back"
            self.datagram(size)
            self.take(0.05)

    def until_the_last_is_back(self) -> None:
        def there() -> bool:
            self.take(0.01)
            return self.got[-1] == self.sent - 1

        wait_until(there, "the last datagram is back")

    def check(self) -> None:
        """Each packet once and in order: recv would have told a gap. No datagram twice, and none that was not sent."""
        assert self.returned == self.packets
        assert len(set(self.got)) == len(self.got) and set(self.got) <= set(range(self.sent))


@contextmanager
def echoing(**settings: object) -> Iterator[ServerProcess]:
    with BackendProcess() as backend, ServerProcess(backend.address, {**SETTINGS, **settings}) as server:
        server.wait_for_log("connected to the master")
        yield server


@pytest.mark.parametrize("cut", [False, True], ids=["the stream stays", "the stream is lost each time"])
def test_the_library_changes_its_address_five_times(cut: bool) -> None:
    RAN.add("wire")
    with DatagramWire() as wire, echoing(**{"udp.advertise": f"127.0.0.1:{wire.address[1]}"}) as server:
        wire.target = server.datagrams
        with FaultProxy(server.address) as proxy, wire.running():
            player = Player(Connection(proxy.address, timeout=TIMEOUT, reconnect="auto"))
            with player.connection:
                client_id = player.connection.client_id
                for change in range(6):
                    if change:
                        wire.rebind()
                    if change and cut:
                        proxy.cut_all()
                    for _ in range(5):
                        player.exchange()
                    player.until_one_returns()
                    for _ in range(5):
                        player.exchange()
                    player.until_the_last_is_back()
                player.check()
                assert player.connection.client_id == client_id
            for change in range(6):
                behind = behind_the_response(wire, change)
                # Down there may be one more: what went up before the response, and came back from the master behind it.
                assert 0 < behind[UP] <= behind[DOWN], "what was sent behind the last response is all back"
        figures = server.stats["datagrams"]
        assert figures["channels"] <= 1 and figures["challenges"] >= 6


def behind_the_response(wire: DatagramWire, binding: int) -> Counter[str]:
    """Datagrams with data, by their ways, while clients were at one address and the server knew that they were."""
    ones = [one for one in wire.log if one.binding == binding]
    responses = [place for place, one in enumerate(ones) if (one.way, one.size) == (UP, HEAD + 8)]
    assert responses, "the address was validated"
    return Counter(one.way for one in ones[responses[-1] :] if one.size == HEAD + SIZE)


def test_the_library_over_a_bad_network() -> None:
    RAN.add("wire")
    faults = BAD._replace(mtu=576)
    with DatagramWire(faults=faults) as wire, echoing(**{"udp.advertise": f"127.0.0.1:{wire.address[1]}"}) as server:
        wire.target = server.datagrams
        with FaultProxy(server.address) as proxy, wire.running():
            player = Player(Connection(proxy.address, timeout=TIMEOUT, reconnect="auto"))
            with player.connection:
                for round_ in range(4):
                    for _ in range(50):
                        player.exchange()
                        player.datagram(576)  # too large for the way
                    player.until_one_returns()
                    wire.rebind()
                    if round_ % 2:
                        proxy.cut_all()
                player.check()
                assert len(player.got) > 50 and player.connection.datagram_link.working


needs_namespaces = pytest.mark.skipif(bool(why_not()), reason=why_not())


@contextmanager
def far_away(heartbeat: float = 0.3) -> Iterator[tuple[Cable, ServerProcess, Player]]:
    """A server on one machine, and a client on another that this thread is on."""
    RAN.add("namespaces")
    with Cable() as cable, ExitStack() as stack:
        with cable.inside(SERVER):
            where = f"{SERVER_HOST}:0, udp://{SERVER_HOST}:0"
            server = stack.enter_context(echoing(**{"listener.address": where}))
            address = server.address
        stack.enter_context(cable.inside(CLIENT))
        player = Player(Connection(address, timeout=TIMEOUT, reconnect="auto", heartbeat=heartbeat))
        stack.enter_context(player.connection)
        yield cable, server, player


@needs_namespaces
def test_a_machine_gets_another_address_five_times() -> None:
    """Its connections die with the address, without a word from anybody."""
    with far_away() as (cable, server, player):
        for change in range(6):
            if change:
                cable.readdress(f"10.77.0.{10 + change}")
            player.until_one_returns()
            for _ in range(5):
                player.exchange()
        player.check()
        with cable.inside(SERVER):
            figures = server.stats["datagrams"]
        assert figures["channels"] == 1 and figures["challenges"] >= 6


@needs_namespaces
def test_large_ones_pass_where_packets_are_small() -> None:
    """In fragments, both ways: neither side forbids them."""
    with far_away(heartbeat=5.0) as (cable, _, player):
        cable.set_mtu(576)
        player.until_one_returns(1200 - HEAD)
        for _ in range(20):
            player.exchange()
            player.until_one_returns(1200 - HEAD)
        player.check()


@pytest.mark.skipif(bool(why_no_faults()), reason=why_no_faults())
def test_a_bad_cable() -> None:
    with far_away(heartbeat=5.0) as (cable, _, player):
        cable.set_mtu(576)
        cable.spoil("delay", "80ms", "20ms", "loss", "10%", "duplicate", "5%", "reorder", "10%")
        for change in range(3):
            if change:
                cable.readdress(f"10.77.0.{10 + change}")
            player.until_one_returns()
            for _ in range(5):
                player.exchange()
        player.check()
        assert player.connection.datagram_link.working


# ---- one of both


def test_there_was_a_network(request: pytest.FixtureRequest) -> None:
    """The wire runs everywhere; namespaces where they can be had. Where neither ran nothing was tested."""
    here = [item for item in request.session.items if item.path == request.node.path]
    if len(here) == 1:
        pytest.skip("asked for alone")
    assert RAN, "neither namespaces nor the wire"
    assert why_not() or "namespaces" in RAN, "they can be made here, and were not"
