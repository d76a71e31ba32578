"""Datagrams from nobody, by the hundred thousand and from as many addresses, against a real process: what is kept of
them, what is answered, and what the clients notice that were there before.

A good client's exchange stands behind each hundred of them, in the same queue of the kernel: when that is answered, all
of the hundred have been looked at.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import pytest
from kit.datagram_client import PONG, Wire
from kit.process import HAS_PROC, BackendProcess, ServerProcess
from kit.raw_records import RawRecordClient
from kit.wait import wait_until

from bench.siege.everywhere import Everywhere
from voltlane.reasons import DatagramDrop

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="needs Linux: sources of 127/8, and its /proc")

FLOOD = 100_000
AT_ONCE = 100
"""Datagrams between two exchanges of the good client: the kernel's queue has room for these."""
WARM_UP = 5000
"""Of them, before memory is looked at."""
MOST_GROWN = 3 << 20
"""Bytes; a table would have grown by three times that with 100 bytes an address."""
SESSIONS: dict[str, object] = {
    "listener.address": "127.0.0.1:0, udp://127.0.0.1:0",
    "master.datagrams": True,
    "admin.address": "127.0.0.1:0",
}
OPEN: dict[str, object] = {"listener.address": "udp://127.0.0.1:0", "udp.mode": "open", "admin.address": "127.0.0.1:0"}


class SealedClient:
    """A good client: pings, and must hear a pong each time."""

    def __init__(self, server: ServerProcess) -> None:
        self.stream = RawRecordClient(server.address).enter()
        self.wire = Wire(self.stream.ask(), server.datagrams)
        self.exchange()
        self.exchange()

    def exchange(self) -> None:
        before = len(self.heard(PONG))
        self.wire.ping()
        wait_until(lambda: self.wire.pump() and len(self.heard(PONG)) > before, "a pong")

    def heard(self, kind: int) -> list[bytes]:
        return [got.body for got in self.wire.heard if got.kind == kind]

    def close(self) -> None:
        self.wire.close()
        self.stream.close()


class OpenClient:
    """A good client of the plain relay: sends numbers, and must have each back."""

    def __init__(self, server: ServerProcess, first: bytes = b"") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(10.0)
        self.number = 0
        try:
            self.sock.connect(server.datagrams)
            if first:
                self.sock.send(first)
                self.cookie = self.sock.recv(100)
                self.sock.send(self.cookie + b"hello")
                assert self.sock.recv(100) == b"hello"
            self.exchange()
        except BaseException:
            self.close()
            raise

    def exchange(self) -> None:
        self.number += 1
        self.sock.send(b"%d" % self.number)
        assert self.sock.recv(100) == b"%d" % self.number

    def close(self) -> None:
        self.sock.close()


@contextmanager
def besieged(settings: Mapping[str, object]) -> Iterator[tuple[ServerProcess, Everywhere]]:
    with (
        BackendProcess() as backend,
        ServerProcess(backend.address, settings) as server,
        ExitStack() as stack,
    ):
        server.wait_for_log("connected to the master")
        everywhere = Everywhere(server.datagrams)
        stack.callback(everywhere.close)
        yield server, everywhere


