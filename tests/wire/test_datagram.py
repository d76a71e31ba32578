"""Datagrams on the wire: keys by hand, one there and back, cut, altered and another's; the clock; the cookies."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kit.vectors import cuts
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt as encrypt

from voltlane.wire import datagram as wire
from voltlane.wire.datagram import DatagramKeys, Kind, client_keys, derive, open_datagram, seal_datagram, server_keys

ROOT = derive(b"s" * 32, b"c" * 32, b"d" * 32)
CLIENT, SERVER = client_keys(ROOT), server_keys(ROOT)

u8, u16, u64 = (some.integers(0, 2**bits - 1) for bits in (8, 16, 64))


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


class TestKeys:
    def test_as_the_text_has_them(self):
        root = mac(b"s" * 32, b"VOLTLANE 3 datagrams" + b"c" * 32 + b"d" * 32)
        assert root == ROOT
        assert CLIENT.key_out == mac(root, b"key client") and CLIENT.id_out == mac(root, b"id client")[:8]
        assert CLIENT.key_in == mac(root, b"key server") and CLIENT.id_in == mac(root, b"id server")[:8]

    def test_both_sides_are_one_pair(self):
        assert DatagramKeys(CLIENT.id_out, CLIENT.key_out, CLIENT.id_in, CLIENT.key_in) == SERVER
        assert len(set(CLIENT)) == 4

    def test_each_part_counts(self):
        parts = [b"s" * 32, b"c" * 32, b"d" * 32]
        roots = {
            derive(*(b"x" * 32 if at == changed else part for at, part in enumerate(parts))) for changed in (0, 1, 2)
        }
        assert len(roots | {ROOT}) == 4

    def test_none_is_shown(self):
        keys = DatagramKeys(b"SECRETID", b"SECRET" * 5 + b"..", b"SECRETID", b"SECRET" * 5 + b"..")
        assert "SECRET" not in repr(keys) and "SECRET" not in f"{keys}"


class TestDatagram:
    @given(u64, u8, u16, u16, some.binary(max_size=1200))
    def test_there_and_back(self, number: int, kind: int, time: int, echo: int, body: bytes):
        datagram = seal_datagram(CLIENT, number, kind, time, echo, body)
        assert len(datagram) == len(body) + wire.OVERHEAD
        assert wire.head_of(datagram) == (CLIENT.id_out, number)
        assert open_datagram(SERVER, datagram) == (number, kind, time, echo, body)
        assert open_datagram(SERVER, memoryview(datagram)) == (number, kind, time, echo, body)

    def test_the_layout_is_that_of_the_text(self):
        number = (7).to_bytes(8, "little")
        inner = b"\0" + (5).to_bytes(2, "little") + (6).to_bytes(2, "little") + b"body"
        head = CLIENT.id_out + number
        expected = head + encrypt(inner, head, bytes(4) + number, CLIENT.key_out)
        assert seal_datagram(CLIENT, 7, Kind.DATA, 5, 6, b"body") == expected
        assert wire.OVERHEAD == 37

    def test_cut_anywhere(self):
        for cut in cuts(seal_datagram(CLIENT, 1, 0, 0, 0, b"four")):
            with pytest.raises(ValueError):
                open_datagram(SERVER, cut)

    def test_every_bit_counts(self):
        datagram = seal_datagram(CLIENT, 1, 0, 0, 0, b"x")
        for bit in range(8 * len(datagram)):
            altered = bytearray(datagram)
            altered[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ValueError):
                open_datagram(SERVER, bytes(altered))
        assert open_datagram(SERVER, datagram).body == b"x"

    def test_more_behind_it(self):
        with pytest.raises(ValueError):
            open_datagram(SERVER, seal_datagram(CLIENT, 1, 0, 0, 0, b"x") + b"\0")

    def test_ones_own_sent_back(self):
        with pytest.raises(ValueError, match="another id"):
            open_datagram(CLIENT, seal_datagram(CLIENT, 1, 0, 0, 0, b"x"))

    def test_each_number_seals_otherwise(self):
        first, second = (seal_datagram(CLIENT, number, 0, 0, 0, b"same") for number in (0, 1))
        assert first[16:] != second[16:]


class TestClock:
    def test_it_counts_eighths_of_a_millisecond_and_begins_again(self):
        assert [wire.clock(now) for now in (0.0, 1.0, 8.0, 8.192, 8.193)] == [0, 8000, 64000, 0, 8]

    @given(some.floats(0, 1e6), some.floats(0, 7.9), some.floats(0, 1.0), some.floats(0, 1e6))
    def test_round_trip(self, sent: float, way: float, held: float, skew: float):
        """There, held, and back: the peer's clock is another one, which does not matter."""
        time, heard = wire.clock(sent), sent + skew + way / 2
        echo = wire.held_echo(time, heard, heard + held)
        measured = wire.round_trip(echo, sent + way + held)
        if heard + held - heard > wire.HELD_SECS:  # by rounding
            assert measured is None
        else:
            assert measured == pytest.approx(way, abs=4 / wire.TICKS)

    def test_no_echo(self):
        assert wire.held_echo(5, None, 0.0) == 0
        assert wire.held_echo(5, 1.0, 2.1) == 0
        assert wire.held_echo(5, 1.0, 0.9) == 0
        assert wire.round_trip(0, 1.0) is None

    def test_an_echo_is_never_0(self):
        assert wire.held_echo(0, 1.0, 1.0) == 1
        assert wire.held_echo(65535, 1.0, 1.0 + 1 / 8000 + 1e-9) == 1

    def test_less_than_nothing_is_nothing(self):
        assert wire.round_trip(8001, 1.0) == 0.0
        assert wire.round_trip(1, 8.0001) == pytest.approx(7.999875)


class TestCookies:
    def test_of_an_address(self):
        shown = wire.cookie(b"s" * 32, b"\x7f\0\0\1", 42000)
        assert shown == mac(b"s" * 32, b"\x7f\0\0\1" + (42000).to_bytes(2, "little"))[:16]
        assert (
            len({shown, wire.cookie(b"s" * 32, b"\x7f\0\0\1", 42001), wire.cookie(b"t" * 32, b"\x7f\0\0\1", 42000)})
            == 3
        )

    def test_there_and_back(self):
        assert wire.split_cookie(wire.with_cookie(b"c" * 16, b"packet")) == (b"c" * 16, b"packet")
        assert wire.split_cookie(wire.with_cookie(b"c" * 16)) == (b"c" * 16, b"")

    def test_none_or_half_of_one(self):
        for cut in cuts(wire.with_cookie(b"c" * 16)):
            assert wire.split_cookie(cut) is None
        assert wire.split_cookie(b"vlck" + bytes(16)) is None

    def test_an_answer_is_no_more_than_three_times_what_came(self):
        assert len(wire.with_cookie(bytes(16))) <= wire.UNVALIDATED_FACTOR * wire.COOKIE_LEAST
