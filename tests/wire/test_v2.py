"""Handshake packets (SPEC 3): golden vectors both ways, malformed ones and every cut of all of them."""

from __future__ import annotations

import pytest
from kit.vectors import VECTORS, cuts, unhex, why

from voltlane.errors import MalformedPacket, ProtocolError
from voltlane.reasons import CloseReason
from voltlane.wire.framing import FrameBuffer, frame
from voltlane.wire.v2 import (
    MAX_HANDSHAKE_FRAME,
    VERSION,
    Challenge,
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    decode,
    decode_varint,
    encode,
    encode_varint,
)


def packet_of(entry: dict) -> Packet:
    """The packet that a vector describes."""
    return {
        "Ping": lambda: Ping(),
        "ProtocolVersion": lambda: ProtocolVersion(entry["version"]),
        "PubKey": lambda: PubKey(unhex(entry, "sec1")),
        "ClientId": lambda: ClientId(entry["client_id"]),
        "Challenge": lambda: Challenge(unhex(entry, "blob")),
        "ChallengeResponse": lambda: ChallengeResponse(unhex(entry, "blob")),
    }[entry["packet"]]()


GOLDEN = [
    pytest.param(packet_of(entry), unhex(entry), id=f"{entry['packet']}-{entry['hex'][:20]}")
    for entry in VECTORS["handshake_packets"]
]
MALFORMED = [pytest.param(unhex(entry), id=why(entry)) for entry in VECTORS["malformed_handshake_packets"]]
BYTES_PACKETS = [(2, PubKey), (4, Challenge), (5, ChallengeResponse)]


@pytest.mark.parametrize(("packet", "data"), GOLDEN)
class TestGolden:
    def test_encode(self, packet, data):
        assert encode(packet) == data

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_decode(self, packet, data, kind):
        decoded = decode(kind(data))
        assert decoded == packet
        assert type(decoded) is type(packet)  # a NamedTuple equals any other with the same fields

    def test_fields_are_no_views(self, packet, data):
        assert all(type(field) in (int, bytes) for field in decode(memoryview(data)))

    def test_cut_at_every_byte(self, packet, data):
        for piece in cuts(data):
            with pytest.raises(MalformedPacket):
                decode(piece)

    def test_trailing_data(self, packet, data):
        for extra in (b"\x00", b"\xff", data):
            with pytest.raises(MalformedPacket, match=f"^{len(extra)} bytes too many behind {type(packet).__name__}$"):
                decode(data + extra)

    def test_it_fits_into_the_largest_handshake_frame(self, packet, data):
        assert len(data) <= MAX_HANDSHAKE_FRAME


def test_every_packet_there_is_has_a_vector():
    assert {type(param.values[0]) for param in GOLDEN} == set(Packet.__args__)


def test_framed_and_fed_byte_by_byte_with_data_behind():
    """As the handshake meets them: one after the other in a stream that goes on with data."""
    packets = [param.values[0] for param in GOLDEN]
    stream = b"".join(frame(encode(packet)) for packet in packets) + frame(b"data")
    buffer, found = FrameBuffer(MAX_HANDSHAKE_FRAME), []
    for at in range(len(stream)):
        buffer.feed(stream[at : at + 1])
        for payload in buffer:
            found.append(decode(payload) if len(found) < len(packets) else payload)
    assert found == [*packets, b"data"]


