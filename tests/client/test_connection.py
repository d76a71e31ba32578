"""`Connection` with version 3, over real sockets, with a model of the server behind them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import struct
import threading

import pytest
from kit.fake_server_v3 import FakeServerV3
from kit.threads import in_thread
from kit.wait import wait_until

from voltlane.client import PACKET_LIMIT, Connection, driver
from voltlane.client import backoff as backoffs
from voltlane.client.options import Options
from voltlane.client.session_v3 import restore
from voltlane.errors import (
    BadState,
    ConfigError,
    ConnectionLost,
    Gap,
    ProtocolError,
    Refused,
    ServerKeyChanged,
    SessionLost,
    Uncertain,
    Unproven,
)
from voltlane.wire import v3
from voltlane.wire.framing import frame
from voltlane.wire.noise import KeyPair
from voltlane.wire.v3 import Code, Kind


@pytest.fixture
def server():
    with FakeServerV3() as running:
        yield running


@pytest.fixture
def connection(server):
    connected = Connection(server.address)
    yield connected
    connected.close(goodbye=False)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(backoffs, "FIRST_SECS", 0.01)
    monkeypatch.setattr(backoffs, "LONGEST_SECS", 0.02)


def waits(connection):
    """Whether a thread waits at the socket."""
    return lambda: connection._session._driver._waiting


def lost_connection(connection, server):
    """Cut it, and have that noticed."""
    server.cut()
    with pytest.raises(ConnectionLost):
        connection.recv(5)


# ---- a new session


def test_packets_pass_both_ways(server, connection):
    assert [connection.send(b"up"), connection.send(b"")] == [1, 2]
    server.wait_for(b"")
    server.push(b"down", b"", b"again")
    assert [connection.recv(5) for _ in range(3)] == [b"down", b"", b"again"]
    assert connection.client_id == server.session.id
    assert connection.server_key == server.model.key.public


@pytest.mark.parametrize("size", [65498, 65499, 200_000, PACKET_LIMIT])
def test_a_large_packet_goes_over_several_records(server, connection, size):
    packet = os.urandom(1024) * (size // 1024) + bytes(size % 1024)
    sent = in_thread(lambda: connection.send(packet) and connection.flush(10))
    sent()
    assert server.passed == [packet]
    pushed = in_thread(lambda: server.push(packet))
    assert connection.recv(10) == packet
    pushed()


def test_over_a_unix_socket_without_encryption(tmp_path):
    with FakeServerV3(str(tmp_path / "s")) as server, Connection(server.address, encrypted=False) as connection:
        connection.send(b"clear")
        server.wait_for(b"clear")
        assert connection.server_key == b""


def test_without_encryption_nothing_else_is_offered(server):
    server.model.suites = (v3.Suite.NOISE,)
    with pytest.raises(Refused) as caught:
        Connection(server.address, encrypted=False)
    assert caught.value.code == Code.NO_SUITE


def test_encryption_is_never_given_up(server):
    server.model.suites = (v3.Suite.CLEAR,)
    with pytest.raises(Refused):
        Connection(server.address)
    assert len(server.links) == 1


def test_any_buffer_and_no_text(server, connection):
    for data in (bytearray(b"12"), memoryview(b"1-2-")[::2]):
        connection.send(data)
    connection.flush(5)
    assert server.passed == [b"12", b"12"]
    with pytest.raises(TypeError):
        connection.send("text")


def test_a_packet_over_the_limit_is_not_sent(server):
    with Connection(server.address, packet_limit=10) as connection:
        with pytest.raises(ValueError, match="11 bytes, at most 10"):
            connection.send(bytes(11))
        connection.send(bytes(10))


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": 4},
        {"server_key": bytes(33)},
        {"protocol": 2, "server_key": bytes(32)},
        {"server_key": bytes(32), "encrypted": False},
        {"acks": "now and then"},
        {"reconnect": True},
        {"gaps": ""},
        {"uncertain": "?"},
        {"retained_packets": 0},
        {"window_bytes": 1 << 32},
        {"heartbeat": 0.0},
        {"protocol": 2, "acks": "manual"},
    ],
    ids=str,
)
def test_what_cannot_be_asked_for(server, options):
    with pytest.raises(ConfigError):
        Connection(server.address, **options)
    assert not server.links


def test_nobody_there(server):
    server.stop_listening()
    with pytest.raises(ConnectionLost, match=rf"cannot connect to {server.address}: Connection refused"):
        Connection(server.address)


def test_a_server_that_never_answers(server):
    server.mute = True
    with pytest.raises(ConnectionLost, match="handshake in time"):
        Connection(server.address, timeout=0.05)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(b"\x02" + bytes(40)), frame(b"")])
def test_somebody_else_answers(server, answer):
    server.before.append(lambda sock: sock.sendall(answer))
    with pytest.raises(ProtocolError):
        Connection(server.address)


# ---- the server's key


def test_a_key_that_was_given(server):
    Connection(server.address, server_key=server.model.key.public).close()
    with pytest.raises(ServerKeyChanged):
        Connection(server.address, server_key=KeyPair().public)
    assert len(server.model.opens) == 1


def test_the_first_key_is_pinned(server, connection):
    server.model.key = KeyPair()
    lost_connection(connection, server)
    with pytest.raises(ServerKeyChanged, match=r"a server without general\.state_dir has another one at each start"):
        connection.reconnect()
    assert not server.model.resumes, "it was told who we are"


def test_announced_keys_are_accepted_and_the_old_one_no_more(server):
    old, new = server.model.key, KeyPair()
    server.model.announced = [new]
    with Connection(server.address, server_key=old.public) as connection:
        server.model.key, server.model.announced = new, []
        connection.reconnect()
        assert connection.server_key == new.public
        server.model.key = old
        with pytest.raises(ServerKeyChanged):
            connection.reconnect()


# ---- what is lost on the way costs nothing


@pytest.mark.parametrize("bytes_down", [0, 3, 60, 150, 170, 300])
def test_an_opening_that_is_cut_is_repeated(server, bytes_down):
    server.lose_down.append(bytes_down)
    if not bytes_down:
        server.before.append(lambda sock: sock.close())
        with pytest.raises(ConnectionLost):
            Connection(server.address)
        return
    try:
        connection = Connection(server.address)
    except ConnectionLost:
        assert not server.model.opens, "the server may have a session that nobody knows of"
        return
    with connection:
        connection.send(b"here")
        server.wait_for(b"here")
    assert len(server.model.sessions) == 1 and len(set(server.model.opens)) == 1


def test_a_resume_loses_and_doubles_nothing(server, connection):
    for round_ in range(5):
        for number in range(50):
            connection.send(b"up %d.%d" % (round_, number))
            server.push(b"down %d.%d" % (round_, number))
        server.cut(hard=bool(round_ % 2))
        while True:
            try:
                connection.recv(0.01)
            except (ConnectionLost, TimeoutError):
                break
        server.push(b"meanwhile")
        connection.reconnect()
    connection.flush(5)
    assert server.passed == [b"up %d.%d" % (round_, number) for round_ in range(5) for number in range(50)]


def test_what_was_received_before_comes_first(server, connection):
    server.push(*(b"%d" % number for number in range(10)))
    assert connection.recv(5) == b"0"
    server.push(b"10")
    connection.reconnect()
    server.push(b"11")
    assert [connection.recv(5) for _ in range(11)] == [b"%d" % number for number in range(1, 12)]


def test_a_send_without_a_connection_queues_nothing(server, connection):
    lost_connection(connection, server)
    with pytest.raises(ConnectionLost):
        connection.send(b"not queued")
    connection.reconnect()
    connection.send(b"queued")
    connection.flush(5)
    assert server.passed == [b"queued"]


def test_a_send_that_meets_the_loss_queues_it(server, connection):
    server.cut(hard=True)
    while True:
        try:
            number = connection.send(b"x")
        except ConnectionLost:
            break
    connection.reconnect()
    connection.flush(5)
    assert server.passed == [b"x"] * number


def test_server_proves_itself(server, connection):
    lost_connection(connection, server)
    server.session.secret = bytes(32)
    present = connection._session._memory.present
    connection._session._memory.present = present._replace(secret=os.urandom(32))
    with pytest.raises(SessionLost) as caught:  # it is not fooled either
        connection.reconnect()
    assert caught.value.code == Code.BAD_PROOF


def test_a_server_that_does_not_know_the_secret_is_not_the_server(server, connection, monkeypatch):
    from kit import model_v3

    lost_connection(connection, server)
    monkeypatch.setattr(model_v3.ServerLink, "_on_resume", lambda link, resume, safe: link._bind(
        server.session, resume.taken, bytes(32)))  # fmt: skip
    with pytest.raises(Unproven):
        connection.reconnect()


# ---- room


def test_a_send_waits_for_room_and_handles_what_comes(server):
    server.passes_on = False
    with Connection(server.address, retained_packets=3) as connection:
        for number in range(3):
            connection.send(b"%d" % number)
        server.push(b"down")
        with pytest.raises(TimeoutError, match="3 packets are not known to be safe, at most 3"):
            connection.send(b"too many", timeout=0.02)
        sent = in_thread(lambda: connection.send(b"3", timeout=5))
        server.do(lambda: server.session.pass_on(1))
        assert sent() == 4
        assert connection.recv(0) == b"down"
        server.passes_on = True
        server.do(lambda: server.session.pass_on())
        connection.flush(5)
        assert server.passed == [b"0", b"1", b"2", b"3"]


def test_bytes_count_too_but_one_packet_always_fits(server):
    server.passes_on = False
    connection = Connection(server.address, retained_bytes=100)
    connection.send(bytes(5000))
    with pytest.raises(TimeoutError, match="5004 bytes are not known to be safe, at most 100"):
        connection.send(b"", timeout=0)
    with pytest.raises(TimeoutError, match="1 packets are not known to be safe"):
        connection.flush(0.01)
    connection.close(goodbye=False)


def test_credit_is_kept_to(server):
    server.model.window = 1000
    with Connection(server.address) as connection:
        connection.send(bytes(50_000))
        connection.flush(5)
        assert [len(packet) for packet in server.passed] == [50_000]


def test_a_client_that_does_not_read_is_sent_a_window_at_most(server):
    with Connection(server.address, window_bytes=1000) as connection:
        server.push(*(b"%03d" % number + bytes(97) for number in range(100)))
        connection.ping(5)
        assert len(connection._session._memory.inbox) <= 10
        assert [int(connection.recv(5)[:3]) for _ in range(100)] == list(range(100))


def test_a_packet_larger_than_the_window(server):
    with Connection(server.address, window_bytes=1000) as connection:
        pushed = in_thread(lambda: server.push(b"a" * 900, bytes(100_000), b"z"))
        assert [len(connection.recv(5)) for _ in range(3)] == [900, 100_000, 1]
        pushed()


# ---- acks


def acked(server):
    return lambda: server.session.acked


def test_what_is_taken_is_acked_soon(server, connection):
    server.push(b"1", b"2", b"3")
    assert [connection.recv(5), connection.recv(5)] == [b"1", b"2"]
    with pytest.raises(TimeoutError):
        connection.recv(5)
        connection.recv(0.2)
    wait_until(lambda: server.session.acked == 3, "the acks")


def test_a_quarter_is_acked_at_once(server, connection):
    server.push(*[b""] * 16)
    for _ in range(16):
        connection.recv(5)
    wait_until(lambda: server.session.acked == 16, "the ack")


def test_acks_by_hand(server):
    with Connection(server.address, acks="manual") as connection:
        server.push(b"1", b"2")
        assert [connection.recv(5), connection.recv(5)] == [b"1", b"2"]
        connection.ping(5)
        assert server.session.acked == 0
        again = Connection.restore(connection.state(), acks="manual")
        assert [again.recv(5), again.recv(5)] == [b"1", b"2"]
        again.ack()
        again.ping(5)
        assert server.session.acked == 2
        again.close(goodbye=False)


# ---- what is told


def test_a_gap_is_raised_in_its_place(server, connection):
    lost_connection(connection, server)
    server.push(b"1", b"2", b"3")
    server.do(lambda: server.session.give_up(2))
    connection.reconnect()
    with pytest.raises(Gap) as caught:
        connection.recv(5)
    assert (caught.value.first, caught.value.last, caught.value.why, caught.value.count) == (1, 2, 1, 2)
    assert connection.recv(5) == b"3"


def test_a_gap_is_returned_if_asked_for(server):
    with Connection(server.address, gaps="return") as connection:
        lost_connection(connection, server)
        server.push(b"1", b"2")
        server.do(lambda: server.session.give_up(1))
        connection.reconnect()
        gap, packet = connection.recv(5), connection.recv(5)
        assert isinstance(gap, Gap) and packet == b"2"


def crash(server, connection):
    """With two packets that the master has not got."""
    connection.send(b"arrived")
    connection.flush(5)
    server.passes_on = False
    connection.send(b"in doubt 1")
    connection.send(b"in doubt 2")
    connection.ping(5)
    server.cut()
    server.do(server.model.crash)
    server.passes_on = True


def test_a_server_that_lost_its_memory(server, connection):
    crash(server, connection)
    with pytest.raises(ConnectionLost):
        connection.recv(5)
    connection.reconnect()
    connection.send(b"new")
    with pytest.raises(Uncertain) as caught:
        connection.recv(5)
    assert (caught.value.first, caught.value.last) == (2, 3)
    assert caught.value.packets == (b"in doubt 1", b"in doubt 2")
    with pytest.raises(Gap) as gap:
        connection.recv(5)
    assert gap.value.why == 2
    connection.flush(5)
    assert server.passed == [b"arrived", b"new"]
    server.push(b"on we go")
    assert connection.recv(5) == b"on we go"


def test_what_is_uncertain_may_be_sent_again_in_its_order(server):
    with Connection(server.address, uncertain="resend", gaps="return") as connection:
        crash(server, connection)
        with pytest.raises(ConnectionLost):
            connection.recv(5)
        connection.reconnect()
        connection.send(b"new")
        connection.flush(5)
        assert isinstance(connection.recv(5), Gap)
        with pytest.raises(TimeoutError):
            connection.recv(0)
        assert server.passed == [b"arrived", b"in doubt 1", b"in doubt 2", b"new"]


# ---- ends


@pytest.mark.parametrize("code", [3000, 3001, 3007, 3499, 4000, 4321, 2999])
def test_codes_to_come_back_from(server, connection, code):
    server.end(code, "not now")
    with pytest.raises(ConnectionLost, match=f"not now .code {code}") as caught:
        connection.recv(5)
    assert type(caught.value) is ConnectionLost and (caught.value.code, caught.value.text) == (code, "not now")
    connection.reconnect()
    connection.send(b"back")
    server.wait_for(b"back")


@pytest.mark.parametrize("code", [3504, 3506, 3507, 3512, 3999, 4500])
def test_codes_that_end_it(server, connection, code):
    connection.send(b"arrived")
    connection.flush(5)
    server.passes_on = False
    connection.send(b"taken")
    connection.ping(5)
    server.push(b"last")
    server.end(code, "that was it")
    assert connection.recv(5) == b"last"
    with pytest.raises(Uncertain) as caught:
        connection.recv(5)
    assert caught.value.packets == (b"taken",)
    for call in (lambda: connection.recv(5), lambda: connection.send(b""), connection.reconnect):
        with pytest.raises(SessionLost, match="that was it") as lost:
            call()
        assert (lost.value.code, lost.value.taken, lost.value.safe, lost.value.unsent) == (code, 2, 1, ())


def test_what_was_never_sent_is_there_at_the_end_of_a_session(server):
    connection = Connection(server.address, reconnect="auto")
    server.stop_listening()
    server.cut()
    wait_until(lambda: refused(connection), "the news")
    connection.send(b"never sent")
    server.do(server.model.sessions.clear)
    server._listener = socket.create_server(("127.0.0.1", connection.address.port))
    server._threads[0] = threading.Thread(target=server._accept_loop, daemon=True)
    server._threads[0].start()
    with pytest.raises(SessionLost) as lost:
        connection.recv(5)
    assert (lost.value.code, lost.value.unsent) == (Code.UNKNOWN_SESSION, (b"never sent",))
    connection.close()


def test_a_close_is_read_though_writing_failed_first(server, connection, monkeypatch):
    from voltlane.client.line import Line

    connection.ping(5)
    server.push(b"last")
    server.end(Code.KICKED, "enough")
    read, reads = Line.read, []

    def late(line):
        """As if it came between the read and the write."""
        reads.append(1)
        return None if len(reads) == 1 else read(line)

    def lost(line, output):
        raise ConnectionLost("the connection is lost: Broken pipe")

    monkeypatch.setattr(Line, "read", late)
    monkeypatch.setattr(Line, "write", lost)
    assert connection.send(b"x") == 1
    assert connection.recv(0) == b"last"
    with pytest.raises(SessionLost, match="enough") as lost:
        connection.recv(0)
    assert lost.value.unsent == (b"x",)


def test_an_unknown_session(server, connection):
    server.passes_on = False
    connection.send(b"perhaps")
    connection.ping(5)
    lost_connection(connection, server)
    server.do(server.model.sessions.clear)
    with pytest.raises(SessionLost) as caught:
        connection.reconnect()
    assert (caught.value.code, caught.value.taken) == (Code.UNKNOWN_SESSION, None)
    with pytest.raises(Uncertain):
        connection.recv(0)
    with pytest.raises(SessionLost):
        connection.recv(0)


def test_a_session_that_has_ended_meanwhile(server, connection):
    lost_connection(connection, server)
    server.session.ended = Code.ENDED
    with pytest.raises(SessionLost) as caught:
        connection.reconnect()
    assert caught.value.code == Code.ENDED


def said(server):
    """What the client closed with."""
    wait_until(lambda: server.links[-1][0].close, "the client's close")
    return server.links[-1][0].close.code


def test_a_goodbye_waits_until_all_is_safe(server):
    server.passes_on = False
    connection = Connection(server.address)
    connection.send(b"x")
    closed = in_thread(connection.close)
    wait_until(waits(connection), "the close to wait")
    server.passes_on = True
    server.do(lambda: server.session.pass_on())
    closed()
    assert said(server) == Code.LEFT and server.session.ended
    with pytest.raises(ConnectionLost):
        connection.recv(0)
    with pytest.raises(SessionLost):
        connection.reconnect()
    connection.close()


def test_a_goodbye_that_cannot_be_is_said(server):
    server.passes_on = False
    connection = Connection(server.address)
    connection.send(b"x")
    with pytest.raises(TimeoutError, match="1 packets are not known to be safe"):
        connection.close(timeout=0.01)
    assert connection.closed and said(server) == Code.AWAY
    again = Connection.restore(connection.state())
    again.close(goodbye=False)


def test_without_a_goodbye_the_session_stays(server, connection):
    connection.close(goodbye=False)
    assert said(server) == Code.AWAY and not server.session.ended
    assert connection.fileno() == -1


def test_an_exception_is_not_replaced_by_one_of_the_end(server):
    server.passes_on = False
    with pytest.raises(ZeroDivisionError), Connection(server.address) as connection:
        connection.send(b"x")
        1 / 0  # noqa: B018
    assert connection.closed


def test_close_ends_the_calls_of_other_threads(server):
    connection = Connection(server.address)
    received = in_thread(connection.recv)
    iterated = in_thread(lambda: list(connection))
    wait_until(waits(connection), "the reader to wait")
    connection.close()
    with pytest.raises(ConnectionLost):
        received()
    assert iterated() == []
    assert connection.fileno() == -1


def test_the_end_within_a_call_leaves_no_descriptor(server, connection):
    """Closed under another thread's poll, its number could belong to another socket."""
    received = in_thread(connection.recv)
    wait_until(waits(connection), "the reader to wait")
    line = connection._session._driver._line
    connection.close(goodbye=False)
    with pytest.raises(ConnectionLost):
        received()
    assert line.fileno() == -1


