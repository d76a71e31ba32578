"""The stage before all others where proxies forward the connections: the header that says whose connection it is."""

from __future__ import annotations

from typing import Callable

from ...reasons import CloseReason
from ...wire.proxy import MAX_HEADER, ProxyHeader, read_header
from .stage import Newcomer, Stage


class ProxyHeaderStage(Stage):
    """`on_header(newcomer, header)` tells whether the connection may come in; where not, it has closed it."""

    __slots__ = ("_on_header", "_received")

    def __init__(self, on_header: Callable[[Newcomer, ProxyHeader], bool]) -> None:
        self._on_header = on_header
        self._received = b""

    @property
    def late(self) -> CloseReason:
        """See Stage."""
        return CloseReason.PROXY_TIMEOUT

    @property
    def waits_for(self) -> str:
        """See Stage."""
        return "its PROXY header"

    def go_on(self, newcomer: Newcomer) -> bool:
        """Look at what is there before taking it: the bytes behind the header are for the stages behind this one."""
        while (seen := newcomer.peek(MAX_HEADER - len(self._received))) is not None:
            header = read_header(self._received + seen)
            if header is not None:
                newcomer.skip(header.size - len(self._received))
                return self._on_header(newcomer, header)
            newcomer.skip(len(seen))
            self._received += seen
        return False
