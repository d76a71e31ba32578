"""What only the servers of a cluster know, and what they seal with it before the store gets it.

Each thing is sealed under a key of its own, made of the secret, what it is for and whose it is (HKDF, RFC 5869): who
can write to the store cannot put one in the place of another. An older one in the place of a newer is not noticed here.
"""

from __future__ import annotations

from ...config import Cluster
from ...config.cluster import SECRET_LEAST, SECRET_MOST, is_secret
from ...errors import StartupError
from ...wire.crypto import hkdf_sha256, open_sealed, seal
from ..redis.options import EXIT_CONFIG

_SALT = b"voltlane cluster 1"


class Sealer:
    """Seals and opens, with one secret."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode("ascii")

    def seal(self, purpose: str, whose: bytes, plaintext: bytes) -> bytes:
        """40 bytes longer than the plaintext, and never twice the same."""
        return seal(self._key(purpose, whose), plaintext)

    def open(self, purpose: str, whose: bytes, sealed: bytes) -> bytes:
        """What was sealed for the same purpose and the same one. Raises BadProof."""
        return open_sealed(self._key(purpose, whose), sealed)

    def _key(self, purpose: str, whose: bytes) -> bytes:
        return hkdf_sha256(self._secret, _SALT, purpose.encode("ascii") + b"\0" + whose)


def read_secret(settings: Cluster) -> Sealer:
    """What seals by `cluster.secret` or the file of it. Raises StartupError."""
    if settings.secret:
        return Sealer(settings.secret)
    path = settings.secret_file
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(SECRET_MOST + 2).strip()
    except UnicodeError:
        text = ""
    except OSError as error:
        raise StartupError(f"cluster.secret_file: {path} cannot be read: {error.strerror}", EXIT_CONFIG) from None
    if not is_secret(text):
        raise StartupError(
            f"cluster.secret_file: {path} has to hold one line of {SECRET_LEAST} to {SECRET_MOST} printable characters "
            "of ASCII without blanks",
            EXIT_CONFIG,
        )
    return Sealer(text)
