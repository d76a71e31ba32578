"""Noise NX by the public vectors of two libraries, both sides; its ciphers by a peer that is made by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from nacl import bindings

from voltlane.errors import BadRecord, MalformedPacket
from voltlane.wire import aead, noise
from voltlane.wire.noise import MESSAGE_MAX, REKEY_EVERY, Channel, Initiator, KeyPair, respond

NAME = "Noise_NX_25519_ChaChaPoly_SHA256"
FILE = Path(__file__).parent.parent / "vectors" / "noise.json"
VECTORS: list[tuple[str, dict[str, Any]]] = [
    (library, entry)
    for library, entries in json.loads(FILE.read_text(encoding="utf-8")).items()
    if library != "about"
    for entry in entries
    if entry["protocol_name"] == NAME
]
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
"""Points with which X25519 agrees on nothing (RFC 7748, section 6.1), some of them not in their usual form."""


def unhex(entry: dict[str, Any], field: str) -> bytes:
    return bytes.fromhex(entry[field])


def handshake(entry: dict[str, Any]) -> tuple[Initiator, bytes, Channel]:
    """The vector's: the initiator's side before the second message, that message, the responder's channel."""
    first, second = entry["messages"][:2]
    initiator = Initiator(
        unhex(entry, "init_prologue"), KeyPair(unhex(entry, "init_ephemeral")), unhex(first, "payload")
    )
    static, ephemeral = KeyPair(unhex(entry, "resp_static")), KeyPair(unhex(entry, "resp_ephemeral"))
    said = initiator.public + unhex(first, "payload")
    answer, channel = respond(unhex(entry, "resp_prologue"), said, static, ephemeral, unhex(second, "payload"))
    return initiator, answer, channel


def test_there_are_vectors_of_both_libraries():
    assert {library for library, _ in VECTORS} == {"cacophony", "snow"}


@pytest.mark.parametrize(("library", "entry"), VECTORS, ids=[library for library, _ in VECTORS])
class TestVectors:
    def test_first_message(self, library: str, entry: dict[str, Any]):
        initiator, _, _ = handshake(entry)
        first = entry["messages"][0]
        assert initiator.public + unhex(first, "payload") == unhex(first, "ciphertext")

    def test_second_message(self, library: str, entry: dict[str, Any]):
        initiator, answer, responder = handshake(entry)
        assert answer == unhex(entry["messages"][1], "ciphertext")
        channel, static, payload = initiator.finish(answer)
        assert static == KeyPair(unhex(entry, "resp_static")).public
        assert payload == unhex(entry["messages"][1], "payload")
        assert channel.hash == responder.hash
        if "handshake_hash" in entry:
            assert channel.hash == unhex(entry, "handshake_hash")

    def test_transport_messages(self, library: str, entry: dict[str, Any]):
        """The initiator and the responder say them in turn."""
        initiator, answer, responder = handshake(entry)
        channel, _, _ = initiator.finish(answer)
        messages = entry["messages"][2:]
        assert len(messages) >= 2
        for number, message in enumerate(messages):
            sender, receiver = (channel, responder) if number % 2 == 0 else (responder, channel)
            assert sender.seal(unhex(message, "payload")) == unhex(message, "ciphertext")
            assert receiver.open(unhex(message, "ciphertext")) == unhex(message, "payload")


ENTRY = VECTORS[0][1]


