"""Everything that is fuzzed."""

from __future__ import annotations

from fuzz.parsers import PARSERS
from fuzz.servers import SERVERS, close

TARGETS = {target.name: target for target in [*PARSERS, *SERVERS]}

__all__ = ["TARGETS", "close"]
