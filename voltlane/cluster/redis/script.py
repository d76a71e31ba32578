"""A Lua script: done by the store as one step, and asked for by its digest, so that its text goes there once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .resp import Argument


class Script:
    """One of them. KEYS and ARGV are as in redis.io/docs/latest/develop/interact/programmability/eval-intro."""

    __slots__ = ("digest", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode("utf-8"), usedforsecurity=False).hexdigest()

    def by_digest(self, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Argument]:
        """The command for a store that has it."""
        return ["EVALSHA", self.digest, len(keys), *keys, *arguments]

    def by_text(self, keys: Sequence[str], arguments: Sequence[Argument]) -> list[Argument]:
        """The command for one that has not."""
        return ["EVAL", self.source, len(keys), *keys, *arguments]

    def load(self) -> list[Argument]:
        """The command that gives it to the store."""
        return ["SCRIPT", "LOAD", self.source]