class TestRefusals:
    def test_a_second_message_with_any_byte_another(self):
        _, answer, _ = handshake(ENTRY)
        for at in range(len(answer)):
            wrong = bytearray(answer)
            wrong[at] ^= 0x40
            with pytest.raises((BadRecord, MalformedPacket)):
                handshake(ENTRY)[0].finish(bytes(wrong))

    def test_a_second_message_cut_anywhere(self):
        _, answer, _ = handshake(ENTRY)
        for size in range(len(answer)):
            with pytest.raises((BadRecord, MalformedPacket)):
                handshake(ENTRY)[0].finish(answer[:size])

    def test_a_second_message_with_more_behind_it(self):
        initiator, answer, _ = handshake(ENTRY)
        with pytest.raises(BadRecord):
            initiator.finish(answer + b"\0")

    @pytest.mark.parametrize("field", ["init_prologue", "init_ephemeral"])
    def test_an_answer_to_somebody_else(self, field: str):
        """To another prologue, or another first message."""
        _, answer, _ = handshake(ENTRY)
        other = {**ENTRY, field: hashlib.sha256(unhex(ENTRY, field)).hexdigest()}
        with pytest.raises(BadRecord):
            handshake(other)[0].finish(answer)

    @pytest.mark.parametrize("point", LOW_ORDER)
    def test_points_of_low_order(self, point: str):
        with pytest.raises(MalformedPacket, match="agrees on nothing"):
            KeyPair().exchange(bytes.fromhex(point))

    @pytest.mark.parametrize("point", LOW_ORDER)
    def test_a_first_message_of_low_order(self, point: str):
        with pytest.raises(MalformedPacket):
            respond(b"", bytes.fromhex(point), KeyPair(), KeyPair(), b"")

    @pytest.mark.parametrize("point", LOW_ORDER)
    def test_a_second_message_of_low_order(self, point: str):
        initiator, answer, _ = handshake(ENTRY)
        with pytest.raises(MalformedPacket):
            initiator.finish(bytes.fromhex(point) + answer[32:])

    def test_a_shared_secret_is_the_same_on_both_sides(self):
        one, other = KeyPair(), KeyPair()
        assert one.exchange(other.public) == other.exchange(one.public) != bytes(32)
        assert KeyPair(b"\1" * 32).public == KeyPair(b"\1" * 32).public != one.public


def pair(up: bytes = bytes(32), down: bytes = bytes(range(32))) -> tuple[Channel, Channel]:
    """Both ends of a channel with these keys."""
    return Channel(up, down, b""), Channel(down, up, b"")


class TestChannel:
    def test_a_record_that_does_not_open(self):
        message = bytes(pair()[0].seal(b"record"))
        for at in range(len(message)):
            wrong = bytearray(message)
            wrong[at] ^= 1
            with pytest.raises(BadRecord):
                pair()[1].open(wrong)
        for size in range(len(message)):
            with pytest.raises(BadRecord):
                pair()[1].open(message[:size])
        assert pair()[1].open(memoryview(message)) == b"record"

    def test_records_in_another_order_or_twice(self):
        sender, receiver = pair()
        first, second = bytes(sender.seal(b"first")), bytes(sender.seal(b"second"))
        with pytest.raises(BadRecord):
            pair()[1].open(second)
        assert receiver.open(first) == b"first"
        with pytest.raises(BadRecord):
            receiver.open(first)

    def test_each_direction_has_a_key_and_a_count_of_its_own(self):
        one, other = pair()
        for number in range(3):
            assert other.open(one.seal(b"%d" % number)) == b"%d" % number
        message = other.seal(b"back")
        assert one.open(message) == b"back"
        with pytest.raises(BadRecord):
            pair()[1].open(message)

    def test_with_the_size_in_front(self):
        one, other = pair()
        for record in (b"", b"record", bytes(5000)):
            framed = one.seal_framed(record)
            assert int.from_bytes(framed[:4], "little") == len(framed) - 4 == len(record) + 16
            assert other.open(framed[4:]) == record

    def test_in_one_place(self):
        """As a server does it: the same messages, and rekeyed at the same time."""
        one, other = pair()
        alike, space = pair()[0], aead.workspace(MESSAGE_MAX, 1 << 18)
        for channel in (one, other, alike):
            channel._sealed = channel._opened = REKEY_EVERY - 2
        for number in range(5):
            record = b"%d" % number * 100
            message = bytes(one.seal_in(space, record))
            assert message == alike.seal_framed(record)
            size = other.open_in(space, message, 4, len(message))
            assert space.opened[:size] == record
        with pytest.raises(BadRecord):
            other.open_in(space, bytes(40), 0, 40)

    def test_the_largest_record(self):
        one, other = pair()
        record = bytes(MESSAGE_MAX - aead.TAG_SIZE)
        message = one.seal(record)
        assert len(message) == MESSAGE_MAX
        assert other.open(message) == record

    def test_rekeying(self):
        """By hand: numbers go on, under the key that the one before makes of 32 zeros under the largest nonce."""
        key = bytes(range(1, 33))
        sender, receiver = pair(key)
        for number in range(2 * REKEY_EVERY + 2):
            if number and number % 65536 == 0:
                last = b"\0\0\0\0" + b"\xff" * 8
                key = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(bytes(32), None, last, key)[:32]
            message = sender.seal_framed(b"")[4:] if number % 131072 > 65530 else sender.seal(b"")
            nonce = b"\0\0\0\0" + number.to_bytes(8, "little")
            if number % 65536 in (0, 1, 65535):
                assert message == bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"", None, nonce, key), number
            assert receiver.open(message) == b""
        back = bytes(receiver.seal(b"back"))
        unseal = bindings.crypto_aead_chacha20poly1305_ietf_decrypt
        assert unseal(back, None, bytes(12), bytes(range(32))) == b"back", "the other direction has its key still"
        assert sender.open(back) == b"back"

    def test_a_record_under_the_key_before(self):
        _, receiver = pair()
        receiver._opened = REKEY_EVERY
        nonce = b"\0\0\0\0" + REKEY_EVERY.to_bytes(8, "little")
        with pytest.raises(BadRecord):
            receiver.open(bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"", None, nonce, bytes(32)))

    def test_a_clear_one(self):
        channel = Channel(b"", b"", b"")
        assert channel.seal(b"as it is") == channel.open(b"as it is") == b"as it is"
        assert channel.seal_framed(b"as it is") == b"\x08\0\0\0as it is"

    def test_no_key_is_shown(self):
        channel = Channel(b"SECRET" * 5 + b"..", b"SECRET" * 5 + b"..", b"SECRET")
        assert "SECRET" not in repr(channel) and "SECRET" not in str(channel)