class TestMalformed:
    @pytest.mark.parametrize("data", MALFORMED)
    def test_refused_whole_and_cut_at_every_byte(self, data):
        for piece in (data, *cuts(data)):
            with pytest.raises(MalformedPacket) as refused:
                decode(piece)
            assert refused.value.reason is CloseReason.MALFORMED_PACKET
            assert str(refused.value)

    @pytest.mark.parametrize("data", MALFORMED)
    def test_refused_with_trailing_data(self, data):
        for extra in (b"\xff", b"\xff" * 30):  # zeros would complete the packets that are only cut short
            with pytest.raises(MalformedPacket):
                decode(data + extra)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            ("", "the packet's variant is missing"),
            ("06", "unknown packet variant 6; 0 to 5 exist"),
            ("fb0600", "unknown packet variant 6; 0 to 5 exist"),
            ("fdffffffffffffffff", f"unknown packet variant {2**64 - 1}; 0 to 5 exist"),
            ("01", "ProtocolVersion is missing"),
            ("01fd0000000001000000", f"ProtocolVersion is {2**32}, at most {2**32 - 1} is allowed"),
            ("03fd0102", "ClientId is cut short: 3 of 9 bytes"),
            ("03fe" + "00" * 16, "ClientId begins with byte 254; a varint begins with 0 to 253"),
            ("03ff", "ClientId begins with byte 255; a varint begins with 0 to 253"),
            ("04", "Challenge's length is missing"),
            ("04050102", "Challenge has 2 of its 5 bytes"),
            ("040301ff", "Challenge has 2 of its 3 bytes"),
            ("02fdffffffffffffffff00", f"PubKey has 1 of its {2**64 - 1} bytes"),
        ],
    )
    def test_the_message_says_what_is_wrong(self, data, message):
        with pytest.raises(MalformedPacket) as refused:
            decode(bytes.fromhex(data))
        assert str(refused.value) == message


class TestVarint:
    EDGES = (0, 1, 250, 251, 252, 253, 254, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63, 2**64 - 1)

    @pytest.mark.parametrize("value", EDGES)
    def test_there_and_back_in_the_shortest_form(self, value):
        data = encode_varint(value)
        assert len(data) == (1 if value < 251 else 3 if value < 2**16 else 5 if value < 2**32 else 9)
        assert decode_varint(data, 0, "it") == (value, len(data))

    @pytest.mark.parametrize("data", ["07", "fb0700", "fc07000000", "fd0700000000000000"])
    def test_longer_forms_are_understood(self, data):
        assert decode_varint(bytes.fromhex(data), 0, "it") == (7, len(data) // 2)
        assert decode(b"\x03" + bytes.fromhex(data)) == ClientId(7)

    @pytest.mark.parametrize("value", EDGES)
    def test_cut_at_every_byte(self, value):
        for piece in cuts(encode_varint(value)):
            with pytest.raises(MalformedPacket):
                decode_varint(piece, 0, "it")

    def test_it_begins_where_it_is_told_and_leaves_the_rest(self):
        assert decode_varint(b"\xff\xff\xfb\x01\x02\xff", 2, "it") == (0x0201, 5)


@pytest.mark.parametrize(("number", "kind"), BYTES_PACKETS)
@pytest.mark.parametrize("size", [0, 1, 250, 251, 65535, 65536])
def test_byte_vectors_of_any_size(number, kind, size):
    packet = kind(bytes(size))
    data = encode(packet)
    assert data == bytes([number]) + encode_varint(size) + bytes(size)
    assert decode(data) == packet


def test_an_announced_size_costs_nothing():
    """A length of 2**64 - 1 is refused by comparing, not by trying to take that much."""
    for number, _ in BYTES_PACKETS:
        with pytest.raises(MalformedPacket):
            decode(bytes([number]) + b"\xfd" + b"\xff" * 8 + b"x" * 100)


def test_the_version_is_2():
    assert VERSION == 2


def test_any_packet_comes_back_and_any_bytes_are_refused_by_a_protocol_error():
    pytest.importorskip("hypothesis")
    from hypothesis import given
    from hypothesis import strategies as st

    u32, u64, some_bytes = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=300)
    packets = st.one_of(
        st.builds(Ping),
        st.builds(ProtocolVersion, u32),
        st.builds(ClientId, u64),
        *(st.builds(kind, some_bytes) for _, kind in BYTES_PACKETS),
    )

    @given(packets)
    def round_trip(packet: Packet) -> None:
        decoded = decode(encode(packet))
        assert decoded == packet and type(decoded) is type(packet)

    @given(st.one_of(some_bytes, st.tuples(st.integers(0, 6), some_bytes).map(lambda two: bytes([two[0]]) + two[1])))
    def any_bytes(data: bytes) -> None:
        try:
            packet = decode(data)
        except ProtocolError:
            return
        # What was accepted means the same in its shortest form.
        assert decode(encode(packet)) == packet and len(encode(packet)) <= len(data)

    round_trip()
    any_bytes()
