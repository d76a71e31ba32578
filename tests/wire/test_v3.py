"""Version 3 on the wire: every structure there and back, cut, with more behind it, and with numbers that are none."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kit.vectors import cuts

from voltlane.errors import MalformedPacket, MalformedRecord, UnsupportedVersion
from voltlane.wire import v3
from voltlane.wire.v3 import (
    Ask,
    Close,
    Code,
    Datagrams,
    Gap,
    Hello,
    Kind,
    Limits,
    Open,
    Resume,
    Retained,
    ServerPayload,
    Welcome,
    decode_ask,
    decode_close,
    decode_datagrams,
    decode_gap,
    decode_hello,
    decode_open,
    decode_refusal,
    decode_resume,
    decode_server_payload,
    decode_welcome,
    head_of,
)

u8, u16 = some.integers(0, 2**8 - 1), some.integers(0, 2**16 - 1)
u32, u64 = some.integers(0, 2**32 - 1), some.integers(0, 2**64 - 1)
retained = some.builds(Retained, u32, u32)


def exactly(size: int) -> some.SearchStrategy[bytes]:
    return some.binary(min_size=size, max_size=size)


BODIES: dict[str, tuple[some.SearchStrategy[Any], Callable[[bytes], Any], int]] = {
    "open": (some.builds(Open, exactly(16), exactly(32), retained), decode_open, 56),
    "resume": (some.builds(Resume, u64, u32, u64, exactly(32), u64, u64, u64, u64, retained), decode_resume, 92),
    "welcome": (some.builds(Welcome, u64, exactly(32), u64, u32, u64, exactly(32), u64), decode_welcome, 100),
    "gap": (some.builds(Gap, u64, u64, u8), decode_gap, 17),
    "close": (some.builds(Close, u16, u64, some.text()), decode_close, 10),
    "ask": (some.builds(Ask, exactly(32)), decode_ask, 32),
    "datagrams": (some.builds(Datagrams, u16, u16, u16, exactly(32), some.text(max_size=60)), decode_datagrams, 39),
}
"""Values, how they are read, and how many bytes their fields have."""


@pytest.mark.parametrize("name", BODIES)
class TestBodies:
    def test_there_and_back(self, name: str):
        values, decode, size = BODIES[name]

        @given(values)
        def check(value: Any) -> None:
            body = value.encode()
            assert decode(body) == value
            assert len(body) == size or name in ("close", "datagrams")

        check()

    def test_more_behind_the_fields_is_skipped(self, name: str):
        values, decode, _ = BODIES[name]

        @given(values, some.binary(min_size=1, max_size=40))
        def check(value: Any, more: bytes) -> None:
            assert decode(value.encode() + more) == value

        if name != "close":  # whose text goes to its end
            check()

    def test_less_than_the_fields_is_refused(self, name: str):
        _, decode, size = BODIES[name]
        for body in cuts(bytes(size)):
            with pytest.raises(MalformedRecord, match=f"the body of {name} has {len(body)} bytes"):
                decode(body)
        decode(bytes(size))


def test_layouts_are_those_of_the_text():
    """By hand, once each: a field moved on both sides would go unnoticed otherwise."""
    n32, n64 = (lambda n: n.to_bytes(4, "little")), (lambda n: n.to_bytes(8, "little"))
    h, s = b"h" * 16, b"s" * 32
    assert Open(h, s, Retained(3, 4)).encode() == h + s + n32(3) + n32(4)
    assert Resume(1, 2, 3, s, 4, 5, 6, 7, Retained(8, 9)).encode() == n64(1) + n32(2) + n64(3) + s + b"".join(
        map(n64, (4, 5, 6, 7))
    ) + n32(8) + n32(9)
    assert Welcome(1, s, 2, 3, 4, b"t" * 32, 5).encode() == n64(1) + s + n64(2) + n32(3) + n64(4) + b"t" * 32 + n64(5)
    assert Gap(1, 2, 3).encode() == n64(1) + n64(2) + b"\3"
    assert Close(3500, 2, "why").encode() == b"\xac\x0d" + n64(2) + b"why"
    assert Ask(s).encode() == s
    n16 = lambda n: n.to_bytes(2, "little")  # noqa: E731
    assert Datagrams(1, 2, 3, s, "é").encode() == n16(1) + n16(2) + n16(3) + s + b"\2\xc3\xa9"
    assert v3.NO_DATAGRAMS.encode() == bytes(39)
    assert v3.record(Kind.ACK, 5, 6, b"body") == b"\1" + n64(5) + n64(6) + b"body"
    assert v3.refusal(Code.NO_SUITE, "no") == b"\x56\xff\xb4\x0dno"
    limits = Limits(1, Retained(2, 3))
    assert ServerPayload(1, limits, (s,)).encode() == b"\1" + n32(1) + n32(2) + n32(3) + b"\1" + s
    assert Hello((1, 0), s).encode() == b"\x56\3\2\1\0" + s
    assert v3.server_hello(1, b"answer") == b"\x56\1answer"


class TestWhereDatagramsGo:
    def test_a_host_that_is_cut(self):
        body = Datagrams(1, 2, 3, bytes(32), "example.org").encode()
        for cut in cuts(body):
            with pytest.raises(MalformedRecord):
                decode_datagrams(cut)

    def test_a_host_that_is_no_text(self):
        with pytest.raises(MalformedRecord, match="no UTF-8"):
            decode_datagrams(Datagrams(1, 2, 3, bytes(32), "").encode()[:-1] + b"\1\xff")


class TestHello:
    @given(some.lists(u8, min_size=1, max_size=16), exactly(32))
    def test_there_and_back(self, suites: list[int], random: bytes):
        hello = Hello(tuple(suites), random)
        assert decode_hello(hello.encode()) == hello
        assert hello.prologue == b"Voltlane 3" + hello.encode()[:-32]
        assert len(hello.encode()) <= v3.MAX_HELLO

    @pytest.mark.parametrize("count", [0, 17, 29, 255])
    def test_a_count_that_cannot_be(self, count: int):
        with pytest.raises(MalformedPacket, match=f"{count} suites"):
            decode_hello(bytes((0x56, 3, count)) + bytes(count) + bytes(32))

    @pytest.mark.parametrize(("count", "there"), [(1, 0), (1, 2), (2, 1), (16, 15)])
    def test_a_count_that_is_wrong(self, count: int, there: int):
        with pytest.raises(MalformedPacket):
            decode_hello(bytes((0x56, 3, count)) + bytes(there) + bytes(32))

    def test_cut_anywhere(self):
        for message in cuts(Hello((1,), bytes(32)).encode()):
            with pytest.raises(MalformedPacket):
                decode_hello(message)

    @pytest.mark.parametrize("version", [0, 1, 2, 4, 255])
    def test_another_version(self, version: int):
        """Whatever its hello looks like."""
        for rest in (b"", b"\1\1" + bytes(32), bytes(40)):
            message = bytes((0x56, version)) + (rest or b"?")
            with pytest.raises(UnsupportedVersion, match=f"version {version}"):
                decode_hello(message)

    def test_another_first_byte(self):
        with pytest.raises(MalformedPacket):
            decode_hello(b"\x55" + Hello((1,), bytes(32)).encode()[1:])


class TestServerHello:
    @given(u8, some.builds(Limits, u32, retained), some.lists(exactly(32), max_size=4), some.binary(max_size=20))
    def test_there_and_back(self, suite: int, limits: Limits, keys: list[bytes], more: bytes):
        payload = ServerPayload(suite, limits, tuple(keys))
        assert decode_server_payload(payload.encode() + more) == payload
        assert len(v3.server_hello(suite, bytes(32 + 48 + 16) + payload.encode())) <= v3.MAX_SERVER_HELLO

    def test_cut_anywhere(self):
        for data in cuts(ServerPayload(1, Limits(1, Retained(2, 3)), (bytes(32), bytes(32))).encode()):
            with pytest.raises(MalformedPacket):
                decode_server_payload(data)

    def test_too_many_keys(self):
        data = bytearray(ServerPayload(1, Limits(1, Retained(2, 3))).encode()) + bytes(5 * 32)
        data[13] = 5
        with pytest.raises(MalformedPacket, match="5 keys"):
            decode_server_payload(bytes(data))

    @given(u16, some.text())
    def test_a_refusal(self, code: int, text: str):
        assert decode_refusal(v3.refusal(code, text)) == (code, text)

    def test_a_refusal_cut_anywhere(self):
        for message in cuts(v3.refusal(3500, "")):
            with pytest.raises(MalformedPacket):
                decode_refusal(message)

    def test_a_text_that_is_no_text(self):
        assert decode_refusal(v3.refusal(3500, "") + b"\xff")[1] == "�"
        assert decode_close(Close(3500, 0, "").encode() + b"\xff").text == "�"


class TestRecords:
    @given(u8, u64, u64, some.binary(max_size=50))
    def test_heads(self, kind: int, ack: int, credit: int, body: bytes):
        plaintext = v3.record(kind, ack, credit, body)
        assert head_of(plaintext) == (kind, ack, credit)
        assert plaintext[v3.HEAD_SIZE :] == body

    def test_cut_anywhere(self):
        for plaintext in cuts(v3.record(Kind.ACK, 1, 2)):
            with pytest.raises(MalformedRecord, match=f"a record of {len(plaintext)} bytes; at least 17"):
                head_of(plaintext)

    def test_kinds_that_may_be_skipped_are_odd(self):
        """The sender of any other must know that its receiver knows it."""
        assert [kind for kind in Kind if kind & 1] == [Kind.ACK, Kind.ASK, Kind.DATAGRAMS]

    def test_the_largest(self):
        assert v3.MAX_RECORD + 16 == 65535
        assert len(v3.record(Kind.DATA, 0, 0, bytes(v3.MAX_BODY))) == v3.MAX_RECORD


class TestSecrets:
    def test_proofs(self):
        secret, transcript = b"s" * 32, b"t" * 32
        client, server = v3.proof(secret, "client", transcript), v3.proof(secret, "server", transcript)
        assert client == hmac.new(secret, b"VOLTLANE 3 client" + transcript, hashlib.sha256).digest()
        assert server == hmac.new(secret, b"VOLTLANE 3 server" + transcript, hashlib.sha256).digest()

    def test_branches(self):
        root = b"r" * 32
        expected = hmac.new(root, b"VOLTLANE 3 branch" + b"\x07" + bytes(7), hashlib.sha256).digest()
        assert v3.branch_secret(root, 7) == expected != v3.branch_secret(root, 8)

    def test_the_transcript_of_suite_0(self):
        channel = v3.clear_channel(b"hello", b"server hello")
        assert channel.hash == hashlib.sha256(b"helloserver hello").digest()
        assert channel.seal(b"x") == channel.open(b"x") == b"x"

    @pytest.mark.parametrize(
        "value",
        [
            Open(b"h" * 16, b"SECRET" * 5 + b"..", Retained(1, 2)),
            Welcome(1, b"", 1, 1, 1, b"SECRET" * 5, 0),
            Ask(b"SECRET" * 5),
            Datagrams(1, 2, 3, b"SECRET" * 5, ""),
        ],
    )
    def test_no_secret_is_shown(self, value: Any):
        assert "SECRET" not in repr(value) and "SECRET" not in str(value)

    def test_who_may_come_back(self):
        back = {code for code in Code if v3.may_return(code)}
        assert back == {code for code in Code if code < 3500}
        assert v3.may_return(4000) and v3.may_return(4499) and not v3.may_return(4500) and not v3.may_return(4999)
