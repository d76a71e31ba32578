"""Tagged packets (SPEC 6): golden vectors both ways, malformed ones and every cut of all of them."""

from __future__ import annotations

import pytest
from kit.vectors import VECTORS, cuts, unhex, why

from voltlane.errors import MalformedTag, ProtocolError, UnknownFlag
from voltlane.reasons import CloseReason
from voltlane.wire.framing import MAX_TAGGED, FrameBuffer
from voltlane.wire.tagged import (
    FLAGS,
    HEADER,
    HEADER_SIZE,
    TAG_SIZE,
    Flag,
    Tagged,
    decode_tagged,
    encode_tagged,
    frame_tagged,
)

GOLDEN = [
    pytest.param(
        Tagged(entry["client_id"], Flag[entry["kind"].upper()], unhex(entry, "data")),
        unhex(entry),
        unhex(entry, "framed_hex"),
        id=f"{entry['kind']}-{entry['client_id']}",
    )
    for entry in VECTORS["tagged_packets"]
]
MALFORMED = [pytest.param(unhex(entry), id=why(entry)) for entry in VECTORS["malformed_tagged_packets"]]


@pytest.mark.parametrize(("packet", "data", "framed"), GOLDEN)
class TestGolden:
    def test_encode(self, packet, data, framed):
        assert encode_tagged(*packet) == data
        assert frame_tagged(*packet) == framed

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_every_kind_of_buffer(self, packet, data, framed, kind):
        decoded = decode_tagged(kind(data))
        assert decoded == packet
        assert type(decoded.data) is bytes
        assert isinstance(decoded.flag, Flag)
        assert encode_tagged(packet.client_id, packet.flag, kind(packet.data)) == data
        assert frame_tagged(packet.client_id, packet.flag, kind(packet.data)) == framed

    def test_the_header_as_it_stands_in_the_stream(self, packet, data, framed):
        assert HEADER.unpack_from(framed) == (len(data), packet.client_id, packet.flag)
        assert framed[HEADER_SIZE:] == packet.data

    def test_cut_at_every_byte(self, packet, data, framed):
        """Cut within the tag it is malformed; behind it, it is a shorter packet."""
        for piece in cuts(data):
            if len(piece) < TAG_SIZE:
                with pytest.raises(MalformedTag):
                    decode_tagged(piece)
            else:
                assert decode_tagged(piece) == (packet.client_id, packet.flag, packet.data[: len(piece) - TAG_SIZE])

    def test_trailing_data_is_data(self, packet, data, framed):
        assert decode_tagged(data + b"more").data == packet.data + b"more"


def test_every_flag_of_version_2_has_a_vector():
    assert {param.values[0].flag for param in GOLDEN} == set(Flag) - {Flag.DATAGRAM}


def test_the_stream_byte_by_byte():
    stream = b"".join(param.values[2] for param in GOLDEN)
    buffer, found = FrameBuffer(MAX_TAGGED), []
    for at in range(len(stream)):
        buffer.feed(stream[at : at + 1])
        found += map(decode_tagged, buffer)
    assert found == [param.values[0] for param in GOLDEN]


class TestMalformed:
    @pytest.mark.parametrize("data", MALFORMED)
    def test_refused_whole_and_cut_at_every_byte(self, data):
        for piece in (data, *cuts(data)):
            with pytest.raises((MalformedTag, UnknownFlag)) as refused:
                decode_tagged(piece)
            assert refused.value.reason in (CloseReason.MALFORMED_TAG, CloseReason.UNKNOWN_FLAG)

    @pytest.mark.parametrize("size", range(TAG_SIZE))
    def test_shorter_than_the_tag(self, size):
        with pytest.raises(MalformedTag, match=rf"a tagged packet of {size} bytes; at least 9") as refused:
            decode_tagged(bytes(size))
        assert refused.value.reason is CloseReason.MALFORMED_TAG

    @pytest.mark.parametrize("flag", range(len(FLAGS), 256))
    def test_every_unknown_flag(self, flag):
        for extra in (b"", b"data"):
            with pytest.raises(UnknownFlag, match=rf"flag {flag} for client 5; 0 to 4 exist") as refused:
                decode_tagged(encode_tagged(5, flag, extra))
            assert refused.value.reason is CloseReason.UNKNOWN_FLAG


def test_the_flags_are_those_of_the_protocol():
    assert [(flag.name, flag.value) for flag in FLAGS] == [
        ("DATA", 0),
        ("FAILURE", 1),
        ("KICK", 2),
        ("RECONNECTION", 3),
        ("DATAGRAM", 4),
    ]


def test_any_packet_comes_back_and_any_bytes_are_refused_by_a_protocol_error():
    pytest.importorskip("hypothesis")
    from hypothesis import given
    from hypothesis import strategies as st

    @given(st.integers(0, 2**64 - 1), st.sampled_from(FLAGS), st.binary(max_size=300))
    def round_trip(client_id: int, flag: Flag, data: bytes) -> None:
        payload = encode_tagged(client_id, flag, data)
        assert decode_tagged(payload) == (client_id, flag, data)
        assert frame_tagged(client_id, flag, data) == len(payload).to_bytes(4, "little") + payload

    @given(st.binary(max_size=40))
    def any_bytes(data: bytes) -> None:
        try:
            packet = decode_tagged(data)
        except ProtocolError:
            assert len(data) < TAG_SIZE or data[8] > 3
        else:
            assert encode_tagged(*packet) == data

    round_trip()
    any_bytes()
