"""Which descriptors became ready. Edge-triggered: a descriptor is reported when something new happens to it, and
whoever is told reads until there is no more, or remembers that there is.

That is what epoll does with EPOLLET, at one registration in a connection's life: pausing thousands of clients costs no
system call, and neither does waiting for room to write. Elsewhere `selectors` is made to behave the same way.
"""

from __future__ import annotations

import select
import selectors

READ = 0x001
WRITE = 0x004
HANGUP = 0x2018
"""EPOLLERR, EPOLLHUP and EPOLLRDHUP: the peer is gone, or will send no more. Reported without being asked for."""

MOST_EVENTS = 1024
_WATCHED = 0x80002005
"""EPOLLIN, EPOLLOUT, EPOLLRDHUP and EPOLLET, in numbers because PyPy's select has no name for the third."""


class EpollPoller:
    """select.epoll as it is. Masks are epoll's own."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.rearm_read = None
        self.rearm_write = None

    def add(self, fd: int) -> None:
        """Report this descriptor from now on, first what it is ready for already."""
        self._epoll.register(fd, _WATCHED)

    def remove(self, fd: int) -> None:
        """Report it no more."""
        self._epoll.unregister(fd)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """(descriptor, mask) pairs. Waits up to `timeout` seconds, without end for None."""
        return self._epoll.poll(-1 if timeout is None else timeout, MOST_EVENTS)

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()


class SelectorPoller:
    """`selectors.DefaultSelector`, level-triggered: what was reported is not watched until it is armed again."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, int] = {}

    def add(self, fd: int) -> None:
        """See EpollPoller."""
        self._watched[fd] = 0
        self._watch(fd, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def remove(self, fd: int) -> None:
        """See EpollPoller."""
        if self._watched.pop(fd):
            self._selector.unregister(fd)

    def rearm_read(self, fd: int) -> None:
        """The descriptor was read until there was no more."""
        self._watch(fd, self._watched[fd] | selectors.EVENT_READ)

    def rearm_write(self, fd: int) -> None:
        """The descriptor would not take more."""
        self._watch(fd, self._watched[fd] | selectors.EVENT_WRITE)

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """See EpollPoller."""
        if not self._selector.get_map() and timeout is not None:
            select.select([], [], [], timeout)
            return []
        ready = []
        for key, events in self._selector.select(timeout):
            mask = (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
            ready.append((key.fd, mask))
            self._watch(key.fd, self._watched[key.fd] & ~events)
        return ready

    def close(self) -> None:
        """See EpollPoller."""
        self._selector.close()

    def _watch(self, fd: int, events: int) -> None:
        before = self._watched[fd]
        if events == before:
            return
        self._watched[fd] = events
        if not before:
            self._selector.register(fd, events)
        elif not events:
            self._selector.unregister(fd)
        else:
            self._selector.modify(fd, events)


DefaultPoller = EpollPoller if hasattr(select, "epoll") else SelectorPoller
