"""Keys, key agreement and sealed blobs (SPEC 4).

secp256k1 by the `ecdsa` package; by libsecp256k1 (`coincurve`, the extra `fast`) where it is installed. Everything here
is a function of its arguments and of the system's random source.
"""

from __future__ import annotations

import hmac
import os
from typing import Protocol

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as _aead_open,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as _aead_seal,
)
from nacl.exceptions import CryptoError

from ..errors import BadProof, ReflectedProof
from .curve import BACKEND, PrivateKey, check_point, check_secret

__all__ = [
    "BACKEND",
    "CHALLENGE_SIZE",
    "KEY_SIZE",
    "NONCE_SIZE",
    "KeyPair",
    "check_point",
    "check_proof",
    "generate_key",
    "generate_secret",
    "hkdf_sha256",
    "load_key",
    "open_sealed",
    "seal",
    "session_key",
]

KEY_SIZE = 32
NONCE_SIZE = 24
TAG_SIZE = 16
CHALLENGE_SIZE = 32
SALT = INFO = b"VOLTLANE.NET"


class KeyPair(Protocol):
    """One side's key: what `PrivateKey` of either curve backend offers."""

    public: bytes
    secret: bytes

    def exchange(self, point: bytes) -> bytes:
        """x coordinate (32 bytes, big-endian) of the shared point. Raises BadPublicKey."""
        ...


def generate_key() -> KeyPair:
    """A new random key."""
    return PrivateKey()


def generate_secret() -> bytes:
    """32 random bytes for `load_key`: of all there are, one in 2^128 is no key, and another draw is."""
    while True:
        secret = os.urandom(KEY_SIZE)
        try:
            check_secret(secret)
            return secret
        except ValueError:  # pragma: no cover
            pass


def load_key(secret: bytes) -> KeyPair:
    """The key of this secret, 32 bytes big-endian. Raises ValueError where it is no scalar of the curve."""
    check_secret(secret)
    return PrivateKey(secret)


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes, size: int = KEY_SIZE) -> bytes:
    """HKDF with SHA-256 (RFC 5869) for outputs of at most one block, 32 bytes."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")[:size]


def session_key(own: KeyPair, peer_point: bytes) -> bytes:
    """The 32-byte key both sides derive. Raises BadPublicKey."""
    return hkdf_sha256(own.exchange(peer_point), SALT, INFO)


def seal(key: bytes, plaintext: bytes, nonce: bytes | None = None) -> bytes:
    """XChaCha20-Poly1305 without associated data: ciphertext ‖ 16-byte tag ‖ 24-byte nonce.

    The nonce is random unless given; give one only to reproduce a vector.
    """
    if nonce is None:
        nonce = os.urandom(NONCE_SIZE)
    sealed: bytes = _aead_seal(plaintext, None, nonce, key)
    return sealed + nonce


def open_sealed(key: bytes, blob: bytes) -> bytes:
    """The plaintext of a sealed blob. Raises BadProof when it is too short or was not sealed under this key."""
    if len(blob) < TAG_SIZE + NONCE_SIZE:
        raise BadProof(f"a sealed blob of {len(blob)} bytes; at least {TAG_SIZE + NONCE_SIZE} are needed")
    try:
        plaintext: bytes = _aead_open(blob[:-NONCE_SIZE], None, blob[-NONCE_SIZE:], key)
    except CryptoError:
        raise BadProof("the sealed blob does not open under this session's key") from None
    return plaintext


def check_proof(key: bytes, challenge: bytes, challenge_blob: bytes, response_blob: bytes) -> None:
    """Accept the response to a challenge, or raise.

    The challenge's own nonce is refused before anything is decrypted: such a response is the challenge reflected, which
    proves nothing (SPEC 5.2). Raises ReflectedProof, BadProof.
    """
    if response_blob[-NONCE_SIZE:] == challenge_blob[-NONCE_SIZE:]:
        raise ReflectedProof("the response carries the challenge's nonce")
    if not hmac.compare_digest(open_sealed(key, response_blob), challenge):
        raise BadProof("the response holds other bytes than the challenge")
