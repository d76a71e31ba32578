"""ChaCha20-Poly1305 (RFC 8439) by libsodium, as PyNaCl brings it.

PyNaCl's own functions check and convert what they are given for three times as long as a small record takes to seal; so
libsodium is called as they call it, and they are there for a PyNaCl that has it elsewhere. Every call has a buffer of
its own, since libsodium runs without Python's lock.
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


def _framed_checked(plaintext: bytes, nonce: bytes, key: bytes) -> bytes:
    sealed = _seal_checked(plaintext, nonce, key)
    return PREFIX.pack(len(sealed)) + sealed


seal, seal_framed, open_sealed = _seal_checked, _framed_checked, _open_checked

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

    def _framed_fast(plaintext: bytes, nonce: bytes, key: bytes) -> bytearray:
        size = len(plaintext)
        framed = bytearray(PREFIX_SIZE + size + TAG_SIZE)
        PREFIX.pack_into(framed, 0, size + TAG_SIZE)
        _seal_raw(_at(framed) + PREFIX_SIZE, _NOTHING, plaintext, size, _NOTHING, 0, _NOTHING, nonce, key)
        return framed

    def _open_fast(sealed: Buffer, nonce: bytes, key: bytes, data: bytes = b"") -> bytearray:
        size = len(sealed)
        plaintext = bytearray(size - TAG_SIZE if size > TAG_SIZE else 0)
        short = size < TAG_SIZE
        if short or _open_raw(_at(plaintext), _NOTHING, _NOTHING, _at(sealed), size, data, len(data), nonce, key):
            raise ValueError("not sealed under this key")
        return plaintext

    seal, seal_framed, open_sealed = _seal_fast, _framed_fast, _open_fast  # type: ignore[assignment]
