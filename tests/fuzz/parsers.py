"""Fuzz targets: every parser, as a function that raises for what must not be."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from struct import Struct
from types import ModuleType

from fuzz.engine import Target
from kit.event_source import EventSource, packet_of
from kit.frames import data as data_packet
from kit.frames import join

from voltlane import config
from voltlane.address import parse_address
from voltlane.config import SETTINGS
from voltlane.errors import (
    BadProof,
    BadPublicKey,
    ConfigError,
    FrameTooLarge,
    MalformedPacket,
    MalformedTag,
    ReflectedProof,
    UnknownFlag,
)
from voltlane.store import records
from voltlane.store.ledger import read_ledger
from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.batch import plain, runs
from voltlane.wire.batch.views import group_views
from voltlane.wire.event_stream import END, decode_place, encode_packets
from voltlane.wire.framing import FrameBuffer
from voltlane.wire.tagged import Flag, decode_tagged, encode_tagged

LIMIT = 200
"""Bytes of the largest frame that the framing's target takes."""
MOST = 64
"""The same of the batch loops."""
SHORT = 500
"""Bytes of an input that is also read byte by byte."""

KEY = b"k" * 32
POINT = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
PACKETS: list[packets.Packet] = [
    packets.Ping(),
    packets.ProtocolVersion(2),
    packets.ProtocolVersion(300),
    packets.PubKey(POINT),
    packets.ClientId(7),
    packets.ClientId(2**64 - 1),
    packets.Challenge(b"c" * 72),
    packets.ChallengeResponse(b"r" * 72),
]


def place(data: bytes) -> None:
    """The id of an event is what it is encoded to, or it is none."""
    text = data.decode("latin-1")
    found = decode_place(text)
    if found is not None:
        assert f"{found.token.encode()}.{found.number}" == text


def events(data: bytes) -> None:
    """A reader of events has the packets again: the input, cut at its bytes 255."""
    packets = data.split(b"\xff")
    encoded = encode_packets(packets, b"T.", 0)
    found = EventSource().feed(encoded)
    assert [packet_of(event) for event in found] == packets and encoded.count(END) == len(packets)


def varint(data: bytes) -> None:
    """It is decoded, and is what is encoded to no more bytes; or it is refused."""
    try:
        value, end = packets.decode_varint(data, 0, "it")
    except MalformedPacket:
        return
    assert 0 < end <= len(data) and 0 <= value < 1 << 64
    again = packets.encode_varint(value)
    assert len(again) <= end and packets.decode_varint(again, 0, "it") == (value, len(again))


def packet(data: bytes) -> None:
    """A handshake packet is refused, or is one that can be encoded and comes back the same."""
    try:
        found = packets.decode(data)
    except MalformedPacket:
        return
    assert packets.decode(packets.encode(found)) == found
    assert packets.decode(memoryview(data)) == found


def framing(data: bytes) -> None:
    """However a stream is cut, its frames, and its end if it is wrong, are the same."""

    def read(pieces: list[bytes]) -> tuple[list[bytes], bool]:
        buffer, found = FrameBuffer(LIMIT), []
        try:
            for piece in pieces:
                buffer.feed(piece)
                for payload in buffer:
                    found.append(payload)  # one by one: those before an error count
        except FrameTooLarge:
            return found, True
        return found, False

    cut = data[0] % (len(data) + 1) if data else 0
    whole, broken = read([data])
    assert all(len(payload) <= LIMIT for payload in whole)
    assert read([data[:cut], data[cut:]]) == (whole, broken)
    if len(data) <= SHORT:
        assert read([data[at : at + 1] for at in range(len(data))]) == (whole, broken)
    assert data.startswith(join(whole))


def tagged(data: bytes) -> None:
    """A tagged packet is refused for one of two reasons, or is the same when it is encoded again."""
    try:
        found = decode_tagged(data)
    except MalformedTag:
        assert len(data) < 9
    except UnknownFlag:
        assert len(data) >= 9 and data[8] > max(Flag)
    else:
        assert encode_tagged(*found) == data