def test_a_peer_made_by_hand():
    """The initiator's side of NX from the text of the specification, with nothing of the package."""

    def hkdf(chaining: bytes, secret: bytes) -> tuple[bytes, bytes]:
        extracted = hmac.new(chaining, secret, hashlib.sha256).digest()
        first = hmac.new(extracted, b"\x01", hashlib.sha256).digest()
        return first, hmac.new(extracted, first + b"\x02", hashlib.sha256).digest()

    def unseal(key: bytes, number: int, sealed: bytes, data: bytes | None) -> bytes:
        nonce = bytes(4) + number.to_bytes(8, "little")
        plaintext: bytes = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, data, nonce, key)
        return plaintext

    secret = hashlib.sha256(b"ephemeral").digest()
    public = bindings.crypto_scalarmult_base(secret)
    static = KeyPair()
    answer, responder = respond(b"prologue", public, static, KeyPair(), b"payload")

    chaining = NAME.encode()
    digest = hashlib.sha256(NAME.encode() + b"prologue").digest()
    for part in (public, b"", answer[:32]):
        digest = hashlib.sha256(digest + part).digest()
    chaining, key = hkdf(chaining, bindings.crypto_scalarmult(secret, answer[:32]))
    theirs = unseal(key, 0, answer[32:80], digest)
    assert theirs == static.public
    digest = hashlib.sha256(digest + answer[32:80]).digest()
    chaining, key = hkdf(chaining, bindings.crypto_scalarmult(secret, theirs))
    assert unseal(key, 0, answer[80:], digest) == b"payload"
    assert responder.hash == hashlib.sha256(digest + answer[80:]).digest()
    up, down = hkdf(chaining, b"")
    nonce = bytes(12)
    assert responder.open(bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"up", None, nonce, up)) == b"up"
    assert unseal(down, 0, bytes(responder.seal(b"down")), None) == b"down"