# ---- threads and signals


def test_one_thread_receives_while_another_sends(server):
    server.echoes = True
    count = 3000
    with Connection(server.address, retained_packets=50) as connection:
        sent = in_thread(lambda: [connection.send(b"%d" % number) for number in range(count)])
        assert [int(connection.recv(5)) for _ in range(count)] == list(range(count))
        sent()


def test_a_reader_resumes_while_a_writer_writes(server):
    """Cut again and again under both: what was queued arrives, once and in order."""
    server.echoes = True
    connection, queued = Connection(server.address), []

    def write():
        while len(queued) < 1000:
            try:
                connection.send(b"%d" % len(queued), timeout=10)
                queued.append(1)
            except ConnectionLost:
                continue

    writing, got = in_thread(write), []
    while len(got) < 1000:
        if len(got) % 100 == 50:
            server.cut(hard=len(got) % 200 == 50)
        try:
            got.append(int(connection.recv(5)))
        except ConnectionLost:
            connection.reconnect()
    writing()
    assert got == list(range(1000))
    connection.close()


def test_two_that_resume_at_once_share_a_connection(server, connection, monkeypatch):
    """Both look the address up, without the lock; the second one's must not take the place of the first's."""
    both, look_up, lines = threading.Barrier(2, timeout=5), driver.look_up, []

    class Counted(driver.Line):
        def __init__(self, *arguments):
            lines.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(driver, "Line", Counted)
    monkeypatch.setattr(driver, "look_up", lambda address: (both.wait(), look_up(address))[1])
    other = in_thread(connection.reconnect)
    connection.reconnect()
    other()
    assert connection.ping(5) < 5 and len(lines) == 1