def _forms() -> list[ModuleType]:
    try:
        return [runs, importlib.import_module("voltlane.wire.batch._native")]
    except ImportError:
        return [runs]


FORMS = _forms()


def retag(data: bytes) -> None:
    """Every form of the loop does what the plain one does."""
    most = data[0] if data else 0
    expected = plain.retag(bytearray(data), 0, len(data), 9, most)
    assert 0 <= expected[1] <= len(data)
    for form in FORMS:
        assert form.retag(bytearray(data), 0, len(data), 9, most) == expected, form.__name__


def group(data: bytes) -> None:
    """The same downwards, also for the loop that works in place."""
    expected = plain.group(bytearray(data), 0, len(data), MOST)
    for form in FORMS:
        assert form.group(bytearray(data), 0, len(data), MOST) == expected, form.__name__
    buffer = bytearray(data)
    with memoryview(buffer) as view:
        frames, position, count = group_views(buffer, view, 0, len(data), 9, MOST)
        chunks = {client_id: b"".join(views) for client_id, views in frames.items()}
        for views in frames.values():
            for frame in views:
                frame.release()
    assert (chunks, position, count) == expected


def sealed(data: bytes) -> None:
    """Nothing that was not made with the key is taken for a proof."""
    blob = crypto.seal(KEY, b"t" * 32, b"n" * 24)
    try:
        crypto.check_proof(KEY, b"t" * 32, blob, data)
    except ReflectedProof:
        assert data[-24:] == b"n" * 24
    except BadProof:
        pass
    else:
        raise AssertionError("taken for a proof")


def point(data: bytes) -> None:
    """A point is refused, or there is a shared secret with it."""
    try:
        crypto.check_point(data)
    except BadPublicKey:
        return
    assert len(crypto.session_key(_OWN, data)) == 32


_OWN = crypto.generate_key()


def record(data: bytes) -> None:
    """A record is refused by name, or is what was written."""
    payload = records.payload_at(data, 0)
    if payload is not None:
        assert data.startswith(records.record(payload))
    try:
        note = records.decode(data)
    except records.Damaged:
        return
    assert records.payload_at(records.note(note.kind, note.number, note.data), 0) == data
    if note.kind is records.Kind.STALE:
        assert isinstance(note.until, float)


_RAW = 0xFF
"""A journal's input that begins so is the file itself; else its records are u8 size and payload, and get checksums."""


def journal(data: bytes) -> None:
    """A journal is refused as damaged, or read; then its ids are no more than what is reserved."""
    if data[:1] == bytes((_RAW,)):
        file = data[1:]
    else:
        written, position = [], 0
        while position < len(data):
            end = position + 1 + data[position]
            written.append(records.record(data[position + 1 : end]))
            position = end
        body = b"".join(written)
        file = records.head(records.JOURNAL_MAGIC, POINT, 0) + body
    try:
        ledger = read_ledger(file, POINT)
    except records.Damaged:
        return
    assert 0 <= ledger.lost_bytes <= len(file)
    assert all(client_id <= ledger.reserved for client_id in ledger.sessions)


def address(data: bytes) -> None:
    """Text is refused, or is an address that says the same when it is read again."""
    try:
        found = parse_address(data.decode("utf-8", "surrogateescape"))
    except ConfigError:
        return
    assert parse_address(str(found)) == found


def setting(data: bytes) -> None:
    """Any text for any setting: refused, or a configuration that its own file brings back."""
    if not data:
        return
    name = sorted(SETTINGS)[data[0] % len(SETTINGS)]
    text = data[1:].decode("utf-8", "replace").replace("\0", "")
    try:
        found = config.load(None, {"VOLTLANE_" + name.upper().replace(".", "_"): text}, {})
    except ConfigError:
        return
    assert _from_file(config.to_toml(found).encode()) == found


