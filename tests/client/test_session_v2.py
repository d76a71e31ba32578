from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading

import pytest
from kit.fake_server import FakeServer, reset, shut
from kit.threads import in_thread
from kit.wait import wait_until

from voltlane.address import parse_address
from voltlane.client import PACKET_LIMIT, Connection
from voltlane.client import link as links
from voltlane.errors import (
    BadPublicKey,
    ConfigError,
    ConnectionLost,
    FrameTooLarge,
    MalformedPacket,
    ServerKeyChanged,
    SessionLost,
    UnexpectedPacket,
)
from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.framing import GOODBYE, frame


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


@pytest.fixture
def connection(server):
    with Connection(server.address, protocol=2) as connected:
        yield connected


@pytest.fixture
def peer(server, connection):
    return server.accept()


def blocked_in(connection, direction):
    """Whether a thread is inside that call of the connection ("_reading" or "_writing")."""
    return lambda: getattr(connection._session._link, direction)


def fill(connection):
    """Send in a thread until the kernel takes no more."""
    result = in_thread(lambda: connection.send(bytes(PACKET_LIMIT)))
    wait_until(blocked_in(connection, "_writing"), "the sender to begin")
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLOUT)
    wait_until(lambda: not poll.poll(0), "the socket to be full")
    return result


def unsent(connection):
    """Bytes in the kernel's send queue."""
    return struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0]


# A new session


def test_a_new_session_has_the_servers_id_and_key(server, connection, peer):
    assert (connection.client_id, connection.server_key) == (peer.client_id, server.key.public)
    assert not peer.resumed


def test_packets_pass_both_ways(connection, peer):
    connection.send(b"up")
    assert peer.recv() == b"up"
    peer.send(b"down", b"", b"again")
    assert [connection.recv(5) for _ in range(3)] == [b"down", b"", b"again"]


def test_packets_behind_the_handshake_are_kept(server):
    server.greeting = frame(b"first") + frame(b"x" * 500) + frame(b"third")[:-2]
    with Connection(server.address, protocol=2) as connection:
        peer = server.accept()
        assert [connection.recv(5), connection.recv(5)] == [b"first", b"x" * 500]
        peer.send_raw(b"rd")
        assert connection.recv(5) == b"third"


def test_over_a_unix_socket(tmp_path):
    with FakeServer(path=str(tmp_path / "s")) as server, Connection(server.address, protocol=2) as connection:
        server.accept().send(b"hi")
        assert connection.recv(5) == b"hi"


def test_over_ipv6():
    try:
        server = FakeServer("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with server, Connection(server.address, protocol=2) as connection:
        server.accept().send(b"hi")
        assert connection.recv(5) == b"hi"


def test_the_address_may_be_parsed_already(server):
    with Connection(parse_address(server.address), protocol=2) as connection:
        assert str(connection.address) == server.address


def test_a_name_and_every_interface_mean_this_machine(server):
    for host in ("localhost", "*"):
        Connection(f"{host}:{server.port}", protocol=2).close()


def test_a_wrong_address_is_refused():
    with pytest.raises(ConfigError):
        Connection("no port", protocol=2)


def test_nobody_there(server):
    server.stop_listening()
    with pytest.raises(ConnectionLost, match=server.address):
        Connection(server.address, protocol=2)


def test_no_such_unix_socket(tmp_path):
    with pytest.raises(ConnectionLost, match="No such file"):
        Connection(f"unix:{tmp_path}/absent", protocol=2)


def test_a_socket_connected_to_itself_is_nobody(monkeypatch):
    class FromTheSamePort(socket.socket):
        def connect(self, address):
            self.bind(address)
            super().connect(address)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(socket, "socket", FromTheSamePort)
    with pytest.raises(ConnectionLost, match="refused"):
        Connection(f"127.0.0.1:{port}", protocol=2)


def test_a_server_that_never_answers(server):
    server.before["key"] = lambda _: stop.wait(10)
    stop = threading.Event()
    with pytest.raises(ConnectionLost, match="in time"):
        Connection(server.address, timeout=0.05, protocol=2)
    stop.set()


def test_a_server_that_closes_before_it_answers(server):
    server.before["key"] = shut
    with pytest.raises(ConnectionLost, match="closed the connection during the handshake"):
        Connection(server.address, protocol=2)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (frame(packets.encode(packets.Ping())), UnexpectedPacket),
        (frame(b"\x09"), MalformedPacket),
        (frame(b""), MalformedPacket),
        (frame(packets.encode(packets.PubKey(b"\x02" + bytes(32)))), BadPublicKey),
        (struct.pack("<I", packets.MAX_HANDSHAKE_FRAME + 1), FrameTooLarge),
    ],
    ids=["out of place", "unknown", "empty", "no point", "too large"],
)
def test_a_server_that_does_not_speak_the_protocol(server, raw, error):
    server.before["key"] = lambda sock: sock.sendall(raw)
    with pytest.raises(error):
        Connection(server.address, protocol=2)