def test_several_receive(server):
    server.echoes = True
    with Connection(server.address) as connection:
        readers = [in_thread(lambda: [connection.recv(10) for _ in range(100)]) for _ in range(4)]
        for number in range(400):
            connection.send(b"%d" % number)
        assert sorted(int(packet) for reader in readers for packet in reader()) == list(range(400))


def test_signals_do_not_disturb(server, connection):
    calls = []
    old = signal.signal(signal.SIGALRM, lambda *_: calls.append(1) or (len(calls) == 3 and server.push(b"after three")))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        assert connection.recv(5) == b"after three"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


class Interrupt(Exception):
    """What a signal's handler raises, anywhere."""


def interrupting(_signal, frame):
    """Within the library."""
    if os.sep + "voltlane" + os.sep in frame.f_code.co_filename:
        raise Interrupt


def test_an_interrupted_wait_does_no_harm(server, connection):
    old = signal.signal(signal.SIGALRM, interrupting)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Interrupt):
            connection.recv(5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    server.push(b"goes on")
    assert connection.recv(5) == b"goes on"
    assert len(server.links) == 1


def test_whatever_a_signal_interrupts_nothing_comes_twice_or_out_of_order(server):
    """A packet whose send was interrupted is queued or not; all others arrive."""
    connection, sent = Connection(server.address, reconnect="auto"), []
    old = signal.signal(signal.SIGALRM, interrupting)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        for number in range(3000):
            with contextlib.suppress(Interrupt):
                connection.send(b"%d" % number)
                sent.append(number)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    connection.flush(10)
    passed = [int(packet) for packet in server.passed]
    assert passed == sorted(set(passed)) and set(sent) <= set(passed)
    assert len(sent) < 3000, "nothing was interrupted"
    connection.close()


def test_select_and_recv_0(server, connection):
    with pytest.raises(TimeoutError):
        connection.recv(0)
    server.push(b"one", b"two")
    got = []
    while len(got) < 2:
        assert select.select([connection], [], [], 5)[0]
        try:
            while True:
                got.append(connection.recv(0))
        except TimeoutError:
            pass
    assert got == [b"one", b"two"] and not connection.wants_write


def test_a_server_that_breaks_the_protocol_is_told(server, connection):
    server.do(lambda: server.session.link.say(Kind.RESUME, bytes(100)))
    with pytest.raises(ProtocolError):
        connection.recv(5)
    assert said(server) == Code.PROTOCOL


def gone_quiet(connection):
    with pytest.raises(TimeoutError):
        connection.recv(0.05)
    return True


def refused(connection):
    """Whether it knows that nobody listens any more."""
    with pytest.raises(TimeoutError) as caught:
        connection.recv(0.05)
    return "Connection refused" in str(caught.value)


def test_silence_is_a_loss_in_the_end(server):
    with Connection(server.address, heartbeat=0.3) as connection:
        wait_until(lambda: gone_quiet(connection) and Kind.PING in server.links[0][0].records, "to be asked for a sign")
        server.mute = True
        with pytest.raises(ConnectionLost, match="no sign of life"):
            connection.recv(5)


# ---- by itself


def test_a_client_that_reconnects_by_itself(server):
    server.echoes = True
    with Connection(server.address, reconnect="auto") as connection:
        for round_ in range(8):
            for number in range(20):
                if number == 10:
                    server.cut(hard=bool(round_ % 2))
                connection.send(b"%d" % number)
            assert [int(connection.recv(5)) for _ in range(20)] == list(range(20))
        assert len(server.model.resumes) >= 8
        connection.flush(5)
    assert said(server) == Code.LEFT


def test_by_itself_a_send_without_a_connection_is_kept(server):
    connection = Connection(server.address, reconnect="auto", retained_packets=5)
    port = server._listener.getsockname()[1]
    server.stop_listening()
    server.cut()
    wait_until(lambda: refused(connection), "the news")
    for number in range(5):
        connection.send(b"%d" % number)
    with pytest.raises(TimeoutError, match=r"5 packets are not known to be safe, .*Connection refused"):
        connection.send(b"5", timeout=0.05)
    server._listener = socket.create_server(("127.0.0.1", port))
    server._threads[0] = threading.Thread(target=server._accept_loop, daemon=True)
    server._threads[0].start()
    connection.send(b"5", timeout=5)
    connection.close()
    assert server.passed == [b"%d" % number for number in range(6)]


def test_by_itself_every_handshake_may_fail(server):
    with Connection(server.address, reconnect="auto") as connection:
        server.lose_down.extend([5, 100, 200, 260, 300])
        server.before.extend([lambda sock: None, lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n")])
        server.cut()
        connection.send(b"x")
        connection.flush(10)
        assert server.passed == [b"x"] and len(server.links) >= 6


@pytest.mark.parametrize("code, kind", [(3506, SessionLost), (3000, None)])
def test_by_itself_it_goes_by_the_code(server, code, kind):
    connection = Connection(server.address, reconnect="auto")
    server.end(code)
    if kind:
        with pytest.raises(kind):
            connection.recv(5)
    else:
        connection.send(b"x")
        connection.flush(5)
    connection.close(goodbye=False)


def test_by_itself_another_key_is_told(server):
    connection = Connection(server.address, reconnect="auto")
    key, server.model.key = server.model.key, KeyPair()
    server.cut()
    with pytest.raises(ServerKeyChanged):
        connection.recv(5)
    server.model.key = key
    connection.send(b"it is back")
    connection.flush(5)
    connection.close()


# ---- states


def test_a_program_goes_on_from_its_state(server):
    connection = Connection(server.address)
    server.push(b"taken", b"not taken")
    assert connection.recv(5) == b"taken"
    connection.ping(5)
    server.passes_on = False
    connection.send(b"not safe")
    connection.close(goodbye=False)
    again = Connection.restore(connection.state())
    assert (again.client_id, str(again.address)) == (connection.client_id, server.address)
    assert again.server_key == connection.server_key
    assert again.recv(5) == b"not taken"
    again.send(b"new")
    server.passes_on = True
    server.do(lambda: server.session.pass_on())
    again.flush(5)
    assert server.passed == [b"not safe", b"new"]
    again.close()


def test_on_state_comes_before_the_secret_is_confirmed(server):
    states = []

    def keep(state):
        assert Kind.ACK not in server.links[-1][0].records
        states.append(state)

    connection = Connection(server.address, on_state=keep)
    for _ in range(3):
        connection.reconnect()
    assert len(states) == 4
    connection.close(goodbye=False)
    with pytest.raises(SessionLost) as caught:
        Connection.restore(states[0])
    assert caught.value.code == Code.SUPERSEDED
    Connection.restore(states[3]).close()


def test_a_state_that_could_not_be_kept_is_not_confirmed(server):
    full = [False]

    def keep(state):
        if full[0]:
            raise OSError("disk full")
        kept.append(state)

    kept = []
    connection = Connection(server.address, on_state=keep)
    full[0] = True
    with pytest.raises(OSError, match="disk full"):
        connection.reconnect()
    again = Connection.restore(kept[0])  # still the present secret
    again.close(goodbye=False)


def test_an_older_state_is_told_what_is_missing(server):
    connection = Connection(server.address)
    connection.send(b"1")
    connection.flush(5)
    state = connection.state()
    connection.send(b"2")
    connection.flush(5)
    server.push(b"a", b"b")
    assert [connection.recv(5), connection.recv(5)] == [b"a", b"b"]
    connection.ping(5)
    server.cut()
    again = Connection.restore(state)
    again.send(b"3")
    again.flush(5)
    server.push(b"c")
    with pytest.raises(Gap) as caught:
        again.recv(5)
    assert (caught.value.first, caught.value.last, caught.value.why) == (1, 2, 3)
    assert again.recv(5) == b"c"
    assert server.passed == [b"1", b"2", b"3"]
    again.close()


def test_of_two_copies_one_goes_on(server):
    first = Connection(server.address)
    second = Connection.restore(first.state())
    with pytest.raises(ConnectionLost) as caught:
        first.recv(5)
    assert caught.value.code == Code.TAKEN_OVER
    second.send(b"x")
    second.flush(5)  # what it is recognised by has changed once the server has heard of it again
    with pytest.raises(SessionLost) as lost:
        first.reconnect()
    assert lost.value.code == Code.SUPERSEDED
    second.close()


@pytest.mark.parametrize("damage", [lambda s: s[:-1], lambda s: s[:40], lambda s: b"", lambda s: b"VLS3\x02" + s[5:],
                                    lambda s: s[:50] + bytes((s[50] ^ 1,)) + s[51:], lambda s: bytes(100)])  # fmt: skip
def test_damaged_states(connection, damage):
    with pytest.raises(BadState):
        Connection.restore(damage(connection.state()))


def test_states_of_nobody_s(connection):
    """The checksum is right, and what is in it is not."""
    connection.send(b"x")
    state = connection.state()
    head = 21  # with the checksum, which is its last 16
    for position in range(head, len(state)):
        for rest in (state[head:position], state[head:position] + b"\xff" + state[position + 1 :]):
            made = state[: head - 16] + hashlib.sha256(rest).digest()[:16] + rest
            with contextlib.suppress(BadState):
                restore(made, Options(), PACKET_LIMIT)


@pytest.mark.parametrize("option", ["protocol", "server_key", "encrypted"])
def test_what_a_state_knows_itself(connection, option):
    with pytest.raises(ConfigError, match=option):
        Connection.restore(connection.state(), **{option: 3})


def test_secrets_are_in_no_repr(connection):
    memory = connection._session._memory
    for shown in map(repr, (connection, memory, memory.present)):
        assert memory.present.secret.hex() not in shown and repr(memory.present.secret) not in shown


def test_version_2_has_none_of_it():
    from kit.fake_server import FakeServer

    with FakeServer() as server, Connection(server.address, protocol=2) as connection:
        for call in (connection.state, connection.flush, connection.ack, connection.ping):
            with pytest.raises(ConfigError, match="needs version 3"):
                call()
        with pytest.raises(ConfigError):
            connection.send(b"", timeout=1.0)
        assert not connection.wants_write
        assert struct.unpack("<I", frame(b""))[0] == 0 and driver.FAREWELL_SECS


def test_a_large_packet_goes_on_when_the_output_was_written(server):
    """With credit for more than is put into the output at once."""
    server.model.window = 1 << 23
    with Connection(server.address) as connection:
        connection.send(b"")
        connection.flush(5)
        for size in (300_000, 1_000_000, 3_000_000):
            connection.send(bytes(size))
            connection.flush(5)
        assert [len(packet) for packet in server.passed] == [0, 300_000, 1_000_000, 3_000_000]