def flood(everywhere: Everywhere, good: SealedClient | OpenClient, datagrams: Iterator[bytes], count: int) -> None:
    """Each from another address, none of which has come before; and the good client in between."""
    for _ in range(count // AT_ONCE):
        for _ in range(AT_ONCE):
            assert everywhere.send(next(datagrams), everywhere.sent)
        good.exchange()
        everywhere.take()


def garbage(size: int = 60) -> Iterator[bytes]:
    dice = random.Random(1)
    while True:
        yield dice.randbytes(size)


def dropped(server: ServerProcess) -> Counter[DatagramDrop]:
    counts = server.stats["reasons"]["dropped_datagrams"]
    return Counter({reason: counts[reason.value] for reason in DatagramDrop if reason.value in counts})


class TestSessions:
    def test_a_hundred_thousand_strangers_leave_nothing_behind(self):
        with besieged(SESSIONS) as (server, everywhere):
            good = SealedClient(server)
            try:
                flood(everywhere, good, garbage(), WARM_UP)
                resident = server.resident_bytes()
                flood(everywhere, good, garbage(), FLOOD)
                assert everywhere.answers == 0
                assert dropped(server) == {DatagramDrop.UNKNOWN_ID: FLOOD + WARM_UP}
                stats = server.stats
                assert (stats["datagrams"]["channels"], stats["datagrams"]["challenges"]) == (1, 1)
                assert stats["clients"]["live"] == 1
                assert server.resident_bytes() - resident < MOST_GROWN
            finally:
                good.close()

    def test_what_was_caught_and_spoilt_moves_nothing(self):
        """Replayed, cut off and with bits turned, from everywhere: the window, the path and the client stay."""
        with besieged(SESSIONS) as (server, everywhere):
            good = SealedClient(server)
            try:
                caught = [good.wire.sealed.data(bytes(40)) for _ in range(20)]
                for datagram in caught:
                    good.wire.raw(datagram)
                good.exchange()
                held_back = good.wire.sealed.data(bytes(40))  # which never comes: only what was made of it
                good.exchange()
                dice, before = random.Random(2), dropped(server)

                def spoilt() -> Iterator[bytes]:
                    while True:
                        yield dice.choice(caught)
                        yield held_back[: dice.randrange(len(held_back))]
                        bits = bytearray(held_back)
                        bits[dice.randrange(len(bits))] ^= 1 << dice.randrange(8)
                        yield bytes(bits)
                        yield held_back + b"."

                flood(everywhere, good, spoilt(), 20_000)
                counts = dropped(server)
                counts.subtract(before)
                assert sum(counts.values()) == everywhere.sent and everywhere.answers == 0
                assert counts[DatagramDrop.REPLAYED] >= 5000
                for reason in (DatagramDrop.SHORT, DatagramDrop.UNSEALED, DatagramDrop.UNKNOWN_ID):
                    assert counts[reason] > 100, counts
                figures = server.stats["datagrams"]
                assert (figures["roamed"], figures["challenges"]) == (0, 1)
                good.wire.raw(held_back)
                good.exchange()
                assert (
                    dropped(server)[DatagramDrop.REPLAYED]
                    == before[DatagramDrop.REPLAYED] + counts[DatagramDrop.REPLAYED]
                ), "the one that was held back is taken: nobody has used up its number"
            finally:
                good.close()

    def test_who_sends_on_what_it_caught_gets_no_more_than_three_times_that(self):
        """Somebody on the way, who is quicker than the client, has the server believe that it moves: all the time."""
        with besieged(SESSIONS) as (server, everywhere):
            good = SealedClient(server)
            try:
                for _ in range(300):
                    datagram = good.wire.sealed.datagram(1)  # a ping: it would be answered
                    assert everywhere.send(datagram, everywhere.sent)
                    good.wire.raw(datagram)  # which comes second
                    good.exchange()
                    everywhere.take()
                assert 0 < everywhere.bytes_answered <= 3 * everywhere.bytes_sent
                figures = server.stats["datagrams"]
                assert figures["channels"] == 1 and figures["roamed"] == 0
            finally:
                good.close()


class TestOpen:
    def test_as_many_clients_as_are_allowed_and_no_more(self):
        settings = {**OPEN, "udp.peers": 2000, "udp.new_rate": 0, "udp.network_rate": 0}
        with besieged(settings) as (server, everywhere):
            good = OpenClient(server)
            try:
                flood(everywhere, good, garbage(), WARM_UP)
                assert server.stats["datagrams"]["peers"] == 2000
                resident = server.resident_bytes()
                flood(everywhere, good, garbage(), FLOOD)
                self.check(server, everywhere, peers=2000)
                assert server.resident_bytes() - resident < MOST_GROWN
            finally:
                good.close()

    def test_as_many_a_second_as_are_allowed(self):
        with besieged({**OPEN, "udp.new_rate": 20}) as (server, everywhere):
            good = OpenClient(server)
            try:
                flood(everywhere, good, garbage(), WARM_UP)
                resident = server.resident_bytes()
                flood(everywhere, good, garbage(), FLOOD)
                stats = server.stats
                self.check(server, everywhere, peers=stats["datagrams"]["peers"])
                assert stats["datagrams"]["peers"] <= 20 * (stats["uptime"] + 2)
                assert dropped(server)[DatagramDrop.STRANGER_RATE] > FLOOD // 2
                assert server.resident_bytes() - resident < MOST_GROWN
            finally:
                good.close()

    def check(self, server: ServerProcess, everywhere: Everywhere, peers: int) -> None:
        everywhere.take()
        assert everywhere.bytes_answered <= 3 * everywhere.bytes_sent
        stats, drops = server.stats, dropped(server)
        assert stats["datagrams"]["peers"] == stats["clients"]["live"] == peers
        assert sum(drops.values()) + peers - 1 == everywhere.sent, drops
        assert drops[DatagramDrop.NOT_ADMITTED] + drops[DatagramDrop.STRANGER_RATE] > FLOOD // 2

    @pytest.mark.parametrize("size", [6, 7, 20, 300])
    def test_with_a_cookie_nobody_is_let_in_who_is_not_there(self, size: int):
        count = FLOOD if size == 20 else 5000
        with besieged({**OPEN, "udp.cookie": True}) as (server, everywhere):
            good = OpenClient(server, first=b"hello, relay")
            try:
                flood(everywhere, good, garbage(size), WARM_UP)
                resident = server.resident_bytes()
                flood(everywhere, good, garbage(size), count)
                everywhere.take()
                assert (everywhere.answers > 0) == (size >= 7)
                assert everywhere.bytes_answered <= 3 * everywhere.bytes_sent
                assert server.stats["datagrams"]["peers"] == 1
                drops = dropped(server)
                assert set(drops) <= {DatagramDrop.NO_COOKIE, DatagramDrop.STRANGERS}
                assert sum(drops.values()) == everywhere.sent + 1  # the good one's first
                assert server.resident_bytes() - resident < MOST_GROWN
            finally:
                good.close()

    def test_nor_with_somebody_elses(self):
        with besieged({**OPEN, "udp.cookie": True}) as (server, everywhere):
            good = OpenClient(server, first=b"hello, relay")
            try:
                flood(everywhere, good, iter(lambda: good.cookie + b"let me in", b""), 2000)
                assert server.stats["datagrams"]["peers"] == 1
            finally:
                good.close()


# ---- sources that nobody can have


def raw_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except (PermissionError, OSError) as error:
        pytest.skip(f"needs raw sockets: {error}")


def forged(source: tuple[str, int], target: tuple[str, int], data: bytes) -> bytes:
    """A packet of IPv4 with UDP in it (no checksum of UDP's: that is allowed)."""
    udp = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data
    hosts = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + hosts + udp


@pytest.mark.parametrize("cookie", [False, True])
def test_forged_sources_are_nobody_and_the_server_does_not_talk_to_itself(cookie: bool):
    with raw_socket() as raw, besieged({**OPEN, "udp.cookie": cookie}) as (server, _):
        place = server.datagrams
        good = OpenClient(server, first=b"hello, relay" if cookie else b"")
        try:
            before = sum(dropped(server).values())
            sources = [place, ("127.0.0.1", 0), ("224.0.0.1", 5), ("255.255.255.255", 5)]
            for source in sources:
                raw.sendto(forged(source, place, b"hello, hello"), (place[0], 0))
            good.exchange()
            good.exchange()
            counts = dropped(server)
            assert counts[DatagramDrop.BAD_ADDRESS] >= 2, counts  # ourselves and port 0; the kernel drops some of them
            assert sum(counts.values()) - before == counts[DatagramDrop.BAD_ADDRESS]
            assert server.stats["datagrams"]["peers"] == 1
        finally:
            good.close()


def test_the_flood_is_what_it_says() -> None:
    """So many sources, and answers come back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5.0)
        everywhere = Everywhere(sock.getsockname())
        try:
            seen = set()
            for number in range(500):
                assert everywhere.send(os.urandom(8), number)
                _, source = sock.recvfrom(100)
                seen.add(source[0])
                sock.sendto(b"back", source)
                everywhere.take()
            assert len(seen) == 500 and everywhere.bytes_answered == 2000 and everywhere.bytes_sent == 4000
        finally:
            everywhere.close()