def toml(data: bytes) -> None:
    """Any file: refused, or a configuration that its own file brings back."""
    try:
        found = _from_file(data)
    except ConfigError:
        return
    assert _from_file(config.to_toml(found).encode()) == found


_FOLDER = tempfile.TemporaryDirectory(prefix="voltlane-fuzz-")


def _from_file(content: bytes) -> config.Config:
    path = Path(_FOLDER.name, "fuzzed.toml")
    path.write_bytes(content)
    return config.load(path, {}, {})


_ENCODED = [packets.encode(each) for each in PACKETS]
_TAGGED = [data_packet(3, b"hello"), data_packet(2**64 - 1, b""), *(encode_tagged(3, flag, b"x") for flag in Flag)]
_NOTE = Struct("<BQ")
_PLAIN_NOTES = [
    _NOTE.pack(records.Kind.OPENED, 5) + POINT,
    _NOTE.pack(records.Kind.STALE, 5) + Struct("<d").pack(1e9),
    *(_NOTE.pack(kind, 5) for kind in records.Kind),
]

PARSERS = [
    Target("varint", varint, [packets.encode_varint(1 << bits) for bits in (0, 8, 16, 32, 63)]),
    Target("packet", packet, _ENCODED, _ENCODED),
    Target("framing", framing, [join(_ENCODED), join([b"", b"x" * LIMIT, b"y" * (LIMIT + 1)])], _ENCODED),
    Target("tagged", tagged, _TAGGED),
    Target(
        "retag", retag, [b"\x40" + join([b"abc"] * 40), join([b"x" * n for n in (64, 3, 3, 65, 0)])], [join([b"abc"])]
    ),
    Target("group", group, [join(_TAGGED), join([data_packet(n % 3, b"abc") for n in range(40)])], [join(_TAGGED[:1])]),
    Target("sealed", sealed, [crypto.seal(KEY, b"t" * 32, b"n" * 24), crypto.seal(KEY, b"u" * 32, b"m" * 24), b""]),
    Target("point", point, [POINT, _OWN.public, b"\x04" + POINT[1:] * 2, b""]),
    Target("record", record, [*_PLAIN_NOTES, records.record(_PLAIN_NOTES[0])]),
    Target(
        "journal",
        journal,
        [
            b"".join(bytes((len(each),)) + each for each in _PLAIN_NOTES[:6]),
            b"\xff" + records.head(records.JOURNAL_MAGIC, POINT, 0) + records.opened(1, POINT) + records.stale(1, 2e9),
        ],
        [bytes((len(each),)) + each for each in _PLAIN_NOTES],
    ),
    Target(
        "place",
        place,
        [b"457273752115.GyxeeRZa1FWJWh3FjRrMMw.17", b"1.AAAAAAAAAAAAAAAAAAAAAA.0"],
        [b".", b"_", b"-", b"=", b"18446744073709551615", b"9223372036854775807"],
    ),
    Target(
        "events",
        events,
        [b"a\nb\xff\xff \r\n\xc3\xa4"],
        [b"\n", b"\r", b"\xff", b":", b" ", b"data: ", b"\xef\xbb\xbf"],
    ),
    Target(
        "address",
        address,
        [b"127.0.0.1:42000", b"[::1]:42000", b"*:0", b"unix:/run/x", b"host.name:1"],
        [b"[", b"]", b"::", b"unix:", b"%", b"0x", b":65535", b"\xc3\xa9"],
    ),
    Target("setting", setting, [bytes((n,)) + text for n in range(0, 60, 7) for text in (b"1", b"a:1,b:2", b"true")]),
    Target("toml", toml, [config.to_toml(config.defaults()).encode()[:3000], b"[general]\nlog_level = 'Warn'\n"]),
]