class TestBothForms:
    """Libsodium called as PyNaCl calls it, and through PyNaCl: one is as good as the other."""

    FORMS = (aead._seal_checked, aead._open_checked), (aead._seal_fast, aead._open_fast)
    NONCE, KEY = bytes(range(12)), bytes(range(32))

    def test_the_fast_one_is_used(self):
        assert aead.seal is aead._seal_fast and aead.open_sealed is aead._open_fast
        assert noise.seal is aead.seal

    @pytest.mark.parametrize("data", [b"", b"associated"])
    @pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 65519])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_they_agree(self, kind: Any, size: int, data: bytes):
        plaintext = bytes(number % 251 for number in range(size))
        sealed = {bytes(seal(kind(plaintext), self.NONCE, self.KEY, data)) for seal, _ in self.FORMS}
        assert len(sealed) == 1
        for _, unseal in self.FORMS:
            assert unseal(kind(next(iter(sealed))), self.NONCE, self.KEY, data) == plaintext

    SPACES = aead.Workspace, aead.workspace

    def test_the_fast_workspace_is_used(self):
        assert aead.workspace is not aead.Workspace

    @pytest.mark.parametrize("size", [0, 1, 64, 1000])
    def test_workspaces_agree(self, size: int):
        plaintext = bytes(number % 251 for number in range(size))
        for space in [kind(1016, 1000) for kind in self.SPACES]:
            message = space.seal_framed(plaintext, self.NONCE, self.KEY)
            assert message[:4] == (size + 16).to_bytes(4, "little")
            assert message[4:] == aead.seal(plaintext, self.NONCE, self.KEY)
            assert space.open(bytes(message), 4, len(message), self.NONCE, self.KEY) == size
            assert space.opened[:size] == plaintext

    def test_where_it_is_read_into_it_is_opened_without_a_copy(self):
        source = bytearray(100)
        for space in [kind(100, 84, source) for kind in self.SPACES]:
            for start, plaintext in ((0, b"one"), (7, b"two")):
                sealed = aead.seal(plaintext, self.NONCE, self.KEY)
                source[start : start + 19] = sealed
                assert space.open(source, start, start + 19, self.NONCE, self.KEY) == 3
                assert space.opened[:3] == plaintext
                assert source[start : start + 19] == sealed, "nothing is changed there"
                with pytest.raises(ValueError):
                    space.open(source, start, start + 18, self.NONCE, self.KEY)

    def test_what_does_not_fit_is_refused(self):
        """Whoever calls must see to that it does; here is memory behind it."""
        for space in [kind(100, 84) for kind in self.SPACES]:
            with pytest.raises(ValueError):
                space.seal_framed(bytes(85), self.NONCE, self.KEY)
            with pytest.raises(ValueError):
                space.open(aead.seal(bytes(85), self.NONCE, self.KEY), 0, 101, self.NONCE, self.KEY)
            assert len(space.opened) == 84 and len(space.seal_framed(bytes(84), self.NONCE, self.KEY)) == 104
            sealed = bytes(aead.seal(bytes(80), self.NONCE, self.KEY))
            assert space.open(sealed, 0, 96, self.NONCE, self.KEY, 4) == 80
            with pytest.raises(ValueError):
                space.open(sealed, 0, 96, self.NONCE, self.KEY, 5)

    def test_beside_each_other(self):
        for space in [kind(100, 84) for kind in self.SPACES]:
            assert space.open(aead.seal(b"one", self.NONCE, self.KEY), 0, 19, self.NONCE, self.KEY, 1) == 3
            assert space.open(aead.seal(b"two", self.NONCE, self.KEY), 0, 19, self.NONCE, self.KEY, 4) == 3
            assert space.opened[:8] == b"\0onetwo\0"

    def test_workspaces_refuse_the_same(self):
        sealed = bytes(aead.seal(b"plaintext", self.NONCE, self.KEY))
        for space in [kind(100, 84) for kind in self.SPACES]:
            for wrong in (b"", bytes(15), bytes(16), sealed[:-1], sealed + b"\0", b"\1" + sealed[1:]):
                with pytest.raises(ValueError):
                    space.open(wrong, 0, len(wrong), self.NONCE, self.KEY)
            with pytest.raises(ValueError):
                space.open(sealed, 0, len(sealed), bytes(12), self.KEY)
            assert space.open(sealed, 0, len(sealed), self.NONCE, self.KEY) == 9

    def test_they_refuse_the_same(self):
        sealed = aead.seal(b"plaintext", self.NONCE, self.KEY, b"data")
        flipped = bytes(sealed[:-1]) + bytes([sealed[-1] ^ 1])
        for _, unseal in self.FORMS:
            for wrong in (b"", bytes(15), bytes(16), sealed[:-1], sealed + b"\0", flipped):
                with pytest.raises(ValueError):
                    unseal(wrong, self.NONCE, self.KEY, b"data")
            for nonce, key, data in (
                (bytes(12), self.KEY, b"data"),
                (self.NONCE, bytes(32), b"data"),
                (self.NONCE, self.KEY, b""),
            ):
                with pytest.raises(ValueError):
                    unseal(sealed, nonce, key, data)
