"""The form in C beside the plain one: whatever comes, in whatever order, both give the same and know the same then."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from typing import Any

import pytest
from kit.datagrams import ID_IN, KEYS, bound, datagram_forms, opened, readable, sealed, take
from kit.frames import join
from kit.program import environment

from voltlane.net.udp import loops

hypothesis = pytest.importorskip("hypothesis")
given, settings, st = hypothesis.given, hypothesis.settings, hypothesis.strategies

both_forms = pytest.mark.skipif(len(datagram_forms()) < 2, reason="the form in C is not built")
LIMIT = 200
DATA = st.binary(max_size=3) | st.integers(LIMIT - 40, LIMIT + 2).map(lambda size: b"x" * size)
NUMBERS = st.integers(0, 12) | st.integers(1000, 1050) | st.integers(2040, 2060) | st.integers(2**64 - 3, 2**64 - 1)
TIMES = st.integers(0, 65535)
RATES = st.sampled_from([(0, 0, 1), (2, 0, 1), (0, 50, 2), (3, 300, 0.5)])
NOWS = st.floats(0.0, 30.0).map(lambda secs: round(secs, 3))


def shown(form: Any, result: Any, known: dict[int, str]) -> Any:
    """The same for both: names as host and port, channels as their ids."""
    *rest, others, more = result
    return [*rest, [tuple(_shown(form, part) for part in other) for other in others], more]


def _shown(form: Any, part: Any) -> Any:
    if isinstance(part, form.Channel):
        return part.id
    try:
        return form.host_port(part)
    except (TypeError, ValueError, OSError, IndexError, struct.error):
        return part


def counters(party: Any) -> list[Any]:
    return [party.client_id, party.heard, party.packets_in, party.bytes_in, party.packets_out, party.bytes_out]


@both_forms
@settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(st.tuples(st.lists(st.tuples(st.integers(0, 2), DATA), max_size=80), NOWS), max_size=4),
    rates=RATES,
    most=st.integers(1, 90),
    flag=st.sampled_from([0, 4]),
)
def test_peers_receive(turns: Any, rates: Any, most: int, flag: int):
    with bound(count=4) as (server, *clients):
        tables = []
        for form in datagram_forms():
            peers = form.Peers()
            peers.set_rates(*rates)
            known = [form.Peer(form.name_of(2, *sock.getsockname()), n, 0.0) for n, sock in enumerate(clients[:2])]
            for peer in known:
                peers.add(peer)
            tables.append((form, peers, known))
        now = 0.0
        for datagrams, later in turns:
            now += later
            found = []
            for form, peers, known in tables:
                for client, data in datagrams:
                    clients[client].sendto(data, server.getsockname())
                results, left = [], len(datagrams)
                while left > 0:
                    readable(server)
                    results.append(shown(form, peers.receive(server, now, min(most, left), flag, LIMIT), {}))
                    left -= min(most, left)
                found.append((results, peers.take_drops(), [counters(peer) for peer in known]))
            assert found[0] == found[1]


@both_forms
@settings(max_examples=60, deadline=None)
@given(
    turns=st.lists(
        st.tuples(
            st.lists(
                st.tuples(
                    NUMBERS, st.integers(0, 5), TIMES, TIMES | st.just(0), DATA, st.booleans(), st.integers(0, 9)
                ),
                max_size=40,
            ),
            NOWS,
            st.sampled_from([-1, 0, 4]),
        ),
        max_size=4,
    ),
    rates=RATES,
)
def test_channels_receive(turns: Any, rates: Any):
    with bound(count=3) as (server, here, there):
        tables = []
        for form in datagram_forms():
            channels, channel = form.Channels(), form.Channel(KEYS, 7, 0.0)
            channels.set_rates(*rates)
            channel.path = form.name_of(2, *here.getsockname())
            channels.add(channel)
            tables.append((form, channels, channel))
        now = 0.0
        for datagrams, later, flag in turns:
            now += later
            found = []
            for form, channels, channel in tables:
                for number, kind, time, echo, body, elsewhere, wrong in datagrams:
                    datagram = sealed(number, body, kind, time, echo)
                    if wrong < 3:  # cut, changed, or another's
                        datagram = [datagram[:-1], datagram[:20] + b"?" + datagram[21:], b"?" + datagram[1:]][wrong]
                    (there if elsewhere else here).sendto(datagram, server.getsockname())
                results = []
                if datagrams:
                    readable(server)
                    results = shown(form, channels.receive(server, now, len(datagrams), flag, LIMIT), {})
                heir = form.Channel(KEYS, 7, now)
                heir.restore(channel.export())
                assert heir.export() == channel.export()
                answer = channel.seal(2, b"answer", now + 0.5)
                found.append((results, channels.take_drops(), counters(channel), channel.export(), answer))
                assert [channel.rtt, channel.jitter] == pytest.approx([heir.rtt, heir.jitter])
            assert found[0] == found[1]


@both_forms
@settings(max_examples=60, deadline=None)
@given(
    queue=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.lists(st.tuples(st.integers(0, LIMIT + 1), st.integers(1, 9)), max_size=3),
        ),
        max_size=8,
    ),
)
def test_sending(queue: Any):
    with bound(count=3) as (server, *clients):
        found = []
        for form in datagram_forms():
            peers, channels = form.Peers(), form.Channels()
            parties = []
            for n, sock in enumerate(clients):
                name = form.name_of(2, *sock.getsockname())
                parties.append((form.Peer(name, n, 0.0), form.Channel(KEYS._replace(id_in=b"id....%02d" % n), n, 0.0)))
                parties[n][1].path = name
            chunks = [
                (n, join(b"%c" % (65 + at) * size for at, (size, times) in enumerate(runs) for _ in range(times)))
                for n, runs in queue
            ]
            for which, table in ((0, peers), (1, channels)):
                pairs = [(parties[n][which], chunk) for n, chunk in chunks]
                sent = table.send(server, pairs, 0, 0, LIMIT, *[3.0] * which)
                came = [take(sock, parties[n][which].packets_out) for n, sock in enumerate(clients)]
                if which:
                    came = [[opened(one) for one in some] for some in came]
                found.append((sent, came, table.take_drops(), [counters(pair[which]) for pair in parties]))
        assert found[:2] == found[2:]


@both_forms
def test_what_is_no_chunk_and_no_queue():
    native = datagram_forms()[1]
    with bound(count=2) as (server, client):
        peer = native.Peer(native.name_of(2, *client.getsockname()), 1, 0.0)
        peers = native.Peers()
        for chunk in (b"\1", b"\5\0\0\0abcd", b"\0\0\0\0\xff\xff\xff\xff"):
            with pytest.raises(ValueError, match="whole frames"):
                peers.send(server, [(peer, chunk)], 0, 0, LIMIT)
        for queue in ([peer], [(peer,)], [(1, b"")], ((peer, b""),), [(native.Channel(KEYS, 1, 0.0), b"")]):
            with pytest.raises(TypeError, match="a queue is a list"):
                peers.send(server, queue, 0, 0, LIMIT)
        with pytest.raises(TypeError):
            peers.send(server, [(peer, "text")], 0, 0, LIMIT)
        for first, offset in ((-1, 0), (0, -1)):
            with pytest.raises(ValueError):
                peers.send(server, [], first, offset, LIMIT)
        assert peers.send(server, [(peer, join([b"a"]))], 0, 0, LIMIT).datagrams == 1, "it goes on as before"


@both_forms
def test_what_is_no_peer_and_no_key():
    native = datagram_forms()[1]
    peers = native.Peers()
    for name in (b"", bytes(29)):
        with pytest.raises(ValueError, match="no name"):
            native.Peer(name, 1, 0.0)
    with pytest.raises(TypeError):
        peers.add(native.Channel(KEYS, 1, 0.0))
    with pytest.raises(ValueError, match="not initialized"):
        peers.add(native.Peer.__new__(native.Peer))
    peer = native.Peer(b"name", 1, 0.0)
    peers.add(peer)
    with pytest.raises(RuntimeError, match="in a table"):
        peer.__init__(b"another", 1, 0.0)
    for keys in (KEYS[:3], (ID_IN, b"short", ID_IN, b"short"), (1, 2, 3, 4), 5):
        with pytest.raises((ValueError, TypeError)):
            native.Channel(keys, 1, 0.0)


def test_which_form_is_taken():
    if "VOLTLANE_PURE_PYTHON" not in os.environ:
        best = datagram_forms()[-1]
        assert (loops.Peers, loops.Channels, loops.name_of) == (best.Peers, best.Channels, best.name_of)
    pure = subprocess.run(
        [sys.executable, "-c", "from voltlane.net.udp import loops; print(loops.BACKEND, loops.Channels.__module__)"],
        env=environment(VOLTLANE_PURE_PYTHON="1"), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert pure.stdout.split() == ["pure", "Python", "voltlane.net.udp.sealed"]