def test_the_pinned_key_is_accepted(server):
    Connection(server.address, server_key=server.key.public, protocol=2).close()


def test_another_key_than_the_pinned_one_is_refused(server):
    with pytest.raises(ServerKeyChanged):
        Connection(server.address, server_key=crypto.generate_key().public, protocol=2)


# Receiving


def test_no_packet_in_time_and_none_of_its_bytes_lost(connection, peer):
    raw = frame(b"slowly")
    for byte in raw[:-1]:
        peer.send_raw(bytes((byte,)))
        with pytest.raises(TimeoutError):
            connection.recv(0.005)
    peer.send_raw(raw[-1:])
    assert connection.recv(5) == b"slowly"


def test_recv_0_takes_what_is_there(connection, peer):
    with pytest.raises(TimeoutError):
        connection.recv(0)
    peer.send(b"one", b"two")
    assert select.select([connection], [], [], 5)[0]
    assert [connection.recv(0), connection.recv(0)] == [b"one", b"two"]
    with pytest.raises(TimeoutError):
        connection.recv(0)


def test_packets_before_the_end_are_given_out(connection, peer):
    peer.send(b"one", b"two")
    peer.send_raw(frame(b"half")[:5])
    peer.cut()
    assert [connection.recv(5), connection.recv(5)] == [b"one", b"two"]
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            connection.recv(5)


def test_a_reset_is_a_loss(connection, peer):
    peer.reset()
    with pytest.raises(ConnectionLost):
        connection.recv(5)


def test_the_kernels_own_timeout_is_a_loss(connection, peer):
    class Dead:
        def recv(self, size):
            raise OSError(errno.ETIMEDOUT, "Connection timed out")  # which makes a TimeoutError

        def __getattr__(self, name):
            return getattr(sock, name)

    sock, connection._session._link._socket = connection._session._link._socket, Dead()
    with pytest.raises(ConnectionLost):
        connection.recv(5)


def test_a_half_closed_connection_still_sends(connection, peer):
    peer.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionLost):
        connection.recv(5)
    connection.send(b"still")
    assert peer.recv() == b"still"


def test_a_packet_over_the_limit_is_refused_by_its_prefix(server):
    with Connection(server.address, packet_limit=10, protocol=2) as connection:
        peer = server.accept()
        peer.send(b"x" * 10)
        peer.send_raw(struct.pack("<I", 11))
        assert connection.recv(5) == b"x" * 10
        for _ in range(2):
            with pytest.raises(FrameTooLarge):
                connection.recv(5)


def test_a_signal_does_not_disturb_a_recv(connection, peer):
    calls = []

    def answer(*_):
        calls.append(1)
        if len(calls) == 3:
            peer.send(b"after three signals")

    with every_ten_milliseconds(answer):
        assert connection.recv(5) == b"after three signals"


class every_ten_milliseconds:
    def __init__(self, handler):
        self.handler = handler

    def __enter__(self):
        self.old = signal.signal(signal.SIGALRM, self.handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.old)


# Sending


def test_a_packet_over_the_limit_is_not_sent_at_all(server):
    with Connection(server.address, packet_limit=10, protocol=2) as connection:
        peer = server.accept()
        with pytest.raises(ValueError, match="11 bytes, at most 10"):
            connection.send(b"x" * 11)
        connection.send(b"x" * 10)
        assert peer.recv() == b"x" * 10


@pytest.mark.parametrize(
    "data", [bytearray(b"\1\0\2\0"), memoryview(b"\1\0\2\0"), array.array("H", [1, 2]), memoryview(b"\1-\0-\2-\0")[::2]]
)
def test_any_buffer_can_be_sent(connection, peer, data):
    connection.send(data)
    assert peer.recv() == b"\1\0\2\0"


