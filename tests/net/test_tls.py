"""A TLS connection as a socket: both ends in memory, cut anywhere, refused anywhere."""

from __future__ import annotations

import errno
import random
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from kit.vectors import CERTIFICATES

from voltlane.net import tcpinfo
from voltlane.net.sockets import half_close, throw_away, unconfirmed
from voltlane.net.tls import MOST_UNREAD, PIECE, RECORD, SLICE, Handshake, TlsSocket

SERVER = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
SERVER.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
CLIENT = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))


def old() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


VERSIONS = {"1.3": CLIENT, "1.2": old()}


class Wire:
    """One end of a connection as the test wants it: what is sent is kept, and as much is taken as there is room for."""

    family = socket.AF_UNIX

    def __init__(self) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.room = 1 << 40
        self.over = False
        self.ended = self.closed = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = bytes(self.received[:size])
        del self.received[: len(data)]
        if not data and not self.over:
            raise BlockingIOError(errno.EAGAIN, "")
        return data

    def send(self, data: bytes, flags: int = 0) -> int:
        taken = min(len(data), self.room)
        if not taken:
            raise BlockingIOError(errno.EAGAIN, "")
        self.room -= taken
        self.sent += data[:taken]
        return taken

    def shutdown(self, how: int) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


class Pair:
    """Both ends, past the handshake."""

    def __init__(self, context: ssl.SSLContext = CLIENT, size: int = 1 << 20) -> None:
        ends = Handshake(SERVER), Handshake(context, "localhost", is_server=False)
        self.wires = Wire(), Wire()
        self.reports: list[TlsSocket] = []
        to_server = ends[1].receive()
        while not (ends[0].done and ends[1].done and not to_server):
            to_client = b""
            for start in range(0, len(to_server), size):
                to_client += ends[0].receive(to_server[start : start + size])
            to_server = b""
            for start in range(0, len(to_client), size):
                to_server += ends[1].receive(to_client[start : start + size])
        self.server = ends[0].bind(self.wires[0], self.reports.append)  # type: ignore[arg-type]
        self.client = ends[1].bind(self.wires[1])  # type: ignore[arg-type]

    def carry(self, most: int = 1 << 40) -> None:
        """What was sent arrives, as much as that."""
        for here, there in (self.wires, self.wires[::-1]):
            there.received += here.sent[:most]
            del here.sent[:most]


@pytest.fixture(params=VERSIONS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(VERSIONS[request.param])


def read_all(sock: TlsSocket, size: int = 1 << 16) -> bytes:
    data = b""
    try:
        while more := sock.recv(size):
            data += more
    except BlockingIOError:
        pass
    return data


def pattern(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 1 << 20])
def test_a_handshake_in_pieces_of_any_size(version: str, size: int):
    pair = Pair(VERSIONS[version], size)
    pair.client.send(b"hello")
    pair.carry()
    assert read_all(pair.server) == b"hello" and pair.server._tls.version() == f"TLSv{version}"


@pytest.mark.parametrize("size", [0, 1, RECORD - 1, RECORD, RECORD + 1, SLICE, SLICE + 1, 300_000])
def test_both_ways(pair: Pair, size: int):
    data = pattern(size)
    for here, there in ((pair.server, pair.client), (pair.client, pair.server)):
        assert here.send(data) == size
        pair.carry()
        assert read_all(there) == data


def test_a_record_that_comes_byte_by_byte(pair: Pair):
    pair.client.send(b"one whole record")
    stream, got = bytes(pair.wires[1].sent), b""
    for byte in stream:
        pair.wires[0].received.append(byte)
        got += read_all(pair.server)
    assert got == b"one whole record"


def test_cut_at_every_byte():
    data = [b"first", b"", b"second" * 40]
    for cut in range(0, 400, 3):
        pair = Pair()
        for part in data:
            pair.client.send(part)
        pair.carry(cut)
        got = read_all(pair.server)
        pair.carry()
        assert got + read_all(pair.server) == b"".join(data)


@pytest.mark.parametrize("size", [1, 10, 448, 4096, 1 << 16, 1 << 18])
def test_a_read_comes_short_only_where_there_is_no_more(size: int):
    pair = Pair()
    data = pattern(120_000 if size > 100 else 5000)
    pair.client.send(data)
    pair.carry()
    space, got = bytearray(size), b""
    while True:
        try:
            received = pair.server.recv_into(memoryview(space), size)
        except BlockingIOError:
            break
        got += space[:received]
        if received < size:
            assert not pair.wires[0].received and not pair.server.holds and not pair.reports
    assert got == data


def test_what_is_not_asked_for_is_not_touched(pair: Pair):
    pair.client.send(b"x" * 100)
    pair.carry()
    space = bytearray(b"-" * 60)
    assert pair.server.recv_into(memoryview(space)[10:50], 30) == 30
    assert space == b"-" * 10 + b"x" * 30 + b"-" * 20
    assert pair.server.holds and pair.server.recv(100) == b"x" * 70


# ---- refused


