"""Whose a session's credential is: the first byte tells which protocol wrote it, and so which may resume it."""

from __future__ import annotations

from ...reasons import Symbol
from ...wire.v3 import MAGIC


class Kind(Symbol):
    """What a credential is."""

    NONE = "none: the session ends with its connection"
    KEY = "a public key, of version 2: a point of the curve, in any form"
    SECRETS = "secrets, of version 3"


def kind_of(credential: bytes) -> Kind:
    """That of a session."""
    if not credential:
        return Kind.NONE
    return Kind.SECRETS if credential[0] == MAGIC else Kind.KEY
