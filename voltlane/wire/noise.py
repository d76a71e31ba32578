"""Noise_NX_25519_ChaChaPoly_SHA256 (the Noise Protocol Framework, revision 34; SPEC 12), on libsodium.

The initiator is anonymous; the responder sends its static key, sealed, with the second message. What is sealed
from then on are transport messages, numbered by a counter that nobody sends.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from struct import Struct

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from ..errors import BadRecord, MalformedPacket
from .aead import KEY_SIZE, TAG_SIZE, Workspace, open_sealed, seal
from .framing import PREFIX, Buffer

NAME = b"Noise_NX_25519_ChaChaPoly_SHA256"
MESSAGE_MAX = 65535
"""Bytes of the largest message of Noise, its tag included."""
REKEY_EVERY = 1 << 16
"""Records of one direction under one key."""

_NONCE = Struct("<4xQ")
_REKEY_NONCE = _NONCE.pack(2**64 - 1)


class KeyPair:
    """An X25519 key pair."""

    __slots__ = ("public", "secret")

    def __init__(self, secret: bytes | None = None) -> None:
        """A new random one, or that of a secret of 32 bytes."""
        self.secret = os.urandom(KEY_SIZE) if secret is None else secret
        self.public: bytes = crypto_scalarmult_base(self.secret)

    def exchange(self, public: bytes) -> bytes:
        """The shared secret, 32 bytes. Raises MalformedPacket for a point of low order, with which there is none."""
        try:
            shared: bytes = crypto_scalarmult(self.secret, public)
        except (CryptoError, RuntimeError):
            shared = bytes(KEY_SIZE)
        if shared == bytes(KEY_SIZE):
            raise MalformedPacket("an X25519 public key that agrees on nothing")
        return shared


class Channel:
    """What comes of a handshake: both directions, and the hash that proofs are bound to.

    Each direction has a key and a count of its messages; without keys nothing is encrypted (suite 0).
    """

    __slots__ = ("_keys", "_opened", "_sealed", "hash")

    def __init__(self, seal_key: bytes, open_key: bytes, transcript: bytes) -> None:
        self.hash = transcript
        self._keys = seal_key + open_key  # in one piece, which is half the memory
        self._opened = self._sealed = 0

    def seal(self, record: Buffer) -> Buffer:
        """The next record as a message: 16 bytes longer, where it is encrypted."""
        if not self._keys:
            return record
        nonce = self._next_nonce()
        return seal(record, nonce, self._keys[:KEY_SIZE])

    def open(self, message: Buffer) -> Buffer:
        """The record in the next message. Raises BadRecord, and is of no more use then."""
        if not self._keys:
            return message
        nonce = self._nonce_to_open()
        try:
            record = open_sealed(message, nonce, self._keys[KEY_SIZE:])
        except ValueError:
            raise self._unopened(len(message)) from None
        self._opened += 1
        return record

    def seal_framed(self, record: Buffer) -> bytes:
        """The next record as a message, with its size in front (SPEC 2)."""
        message = self.seal(record)
        return PREFIX.pack(len(message)) + message

    def seal_in(self, space: Workspace, record: bytes) -> Buffer:
        """The same, good until something else is sealed there."""
        if not self._keys:
            return PREFIX.pack(len(record)) + record
        count = self._sealed
        if count % REKEY_EVERY:
            nonce, self._sealed = _NONCE.pack(count), count + 1
        else:
            nonce = self._next_nonce()
        return space.seal_framed(record, nonce, self._keys[:KEY_SIZE])

    def open_in(self, space: Workspace, buffer: Buffer, start: int, stop: int, at: int = 0) -> int:
        """Open the next message, which stands there, in `space` from `at` on, where it is encrypted; the bytes of the
        record. As `open`."""
        count = self._opened
        nonce = _NONCE.pack(count) if count % REKEY_EVERY else self._nonce_to_open()
        try:
            size = space.open(buffer, start, stop, nonce, self._keys[KEY_SIZE:], at)
        except ValueError:
            raise self._unopened(stop - start) from None
        self._opened = count + 1
        return size

    def _nonce_to_open(self) -> bytes:
        count = self._opened
        if not count % REKEY_EVERY and count:
            self._keys = self._keys[:KEY_SIZE] + _rekeyed(self._keys[KEY_SIZE:])
        return _NONCE.pack(count)

    def _unopened(self, size: int) -> BadRecord:
        return BadRecord(f"a message of {size} bytes does not open as record {self._opened}")

    def _next_nonce(self) -> bytes:
        """For sealing; with a new key, where it is time for that."""
        count = self._sealed
        self._sealed = count + 1
        if not count % REKEY_EVERY and count:
            self._keys = _rekeyed(self._keys[:KEY_SIZE]) + self._keys[KEY_SIZE:]
        return _NONCE.pack(count)

    def __repr__(self) -> str:
        return f"<Channel, {self._sealed} sealed, {self._opened} opened>"


def _rekeyed(key: bytes) -> bytes:
    """Noise's REKEY (its section 4.2)."""
    return bytes(seal(bytes(KEY_SIZE), _REKEY_NONCE, key)[:KEY_SIZE])