@pytest.mark.parametrize("room", [0, 1, 100, RECORD, RECORD + 30, 3 * RECORD, SLICE + 200])
def test_what_was_refused_goes_on_with_more_behind_it(pair: Pair, room: int):
    data = pattern(50_000)
    pair.wires[0].room = room
    try:
        sent = pair.server.send(data[:40_000])
    except BlockingIOError:
        sent = 0
    assert sent < 40_000
    pair.carry()
    got = read_all(pair.client)
    assert got == data[:sent], "nothing but what was counted has arrived"
    while sent < len(data):
        pair.wires[0].room = 3000
        try:
            sent += pair.server.send(data[sent:])
        except BlockingIOError:
            continue
    pair.carry()
    assert got + read_all(pair.client) == data


def test_refused_at_every_byte():
    data = pattern(9000)
    for room in range(0, 9200, 37):
        pair, sent, got = Pair(), 0, b""
        while sent < len(data):
            pair.wires[0].room = room or 50
            try:
                sent += pair.server.send(data[sent:])
            except BlockingIOError:
                pass
            pair.carry()
            got += read_all(pair.client)
            assert len(got) == sent
        assert got == data


@pytest.mark.parametrize("other", [b"", b"short", b"y" * 1000, b"x" * 999], ids=["none", "short", "others", "fewer"])
def test_other_bytes_than_those_that_were_refused(pair: Pair, other: bytes):
    """They are sealed already: nothing may come in their place."""
    pair.wires[0].room = 100
    with pytest.raises(BlockingIOError):
        pair.server.send(b"x" * 1000)
    pair.wires[0].room = 1 << 40
    with pytest.raises(OSError, match="other bytes") as caught:
        pair.server.send(other)
    assert caught.value.errno == errno.EPROTO
    assert pair.server.send(b"x" * 1000 + b"behind") == 1006
    pair.carry()
    assert read_all(pair.client) == b"x" * 1000 + b"behind"


# ---- ends


def test_the_end_is_said_and_heard(pair: Pair):
    pair.server.send(b"last")
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.wires[0].ended
    pair.carry()
    assert pair.client.recv(100) == b"last" and pair.client.recv(100) == b"" and pair.client.recv(100) == b""


def test_who_has_said_the_end_can_still_read(pair: Pair):
    """Also what was there before it, in all places where it may be."""
    data = pattern(100_000)
    pair.client.send(data[:60_000])
    pair.carry()
    got = pair.server.recv(10)
    pair.server.shutdown(socket.SHUT_WR)
    got += read_all(pair.server)
    pair.client.send(data[60_000:])
    pair.carry()
    assert got + read_all(pair.server) == data


def test_nothing_can_be_sent_behind_the_end(pair: Pair):
    pair.server.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        pair.server.send(b"more")


def test_no_end_is_said_within_a_record(pair: Pair):
    pair.wires[0].room = 100
    with pytest.raises(BlockingIOError):
        pair.server.send(b"x" * 1000)
    pair.wires[0].room = 1 << 40
    pair.server.shutdown(socket.SHUT_RDWR)
    assert len(pair.wires[0].sent) == 100 and pair.wires[0].ended


def test_an_end_without_a_word_is_one_to_the_server_and_a_loss_to_the_client(pair: Pair):
    for wire in pair.wires:
        wire.over = True
    assert pair.server.recv(10) == b""
    with pytest.raises(ConnectionResetError, match="cut"):
        pair.client.recv(10)


def test_an_end_behind_bytes_is_for_the_next_call_and_reported(pair: Pair):
    """The system will not tell of it: nothing more comes."""
    pair.client.send(b"last")
    pair.client.shutdown(socket.SHUT_WR)
    pair.carry()
    assert pair.server.recv(100) == b"last" and pair.reports == [pair.server]
    assert pair.server.recv(100) == b""


def test_who_says_the_end_is_answered_when_it_is_closed(pair: Pair):
    pair.client.shutdown(socket.SHUT_WR)
    pair.carry()
    assert pair.server.recv(10) == b""
    pair.server.close()
    pair.carry()
    assert pair.client.recv(10) == b"" and pair.wires[0].closed


def test_a_byte_that_is_wrong_is_a_loss_behind_what_was_right(pair: Pair):
    pair.client.send(b"right")
    pair.client.send(b"wrong")
    pair.wires[1].sent[-1] ^= 1
    pair.carry()
    assert pair.server.recv(100) == b"right" and pair.reports
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            pair.server.recv(100)
    pair.carry()  # the other side is told
    with pytest.raises(ConnectionResetError):
        pair.client.recv(100)


# ---- who makes much work


def test_many_small_records_are_read_some_at_a_time(pair: Pair):
    """Each is one byte in some twenty; the rest is for another turn, and nobody else would tell of it."""
    for _ in range(3000):
        pair.client.send(b"x")
    pair.carry()
    got = 0
    for _ in range(100):
        pair.reports.clear()
        received = len(pair.server.recv(1 << 18))
        got += received
        if not pair.reports:
            break
        assert received < 1000
    assert got == 3000


def test_a_client_that_reads_them_reads_on(pair: Pair):
    for _ in range(3000):
        pair.server.send(b"x")
    pair.carry()
    assert len(pair.client.recv(1 << 18)) == 3000


