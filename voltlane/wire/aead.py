"""ChaCha20-Poly1305 (RFC 8439) by libsodium, as PyNaCl brings it.

PyNaCl's own functions check and convert what they are given for three times as long as a small record takes to seal; so
libsodium is called as they call it, and they are there for a PyNaCl that has it elsewhere. Every call has a buffer of
its own, since libsodium runs without Python's lock; who has one thread has a `Workspace`.
"""

from __future__ import annotations

from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt as _decrypt
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt as _encrypt
from nacl.exceptions import CryptoError

from .framing import PREFIX, PREFIX_SIZE, Buffer

TAG_SIZE = 16
KEY_SIZE = 32
NONCE_SIZE = 12


def _seal_checked(plaintext: Buffer, nonce: bytes, key: bytes, data: bytes = b"") -> bytes:
    sealed: bytes = _encrypt(bytes(plaintext), data or None, nonce, key)
    return sealed


def _open_checked(sealed: Buffer, nonce: bytes, key: bytes, data: bytes = b"") -> bytes:
    try:
        plaintext: bytes = _decrypt(bytes(sealed), data or None, nonce, key)
    except CryptoError as error:
        raise ValueError(str(error)) from None
    return plaintext


class Workspace:
    """Where the messages of one thread are sealed, of at most so many bytes, and opened, several beside each other.
    What comes of them is there until something else is put there."""

    def __init__(self, most: int, opened: int, source: Buffer = b"") -> None:
        """`opened`: bytes that there is room for, of those that were opened. `source`: the buffer in which nearly all
        messages come, which are opened without a copy there."""
        self._source = source
        self._most = most  # which libsodium does not ask about
        self.opened = bytearray(opened)
        """What was opened, and what else has its place beside it."""
        self.view = memoryview(self.opened)
        self._sealed = bytearray(PREFIX_SIZE + most)
        self._view = memoryview(self._sealed)

    def open(self, buffer: Buffer, start: int, stop: int, nonce: bytes, key: bytes, at: int = 0) -> int:
        """Open what stands there into `opened`, from `at` on; how many bytes it has. Raises ValueError."""
        plaintext = open_sealed(memoryview(buffer)[start:stop], nonce, key)
        if len(plaintext) > len(self.opened) - at:
            raise ValueError("no room for that")
        self.view[at : at + len(plaintext)] = plaintext
        return len(plaintext)

    def seal_framed(self, plaintext: bytes, nonce: bytes, key: bytes) -> memoryview:
        """The message, with its size in front (SPEC 2)."""
        sealed = seal(plaintext, nonce, key)
        if len(sealed) > self._most:
            raise ValueError(f"{len(plaintext)} bytes are no record")
        end = PREFIX_SIZE + len(sealed)
        PREFIX.pack_into(self._sealed, 0, len(sealed))
        self._sealed[PREFIX_SIZE:end] = sealed
        return self._view[:end]


seal, open_sealed = _seal_checked, _open_checked
workspace: type[Workspace] = Workspace
"""The kind of workspace that is fastest here."""

try:
    from nacl._sodium import ffi as _ffi
    from nacl._sodium import lib as _lib

    _seal_raw = _lib.crypto_aead_chacha20poly1305_ietf_encrypt
    _open_raw = _lib.crypto_aead_chacha20poly1305_ietf_decrypt
    _at, _NOTHING = _ffi.from_buffer, _ffi.NULL
except (ImportError, AttributeError):  # pragma: no cover (PyNaCl as it may be one day)
    pass
else:

    def _seal_fast(plaintext: Buffer, nonce: bytes, key: bytes, data: bytes = b"") -> bytearray:
        size = len(plaintext)
        sealed = bytearray(size + TAG_SIZE)
        _seal_raw(_at(sealed), _NOTHING, _at(plaintext), size, data, len(data), _NOTHING, nonce, key)
        return sealed

    def _open_fast(sealed: Buffer, nonce: bytes, key: bytes, data: bytes = b"") -> bytearray:
        size = len(sealed)
        plaintext = bytearray(size - TAG_SIZE if size > TAG_SIZE else 0)
        short = size < TAG_SIZE
        if short or _open_raw(_at(plaintext), _NOTHING, _NOTHING, _at(sealed), size, data, len(data), nonce, key):
            raise ValueError("not sealed under this key")
        return plaintext

    class _FastWorkspace(Workspace):
        def __init__(self, most: int, opened: int, source: Buffer = b"") -> None:
            super().__init__(most, opened, source)
            self._source_at = _at(source)
            self._opened_at = _at(self.opened)
            self._message_at = _at(self._sealed) + PREFIX_SIZE

        def open(self, buffer: Buffer, start: int, stop: int, nonce: bytes, key: bytes, at: int = 0) -> int:
            size = stop - start
            if size - TAG_SIZE > len(self.opened) - at:
                raise ValueError("no room for that")
            message = self._source_at + start if buffer is self._source else bytes(memoryview(buffer)[start:stop])
            if size < TAG_SIZE or _open_raw(
                self._opened_at + at, _NOTHING, _NOTHING, message, size, _NOTHING, 0, nonce, key
            ):
                raise ValueError("not sealed under this key")
            return size - TAG_SIZE

        def seal_framed(self, plaintext: bytes, nonce: bytes, key: bytes) -> memoryview:
            size = len(plaintext)
            if size + TAG_SIZE > self._most:
                raise ValueError(f"{size} bytes are no record")
            PREFIX.pack_into(self._sealed, 0, size + TAG_SIZE)
            _seal_raw(self._message_at, _NOTHING, plaintext, size, _NOTHING, 0, _NOTHING, nonce, key)
            return self._view[: PREFIX_SIZE + size + TAG_SIZE]

    seal, open_sealed, workspace = _seal_fast, _open_fast, _FastWorkspace  # type: ignore[assignment]