class _Symmetric:
    """Noise's SymmetricState (its section 5.2)."""

    __slots__ = ("_chaining", "_count", "_key", "hash")

    def __init__(self, prologue: bytes) -> None:
        self.hash = self._chaining = NAME  # of 32 bytes: neither padded nor hashed
        self._key = b""
        self._count = 0
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        self._chaining, self._key = _expand(self._chaining, secret)
        self._count = 0

    def seal(self, plaintext: bytes) -> bytes:
        sealed = bytes(seal(plaintext, _NONCE.pack(self._count), self._key, self.hash))
        self._count += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        try:
            plaintext = bytes(open_sealed(sealed, _NONCE.pack(self._count), self._key, self.hash))
        except ValueError:
            raise BadRecord("the handshake's second message does not open") from None
        self._count += 1
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The keys from the initiator to the responder, and back."""
        return _expand(self._chaining, b"")


class Initiator:
    """The client's side. `public` is the first message; its payload is `payload`, not encrypted."""

    __slots__ = ("_ephemeral", "_state", "public")

    def __init__(self, prologue: bytes, ephemeral: KeyPair, payload: bytes = b"") -> None:
        self._ephemeral = ephemeral
        self.public = ephemeral.public
        self._state = _Symmetric(prologue)
        self._state.mix_hash(self.public)
        self._state.mix_hash(payload)

    def finish(self, message: bytes) -> tuple[Channel, bytes, bytes]:
        """The second message: the channel, the responder's static public key, its payload.

        Whose key it is says nobody yet. Raises BadRecord, MalformedPacket.
        """
        state = self._state
        if len(message) < 2 * KEY_SIZE + 2 * TAG_SIZE:
            raise MalformedPacket(f"a second message of {len(message)} bytes")
        ephemeral, rest = message[:KEY_SIZE], message[KEY_SIZE:]
        state.mix_hash(ephemeral)
        state.mix_key(self._ephemeral.exchange(ephemeral))
        static = state.open(rest[: KEY_SIZE + TAG_SIZE])
        state.mix_key(self._ephemeral.exchange(static))
        payload = state.open(rest[KEY_SIZE + TAG_SIZE :])
        to_responder, to_initiator = state.split()
        return Channel(to_responder, to_initiator, state.hash), static, payload


def respond(
    prologue: bytes, message: bytes, static: KeyPair, ephemeral: KeyPair, payload: bytes
) -> tuple[bytes, Channel]:
    """The server's side: the second message, and the channel. `message` is the first one. Raises MalformedPacket."""
    theirs = message[:KEY_SIZE]
    state = _Symmetric(prologue)
    state.mix_hash(theirs)
    state.mix_hash(message[KEY_SIZE:])
    state.mix_hash(ephemeral.public)
    state.mix_key(ephemeral.exchange(theirs))
    answer = ephemeral.public + state.seal(static.public)
    state.mix_key(static.exchange(theirs))
    answer += state.seal(payload)
    to_responder, to_initiator = state.split()
    return answer, Channel(to_initiator, to_responder, state.hash)


def _expand(chaining: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs (its section 4.3)."""
    extracted = hmac.digest(chaining, secret, "sha256")
    first = hmac.digest(extracted, b"\x01", "sha256")
    return first, hmac.digest(extracted, first + b"\x02", "sha256")