class Hollow:
    """Opens nothing but records with nothing in them, new keys say, as many as there are in one call: as OpenSSL."""

    server_side = True

    def __init__(self, incoming: ssl.MemoryBIO) -> None:
        self._incoming = incoming

    def pending(self) -> int:
        return 0

    def read(self, size: int, buffer: object = None) -> int:
        self._incoming.read()
        raise ssl.SSLWantReadError


def test_records_with_nothing_in_them_are_read_some_at_a_time(pair: Pair):
    pair.server._tls = Hollow(pair.server._incoming)  # type: ignore[assignment]
    pair.wires[0].received += bytes(1 << 20)
    calls = 0
    while calls == 0 or pair.reports:
        pair.reports.clear()
        with pytest.raises(BlockingIOError):
            pair.server.recv(1 << 18)
        calls += 1
    assert calls > 20 and not pair.wires[0].received


@pytest.mark.parametrize("size", [1 << 14, 1 << 20])
def test_large_records_are_read_at_once(size: int):
    pair = Pair()
    data = pattern(size)
    for start in range(0, size, 1 << 14):
        pair.client._tls.write(data[start : start + (1 << 14)])
    pair.client._answer()
    pair.carry()
    assert pair.server.recv(2 * size) == data and not pair.reports


class Deaf(Wire):
    """Takes nothing."""

    def send(self, data: bytes, flags: int = 0) -> int:
        raise BlockingIOError(errno.EAGAIN, "")


def test_answers_that_are_not_read_have_a_limit(pair: Pair):
    pair.wires[0].room = 0
    pair.server._unsent = bytes(MOST_UNREAD)
    pair.server._records = [(0, MOST_UNREAD)]
    pair.client.send(b"more")
    pair.carry()
    pair.server._outgoing.write(b"an answer")
    assert pair.server.recv(10) == b"more"
    with pytest.raises(ConnectionResetError, match="does not read"):
        pair.server.recv(10)


class Broken(Wire):
    """Takes what there is so many times, `room`, and fails then."""

    def send(self, data: bytes, flags: int = 0) -> int:
        if not self.room:
            raise ConnectionResetError(errno.ECONNRESET, "")
        self.room -= 1
        return len(data)


def test_an_answer_that_fails_does_not_cost_what_was_read(pair: Pair):
    pair.client.send(b"the last words")
    pair.carry()
    pair.server._outgoing.write(b"an answer")
    pair.wires[0].__class__ = Broken
    pair.wires[0].room = 0
    assert pair.server.recv(100) == b"the last words"
    with pytest.raises(ConnectionResetError):
        pair.server.recv(100)


def test_what_was_taken_before_sending_fails_counts(pair: Pair):
    """Else a client that comes back gets it twice."""
    pair.wires[0].__class__ = Broken
    pair.wires[0].room = 1
    assert pair.server.send(bytes(4 * SLICE)) == SLICE
    with pytest.raises(ConnectionResetError):
        pair.server.send(bytes(3 * SLICE))


# ---- on real sockets


@pytest.fixture
def real() -> Iterator[tuple[TlsSocket, ssl.SSLSocket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    theirs.setblocking(False)
    client = CLIENT.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
    client.setblocking(False)
    handshake = Handshake(SERVER)
    done = False
    while not (done and handshake.done):
        try:
            client.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        try:
            theirs.send(handshake.receive(theirs.recv(1000)))
        except BlockingIOError:
            pass
    server = handshake.bind(theirs)
    yield server, client
    server.close()
    client.close()


def test_what_is_not_about_tls_is_the_sockets_own(real: Any):
    server, _ = real
    assert server.family == socket.AF_INET and server.fileno() > 0
    assert tcpinfo.read(server) is not None and unconfirmed(server) >= 0
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert server.getpeername()[0] == "127.0.0.1"


def test_against_the_standard_librarys_own(real: Any):
    """Full buffers, both ways at once."""
    server, client = real
    down, up = pattern(3_000_000), pattern(2_000_000)
    sent = [0, 0]
    got = [b"", b""]
    for _ in range(20_000):
        for number, (sock, data, other) in enumerate([(server, down, client), (client, up, server)]):
            try:
                if sent[number] < len(data):
                    sent[number] += sock.send(data[sent[number] : sent[number] + 100_000])
            except (BlockingIOError, ssl.SSLWantWriteError):
                pass
            try:
                got[number] += other.recv(50_000)
            except (BlockingIOError, ssl.SSLWantReadError):
                pass
        if [len(part) for part in got] == [len(down), len(up)]:
            break
    assert got == [down, up]


def test_a_gentle_end(real: Any):
    server, client = real
    server.send(b"last")
    client.send(b"unread")
    client.setblocking(True)
    assert half_close(server) == len(b"unread") and throw_away(server) == 0
    assert client.recv(100) == b"last" and client.recv(100) == b""


def test_pieces_bound_what_openssl_keeps():
    """Its memory grows with what is put into it at once, and is not given back."""
    assert PIECE <= 4096 and RECORD <= 4096