def _with_proxy() -> list[Target]:
    """The PROXY header, where the package has it."""
    try:
        proxy = importlib.import_module("voltlane.wire.proxy")
    except ImportError:
        return []
    errors = importlib.import_module("voltlane.errors")

    def header(data: bytes) -> None:
        """However much of it is there: the same answer, or none yet."""
        answers = []
        for stop in range(min(len(data), SHORT) + 1):
            try:
                answers.append(proxy.read_header(data[:stop]))
            except errors.MalformedProxyHeader:
                answers.append("malformed")
            if answers[-1] is not None:
                break
        else:
            return
        assert all(each is None for each in answers[:-1])
        try:
            whole = proxy.read_header(data)
        except errors.MalformedProxyHeader:
            whole = "malformed"
        assert whole == answers[-1], f"{whole} at once, {answers[-1]} byte by byte"
        if whole != "malformed":
            assert whole.size <= len(data) and len(whole.address) in (0, 4, 16)

    two = b"\r\n\r\n\x00\r\nQUIT\n"
    seeds = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\nbehind",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
        b"PROXY UNKNOWN\r\n",
        two + b"\x21\x11\x00\x0c" + bytes(range(12)) + b"behind",
        two + b"\x21\x21\x00\x24" + bytes(36),
        two + b"\x20\x00\x00\x00",
    ]
    return [Target("proxy", header, seeds, [two, b"PROXY ", b"TCP4 ", b"\r\n", b"::ffff:1.2.3.4"])]


PARSERS += _with_proxy()


def _handing_over() -> list[Target]:
    """What one process says to the one that follows it: read, or refused as damaged, and nothing else."""
    from kit.handovers import (
        AROUND,
        ARRIVALS,
        CHANNELS,
        HERITAGE,
        NODES,
        ORIGINS,
        PEERS,
        SESSIONS,
        STATES,
        STONE,
        STORE,
        TRUNKS,
    )

    from voltlane.cluster.handover import arrivals, datagrams, heritage, nodes, notes, sessions, states, stores

    readers = [
        states.decode_state,
        states.decode_trunk,
        lambda data: sessions.decode_session(7, data, AROUND),
        sessions.decode_tombstone,
        sessions.decode_ids,
        sessions.decode_ban,
        lambda data: sessions.decode_numbers(3, data),
        lambda data: stores.decode_store(data, -1),
        heritage.decode_heritage,
        lambda data: notes.note_at(data, 0),
        notes.greeting_in,
        lambda data: states.decode_origin(7, data),
        arrivals.decode_arrival,
        nodes.decode_node,
        lambda data: datagrams.decode_channel(7, data),
        lambda data: datagrams.decode_peer(7, data),
    ]

    def handover(data: bytes) -> None:
        if data:
            try:
                readers[data[0] % len(readers)](data[1:])  # type: ignore[operator]
            except records.Damaged:
                pass

    seeds = [b"\0" + states.encode_state(moved) for moved in STATES]
    seeds += [b"\x0b" + states.encode_origin(origin) for origin in ORIGINS]
    seeds += [b"\1" + states.encode_trunk(moved) for moved in TRUNKS]
    seeds += [b"\2" + sessions.encode_session(session, 5.0) for session in SESSIONS]
    seeds += [b"\3" + sessions.encode_tombstone(STONE), b"\7" + stores.encode_store(STORE), b"\x08" + HERITAGE.encode()]
    seeds += [b"\x09" + notes.note(notes.Kind.SESSION, 7, b"x"), b"\x0a" + notes.Greeting(1, "1.0").encode()]
    seeds += [b"\x0c" + arrivals.encode_arrival(moved) for moved in ARRIVALS]
    seeds += [b"\x0e" + datagrams.encode_channel(moved) for moved in CHANNELS]
    seeds += [b"\x0f" + datagrams.encode_peer(moved) for moved in PEERS]
    seeds += [b"\x0d" + nodes.encode_node(moved) for moved in NODES]
    return [Target("handover", handover, seeds)]


PARSERS += _handing_over()
