"""The stage of TLS in a server, on a clock that only the test moves."""

from __future__ import annotations

import ssl

import pytest
from kit.lanes import tls
from kit.vectors import CERTIFICATES
from kit.world import CLIENT_KEY, Client, MakeWorld, World, numbered

from voltlane.lanes.fairness.turns import Turns
from voltlane.net.certificates import TlsOptions
from voltlane.net.tls import WORK
from voltlane.reasons import CloseReason
from voltlane.wire.v2 import ProtocolVersion, PubKey, encode


def agreements(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each that is made."""
    made: list[None] = []
    counted = Turns.key_agreed
    monkeypatch.setattr(Turns, "key_agreed", lambda turns: (made.append(None), counted(turns))[1])
    return made


def test_an_answer_counts_as_a_key_agreement(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home, made = make(), agreements(monkeypatch)
    client = Client(home, lane=tls)
    client.write(b"")
    home.settle()
    assert client.tunnel.ready and len(made) >= 1  # type: ignore[union-attr]
    before = len(made)
    silent = Client(home, lane=tls)
    home.settle()
    assert not silent.ended and len(made) == before, "who says nothing costs none"


@pytest.mark.parametrize("behind", [b"", b"more"])
def test_what_is_no_tls(make: MakeWorld, caplog: pytest.LogCaptureFixture, behind: bytes):
    caplog.set_level("INFO", "voltlane")
    home = make()
    client = Client(home, lane=tls)
    client.write_plain(b"GET / HTTP/1.1\r\n\r\n" + behind)
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.TLS_FAILED: 1}
    assert "TLS handshake failed: plain HTTP" in caplog.text


def test_a_client_without_the_certificate_that_is_required(make: MakeWorld, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "voltlane")
    home = make()
    pair = str(CERTIFICATES / "server.pem"), str(CERTIFICATES / "server.key")
    asked = TlsOptions(pair[:1], pair[1:], client_certificates="required", client_ca=str(CERTIFICATES / "ca.pem"))
    home.server.certificates.load(asked)
    client = Client(home, lane=tls)
    client.write(b"")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        home.settle()
    home.settle()
    assert home.server.counters.closed == {CloseReason.TLS_FAILED: 1}
    assert "the peer shows no certificate" in caplog.text


def test_whom_a_certificate_names_stays_with_the_connection(make: MakeWorld, caplog: pytest.LogCaptureFixture):
    home = make()
    pair = str(CERTIFICATES / "server.pem"), str(CERTIFICATES / "server.key")
    asked = TlsOptions(pair[:1], pair[1:], client_certificates="optional", client_ca=str(CERTIFICATES / "ca.pem"))
    home.server.certificates.load(asked)
    context = ssl.create_default_context(cafile=str(CERTIFICATES / "ca.pem"))
    context.load_cert_chain(CERTIFICATES / "client.pem", CERTIFICATES / "client.key")
    with caplog.at_level("INFO", "voltlane"):
        client = Client(home, lane=tls)
        client.tunnel = tls.TlsTunnel(context)
        client.greet()
        home.settle()
    assert client.ready
    (connection,) = home.server.clients.connections
    assert (connection.lane, connection.subject) == ("tls", "O=Makers,CN=alice")
    assert f"client {client.id} is here from" in caplog.text and "O=Makers,CN=alice" in caplog.text


def test_nobody_is_closed_or_read_by_what_tls_says_of_its_own(make: MakeWorld):
    """Session tickets, say."""
    home = make()
    client = home.new(lane=tls)
    home.pass_(1)
    assert not client.ended and home.connected() == 1


def small(client: Client, count: int) -> bytes:
    """So many packets of one byte, each byte of which is a record."""
    tunnel = client.tunnel
    assert tunnel is not None
    stream = b"".join(client.speaker.encode(bytes([number % 256])) for number in range(count))
    return b"".join(tunnel.seal(stream[at : at + 1]) for at in range(len(stream)))


@pytest.mark.parametrize("end", [False, True], ids=["", "and-an-end"])
def test_small_records_are_read_in_turns_to_their_end(make: MakeWorld, end: bool):
    home: World = make()
    client, other = home.new(lane=tls), home.new(lane=tls)
    client.write_plain(small(client, 2 * WORK))
    if end:
        client.write_plain(b"")
        while client.waiting:
            home.loop.turn(0)
            client.pump()
        client.cut()
    turns = 0
    while len(home.master.data[client.id]) < 2 * WORK:
        home.loop.turn(0)
        client.pump()
        home.master.pump()
        turns += 1
        assert turns < 10_000
    assert home.master.data[client.id] == [bytes([number % 256]) for number in range(2 * WORK)]
    home.settle()
    assert (home.server.registry.stale_count == 1) == end
    other.send(b"still here")
    home.settle()
    assert home.master.data[other.id] == [b"still here"]


def test_a_word_of_tls_to_end_with(make: MakeWorld):
    """Behind data and without an end of the connection: nobody else would tell of it."""
    home = make()
    client = home.new(lane=tls)
    tunnel = client.tunnel
    assert isinstance(tunnel, tls.TlsTunnel)
    last = tunnel.seal(client.speaker.encode(b"last"))
    with pytest.raises(ssl.SSLWantReadError):
        tunnel.tls.unwrap()
    client.write_plain(last + tunnel._outgoing.read())
    home.settle()
    assert home.master.data[client.id] == [b"last"] and client.ended
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}


def test_everything_in_one_segment(make: MakeWorld):
    """The end of the handshake of TLS, that of the protocol, and packets behind them."""
    home = make()
    client = Client(home, lane=tls)
    payloads = numbered(40, 100)
    words = [encode(ProtocolVersion(2)), encode(PubKey(CLIENT_KEY.public)), *payloads]
    client.write(b"".join(client.speaker.encode(word) for word in words))
    home.settle()
    assert client.ready and home.master.data[client.id] == payloads