def test_text_is_no_packet(connection, peer):
    with pytest.raises(TypeError):
        connection.send("text")
    connection.send(b"bytes")
    assert peer.recv() == b"bytes"


def test_a_large_packet_goes_out_in_parts(connection, peer):
    payload = os.urandom(1024) * (PACKET_LIMIT // 1024)
    sent = in_thread(lambda: connection.send(payload))
    assert peer.recv() == payload
    sent()


def test_a_blocked_recv_does_not_block_a_send(connection, peer):
    received = in_thread(connection.recv)
    wait_until(blocked_in(connection, "_reading"), "the reader to begin")
    connection.send(b"ping")
    assert peer.recv() == b"ping"
    peer.send(b"pong")
    assert received() == b"pong"


def test_a_blocked_send_does_not_block_a_recv(connection, peer):
    sent = fill(connection)
    peer.send(b"meanwhile")
    assert connection.recv(5) == b"meanwhile"
    assert len(peer.recv()) == PACKET_LIMIT
    sent()


def test_send_to_a_server_that_is_gone(connection, peer):
    peer.reset()
    with pytest.raises(ConnectionLost):
        while True:
            connection.send(b"x" * 1000)


def test_a_blocked_send_notices_the_loss(connection, peer):
    sent = fill(connection)
    peer.reset()
    with pytest.raises(ConnectionLost):
        sent()


def test_a_signal_does_not_disturb_a_send(connection, peer):
    calls = []
    with every_ten_milliseconds(lambda *_: calls.append(1)):
        received = in_thread(lambda: wait_until(lambda: len(calls) > 3, "signals") or peer.recv())
        connection.send(bytes(PACKET_LIMIT))
        assert received() == bytes(PACKET_LIMIT)


def test_behind_half_a_packet_nothing_is_sent(connection, peer):
    class Interrupt(Exception):
        pass

    poll = select.poll()
    poll.register(connection.fileno(), select.POLLOUT)

    def interrupt_when_full(*_):
        if not poll.poll(0):
            raise Interrupt

    with every_ten_milliseconds(interrupt_when_full), pytest.raises(Interrupt):
        connection.send(bytes(PACKET_LIMIT))
    received = in_thread(peer.recv)
    wait_until(lambda: peer.buffered() and poll.poll(0), "room for more")
    with pytest.raises(ConnectionLost, match="within a packet"):
        connection.send(b"would be taken for the packet's other half")
    connection.close()
    with pytest.raises(EOFError):
        received()


def test_an_interrupted_wait_before_the_first_byte_does_no_harm(connection, peer):
    # Until not a byte more goes in, so that the next send waits before its first.
    chunk = bytes(65536)
    with pytest.raises(BlockingIOError):
        while True:
            connection._session._link._socket.send(chunk)

    class Interrupt(Exception):
        pass

    def interrupt(*_):
        raise Interrupt

    with every_ten_milliseconds(interrupt), pytest.raises(Interrupt):
        connection.send(b"x")
    assert not connection._session._link._cut


# Closing


def test_close_ends_a_blocked_recv(connection, peer):
    received = in_thread(connection.recv)
    wait_until(blocked_in(connection, "_reading"), "the reader to begin")
    connection.close()
    with pytest.raises(ConnectionLost):
        received()
    assert connection.fileno() == -1


def test_close_ends_a_blocked_send(connection, peer):
    sent = fill(connection)
    connection.close()
    with pytest.raises(ConnectionLost):
        sent()
    assert connection.fileno() == -1


def test_the_descriptor_is_not_closed_under_a_thread_that_uses_it(connection, peer):
    # Its number could belong to another socket before that thread is back in its call.
    class ClosedMeanwhile:
        def recv(self, size):
            connection.close()
            numbers.append(sock.fileno())
            return b""

        def __getattr__(self, name):
            return getattr(sock, name)

    numbers = []
    sock, connection._session._link._socket = connection._session._link._socket, ClosedMeanwhile()
    number = sock.fileno()
    with pytest.raises(ConnectionLost):
        connection.recv(5)
    assert set(numbers) == {number}
    assert sock.fileno() == -1


def test_after_close_nothing_works_and_close_does_no_harm(connection, peer):
    peer.send(b"never read")
    connection.close()
    connection.close()
    assert connection.closed
    with pytest.raises(ConnectionLost):
        connection.recv(0)
    with pytest.raises(ConnectionLost):
        connection.send(b"")
    with pytest.raises(SessionLost):
        connection.reconnect()


def test_what_was_sent_before_a_close_arrives_though_packets_were_left_unread(connection, peer):
    # Unread bytes at a close make TCP reset the connection and throw its send queue away.
    peer.send(b"never read")
    assert select.select([connection], [], [], 5)[0]
    connection._session._link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    count = 500
    for _ in range(count):
        connection.send(bytes(1000))
    assert unsent(connection), "all of it fits into the peer's buffer: nothing to lose"
    connection.close()
    assert [len(peer.recv()) for _ in range(count)] == [1000] * count
    with pytest.raises(EOFError):
        peer.recv()


def end_of(peer):
    """What stands behind the last whole packet when the client's stream ends."""
    rest = b"".join(iter(lambda: peer.socket.recv(65536), b""))
    assert not peer.buffered()
    return rest


def test_a_close_is_for_good_and_says_so(connection, peer):
    connection.send(b"last words")
    assert peer.recv() == b"last words"
    connection.close()
    connection.close()
    assert end_of(peer) == GOODBYE


def test_a_close_may_leave_the_session_as_it_is(connection, peer):
    connection.close(goodbye=False)
    connection.close()
    assert end_of(peer) == b""


def test_the_end_of_a_with_statement_says_it(server):
    with Connection(server.address, protocol=2):
        peer = server.accept()
    assert end_of(peer) == GOODBYE


def test_who_reconnects_does_not_say_it(server, connection, peer):
    ended = in_thread(lambda: (end_of(peer), peer.cut()))
    connection.reconnect()
    assert ended() == (b"", None)
    again = server.accept()
    connection.close()
    assert end_of(again) == GOODBYE


def test_a_close_during_a_reconnect_says_it_on_the_new_connection(server, connection, peer):
    peer.cut()
    server.before["ping"] = lambda _: connection.close()
    with pytest.raises(SessionLost):
        connection.reconnect()
    assert end_of(server.accept()) == GOODBYE


def test_a_goodbye_never_stands_within_a_packet(connection, peer):
    """It would be a part of that, and might make it whole."""
    sent = fill(connection)
    connection.close()
    with pytest.raises(ConnectionLost):
        sent()
    assert not end_of_cut(peer).endswith(GOODBYE)


def test_nor_behind_a_send_that_was_interrupted(connection, peer):
    connection._session._link._socket.send(frame(bytes(3))[:-3])
    connection._session._link._cut = True
    connection.close()
    with pytest.raises(EOFError):
        peer.recv()


def end_of_cut(peer):
    return b"".join(iter(lambda: peer.socket.recv(1 << 20), b""))[-16:]


def test_with_no_room_for_a_goodbye_there_is_none(connection, peer):
    with pytest.raises(BlockingIOError):
        while True:
            connection._session._link._socket.send(bytes(65536))
    connection.close()
    assert set(end_of_cut(peer)) == {0}


def test_threads_that_send_and_one_that_closes(server):
    """Whatever the moment: whole packets, and then nothing, a part of one, or a goodbye."""
    for _ in range(30):
        connection = Connection(server.address, protocol=2)
        peer, began = server.accept(), threading.Event()

        def write(connection=connection, began=began):
            while True:
                connection.send(b"\x01" * 1000)
                began.set()

        writing = in_thread(write)
        began.wait(5)
        connection.close()
        with pytest.raises(ConnectionLost):
            writing()
        raw = b"".join(iter(lambda peer=peer: peer.socket.recv(1 << 20), b""))
        whole, rest = divmod(len(raw), 1004)
        assert raw[: whole * 1004] == frame(b"\x01" * 1000) * whole
        assert raw[whole * 1004 :] in (GOODBYE, frame(b"\x01" * 1000)[:rest])


def test_iteration_ends_at_close(connection, peer):
    peer.send(b"one", b"two", b"three")
    got = []
    for packet in connection:
        got.append(packet)
        if len(got) == 2:
            connection.close()
    assert got == [b"one", b"two"]


def test_iteration_ends_at_a_close_by_another_thread(connection, peer):
    iterated = in_thread(lambda: list(connection))
    wait_until(blocked_in(connection, "_reading"), "the iteration to wait")
    connection.close()
    assert iterated() == []


def test_iteration_raises_at_a_loss(connection, peer):
    peer.send(b"one")
    peer.cut()
    got = []
    with pytest.raises(ConnectionLost):
        got.extend(connection)
    assert got == [b"one"]


def test_the_context_manager_closes(server):
    with Connection(server.address, protocol=2) as connection:
        peer = server.accept()
    assert connection.closed
    with pytest.raises(EOFError):
        peer.recv()


def test_the_repr_names_the_client_and_no_key(connection, peer):
    shown = repr(connection)
    assert f"client {peer.client_id}" in shown
    assert connection._session._session_key.hex() not in shown and repr(connection._session._session_key) not in shown


# Resuming


def test_a_resume_keeps_the_id_and_brings_what_was_missed_first(server, connection, peer):
    peer.cut()
    server.missed[peer.client_id] = [b"missed 1", b"missed 2"]
    connection.reconnect()
    again = server.accept()
    assert (again.client_id, again.resumed, connection.client_id) == (peer.client_id, True, peer.client_id)
    again.send(b"new")
    assert [connection.recv(5) for _ in range(3)] == [b"missed 1", b"missed 2", b"new"]
    connection.send(b"up")
    assert again.recv() == b"up"


def test_each_proof_is_sealed_under_a_nonce_of_its_own(server, connection, peer):
    for _ in range(3):
        peer.cut()
        connection.reconnect()
        peer = server.accept()
    nonces = {blob[-crypto.NONCE_SIZE :] for proof in server.proofs for blob in (proof.challenge, proof.response)}
    assert len(nonces) == 6
    assert not server.errors


def test_the_proof_and_the_ping_go_out_together(server, connection, peer):
    peer.cut()
    connection.reconnect()
    assert [proof.together for proof in server.proofs] == [True]


def test_whole_packets_received_before_come_first_and_half_ones_are_dropped(server, connection, peer):
    peer.send(b"taken", b"in our buffer")
    assert connection.recv(5) == b"taken"
    peer.send(b"in the kernel")
    peer.send_raw(frame(b"again whole")[:7])
    peer.cut()
    server.missed[peer.client_id] = [b"again whole"]
    connection.reconnect()
    assert [connection.recv(5) for _ in range(3)] == [b"in our buffer", b"in the kernel", b"again whole"]


def test_packets_survive_several_attempts(server, connection, peer):
    peer.send(b"one")
    peer.cut()
    server.before["key"] = shut
    for _ in range(2):
        with pytest.raises(ConnectionLost):
            connection.reconnect()
    assert connection.recv(0) == b"one"
    with pytest.raises(ConnectionLost):
        connection.recv(0)
    with pytest.raises(ConnectionLost):
        connection.send(b"")
    del server.before["key"]
    connection.reconnect()
    server.accept().send(b"two")
    assert connection.recv(5) == b"two"


def test_a_live_connection_is_given_up_without_loss(server, connection, peer):
    connection.send(b"up")

    def answer_to_the_end():
        got = [peer.recv()]
        with pytest.raises(EOFError):
            peer.recv()
        peer.send(b"still on its way")
        peer.cut()
        return got

    answered = in_thread(answer_to_the_end)
    server.missed[peer.client_id] = [b"missed"]
    connection.reconnect()
    assert answered() == [b"up"]
    assert [connection.recv(5), connection.recv(5)] == [b"still on its way", b"missed"]


def test_a_server_that_does_not_notice_does_not_stop_a_resume(server, connection, peer, monkeypatch):
    monkeypatch.setattr(links, "FAREWELL_SECS", 0.02)
    peer.send(b"one")
    connection.reconnect()
    assert server.accept().resumed
    assert connection.recv(5) == b"one"


def test_a_server_that_never_stops_sending_does_not_stop_a_resume(server, connection, peer, monkeypatch):
    monkeypatch.setattr(links, "FAREWELL_SECS", 0.02)
    stop = threading.Event()

    def flood():
        try:
            while not stop.is_set():
                peer.send(bytes(1000))
        except OSError:
            return

    flooding = in_thread(flood)
    connection.reconnect()
    assert server.accept().resumed
    stop.set()
    flooding()


def test_an_unknown_session_is_lost(server, connection, peer):
    peer.cut()
    server.sessions.clear()
    with pytest.raises(SessionLost, match=f"client {peer.client_id}"):
        connection.reconnect()


@pytest.mark.parametrize("step", ["challenge", "ping"])
def test_a_server_that_closes_instead_of_answering_refuses(server, connection, peer, step):
    peer.cut()
    server.before[step] = shut
    with pytest.raises(SessionLost):
        connection.reconnect()


@pytest.mark.parametrize("step", ["challenge", "ping"])
def test_one_end_in_order_is_not_believed(server, connection, peer, step):
    """What is between us may have made it of a reset, and over a unix socket there is no other."""

    def shut_once(sock):
        del server.before[step]
        shut(sock)

    peer.cut()
    server.before[step] = shut_once
    connection.reconnect()
    again = server.accept()
    again.send(b"on we go")
    assert again.resumed and connection.recv(5) == b"on we go"


@pytest.mark.parametrize("cut", [1, 4, 20])
def test_an_end_within_a_packet_is_no_refusal(server, connection, peer, cut):
    def cut_short(sock):
        sock.sendall(frame(packets.encode(packets.Challenge(bytes(72))))[:cut])
        shut(sock)

    peer.cut()
    server.before["challenge"] = cut_short
    with pytest.raises(ConnectionLost) as caught:
        connection.reconnect()
    assert type(caught.value) is ConnectionLost


def test_an_outage_behind_the_first_end_is_an_outage(server, connection, peer):
    def shut_and_stop(sock):
        threading.Thread(target=server.stop_listening).start()
        wait_until(lambda: not server._threads[0].is_alive(), "nobody listens")
        shut(sock)

    peer.cut()
    server.before["challenge"] = shut_and_stop
    with pytest.raises(ConnectionLost, match="cannot connect") as caught:
        connection.reconnect()
    assert type(caught.value) is ConnectionLost


def test_a_challenge_not_made_with_our_key_is_a_lost_session(server, connection, peer):
    peer.cut()
    server.sessions[peer.client_id] = bytes(32)
    with pytest.raises(SessionLost, match="our key"):
        connection.reconnect()


def outages():
    yield "nobody there", FakeServer.stop_listening
    yield "closed before the key", lambda server: server.before.update(key=shut)
    yield "reset before the key", lambda server: server.before.update(key=reset)
    yield "reset instead of a challenge", lambda server: server.before.update(challenge=reset)


@pytest.mark.parametrize("break_it", [pytest.param(how, id=name) for name, how in outages()])
def test_an_outage_is_no_refusal(server, connection, peer, break_it):
    peer.cut()
    break_it(server)
    with pytest.raises(ConnectionLost) as caught:
        connection.reconnect()
    assert type(caught.value) is ConnectionLost


def test_a_resume_that_takes_too_long_is_no_refusal(server, connection, peer):
    stop = threading.Event()
    server.before["challenge"] = lambda _: stop.wait(10)
    peer.cut()
    with pytest.raises(ConnectionLost, match="in time") as caught:
        connection.reconnect(timeout=0.05)
    assert type(caught.value) is ConnectionLost
    stop.set()


def test_a_server_with_another_key_gets_neither_id_nor_proof(server, connection, peer):
    peer.cut()
    server.key = crypto.generate_key()
    server.seen.clear()
    with pytest.raises(ServerKeyChanged):
        connection.reconnect()
    wait_until(lambda: server.errors, "the server to see the end")
    assert server.seen == [packets.ProtocolVersion(2)]


def test_a_close_during_a_reconnect_wins(server, connection, peer):
    peer.cut()
    server.before["ping"] = lambda _: connection.close()
    with pytest.raises(SessionLost):
        connection.reconnect()
    assert connection.fileno() == -1
    with pytest.raises(EOFError):
        server.accept().recv()


def test_a_reader_resumes_while_a_writer_writes(server, connection, peer):
    """Cut ten times under both: what is sent after a loss was reported goes through, in order."""
    stop = threading.Event()
    numbers = []

    def write():
        number = 0
        while not stop.is_set():
            try:
                connection.send(struct.pack("<I", number))
            except ConnectionLost:
                continue
            number += 1

    writing = in_thread(write)
    for _ in range(10):
        numbers.append(struct.unpack("<I", peer.recv())[0])
        numbers.append(struct.unpack("<I", peer.recv())[0])
        peer.cut()
        with pytest.raises(ConnectionLost):
            connection.recv(5)
        connection.reconnect()
        peer = server.accept()
    stop.set()
    writing()
    assert numbers == sorted(set(numbers))
