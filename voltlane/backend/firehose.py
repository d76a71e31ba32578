"""The backend library: the master's side of the firehose. Connection servers connect to us, any number of them at once.

    with Firehose("127.0.0.1:42001") as firehose:
        for packet in firehose:
            if packet.is_data:
                packet.reply(packet.data)

or, with a method for each kind of packet, a subclass of `Handler`. One thread, non-blocking inside. Packets to clients
are queued and go out when the loop comes back for more: one send a connection server and batch, not one a packet.
Nothing here raises because a connection server is gone: what is sent then goes nowhere, and the answer is False.

Client ids are unique to a connection server, not among several: what names a client is the pair of link and id.

When a link is lost, each client that was last heard of there has failed, with the reason LINK_LOST: nobody can tell a
server that connects again from one that has begun anew and knows nobody (SPEC 6.1). Who is still there comes again as a
reconnection, over the new link; of the others no failure comes again. So what a loop keeps of a client it may drop at a
failure, and needs to know no links.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import time
from collections.abc import Iterator
from itertools import islice
from types import TracebackType
from typing import Callable, Optional

from ..address import Address, parse_address
from ..net.deadlines import LONGEST_POLL, deadline_after, remaining
from ..net.sockets import listening_socket, local_address, set_keepalive, set_low_delay, socket_file
from ..wire.framing import MAX_TAGGED, Buffer
from ..wire.tagged import TAG_SIZE
from .link import Packet, ServerLink, Shared

PACKET_LIMIT = MAX_TAGGED - TAG_SIZE
"""Bytes of data in the largest packet, either way."""
QUEUE_LIMIT = 4 * 1024 * 1024
SEEN_LIMIT = 1_000_000
"""Clients whose link is remembered, and as many that have failed with theirs. Of more than that the first half are
forgotten: they do not fail with their link, or fail again behind it. One that is kicked while packets of it are on the
way is never reported gone."""
ACCEPT_PAUSE_SECS = 0.5
CLOSE_SECS = 1.0
KEEPALIVE_SECS = 60

LinkHook = Optional[Callable[[ServerLink], object]]

_READ = selectors.EVENT_READ
_log = logging.getLogger("voltlane.backend")


class Firehose:
    """Listens for connection servers, and is what all of them say, as one stream of packets.

    Not for several threads: only `stop` may be called from another thread (or a signal handler).
    """

    def __init__(
        self,
        address: str | Address,
        *,
        packet_limit: int = PACKET_LIMIT,
        queue_limit: int = QUEUE_LIMIT,
        on_link: LinkHook = None,
        on_link_lost: LinkHook = None,
    ) -> None:
        """Listen. `address`: "host:port", "*:port", "[ipv6]:port" or "unix:/path"; with port 0 the system chooses.

        `packet_limit`: bytes of data in the largest packet, either way. `queue_limit`: bytes queued for a link above
        which nothing more is read from it, until half of them are gone. `on_link`: called with each new link, before
        its first packet; `on_link_lost`: behind its last, and behind the failures of its clients.

        Raises ConfigError (the address), StartupError (cannot listen there).
        """
        wanted = parse_address(address) if isinstance(address, str) else address
        self.on_link = on_link
        self.on_link_lost = on_link_lost
        self._listener = listening_socket(wanted)
        self._file = socket_file(self._listener)
        self.address = local_address(self._listener)
        """Where it listens, with the port that was chosen."""
        self._links: list[ServerLink] = []
        self._accept_again: float | None = None
        self._accepting_fails = False
        self._stopped = False
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._shared = Shared(packet_limit, queue_limit)
        self._selector = self._shared.selector
        self._selector.register(self._listener, _READ, self._accept)
        self._selector.register(self._woken, _READ, self._wake_up)

    @property
    def links(self) -> tuple[ServerLink, ...]:
        """The connection servers that are connected now, the oldest first."""
        return tuple(link for link in self._links if link.open)

    def __iter__(self) -> Iterator[Packet]:
        """Packets of all links, in order for each, until `stop` or `close` is called.

        A loop that is left early loses none: the next one goes on behind it.
        """
        batch = self._shared.batch
        while True:
            while batch:
                yield batch.popleft()
            if self._stopped:
                return
            self._fill(None)

    def poll(self, timeout: float | None = None) -> list[Packet]:
        """For loops of one's own: send what is queued, wait for packets, return those that came.

        `timeout` in seconds: None waits until there are some (or `stop` is called), 0 does not wait. The list is empty
        when there were none in time.
        """
        if not self._shared.batch and not self._stopped:
            self._fill(timeout)
        packets = list(self._shared.batch)
        self._shared.batch.clear()
        return packets

    def send(self, client_id: int, data: Buffer, link: ServerLink | None = None) -> bool:
        """Queue data for a client; it goes out when the loop asks for more packets, or with `flush`.

        Without `link` it goes to where this client was last heard of, else to the only link there is. False when there
        is none to take it: the connection server is gone, or (with several) no one knows the client. A client that is
        gone is reported by a failure packet. Raises ValueError for data over `packet_limit`.
        """
        link = link or self._link_of(client_id)
        return link is not None and link.send(client_id, data)

    def datagram(self, client_id: int, data: Buffer, link: ServerLink | None = None) -> bool:
        """Queue a datagram for a client, which may be lost, or overtaken: as `send`. Only for a server that was told
        that its master knows of datagrams (`master.datagrams = true`): any other one takes it for an error, and closes
        the link. Where the client has no way for datagrams it comes as a packet (`udp.fallback`), or not at all."""
        link = link or self._link_of(client_id)
        return link is not None and link.datagram(client_id, data)

    def kick(self, client_id: int, link: ServerLink | None = None) -> bool:
        """Drop a client at once: what is still on its way to it is dropped as well, and it cannot resume. As `send`."""
        link = link or self._link_of(client_id)
        return link is not None and link.kick(client_id)

    def fail(self, client_id: int, reason: str, link: ServerLink | None = None) -> bool:
        """Tell the connection server that a client has failed, and why. As `send`."""
        link = link or self._link_of(client_id)
        return link is not None and link.fail(client_id, reason)

    def flush(self) -> None:
        """Send what is queued, as far as the sockets take it. Iterating and `poll` do so by themselves."""
        unflushed, self._shared.unflushed = self._shared.unflushed, []
        for link in unflushed:
            if link.open and not link.waiting:
                link.flush()

    def fileno(self) -> int:
        """A descriptor that is readable when `poll(0)` has something to do (systems with epoll or kqueue)."""
        return int(self._selector.fileno())

    def stop(self) -> None:
        """End iteration, behind the packets received so far. From any thread, and from signal handlers."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def close(self, timeout: float = CLOSE_SECS) -> None:
        """Send what is queued, for at most `timeout` seconds, and close everything. Idempotent."""
        if self._closed:
            return
        self._closed = self._stopped = True
        self._shared.batch.clear()
        self._selector.unregister(self._woken)
        self._stop_accepting()
        deadline = time.monotonic() + timeout
        self.flush()
        while any(link.queued for link in self._links) and time.monotonic() < deadline:
            for key, mask in self._selector.select(remaining(deadline)):
                key.data(mask)
        self._shared.batch.clear()
        for link in self.links:
            link.close()
        self._links.clear()
        self._shared.seen.clear()
        self._selector.close()
        if self._file is not None:
            self._file.remove()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()

    def __enter__(self) -> Firehose:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Firehose at {self.address}, {len(self._links)} connection servers>"

    def _fill(self, timeout: float | None) -> None:
        """Turn until there is a packet, the time is over, or we are stopped."""
        deadline = deadline_after(timeout)
        self._report_losses()
        while not self._shared.batch and not self._stopped:
            self.flush()
            for key, mask in self._selector.select(self._wait_secs(remaining(deadline))):
                key.data(mask)
                if self._closed:  # by a hook
                    return
            if not self._shared.batch:
                self._report_losses()
            if deadline is not None and time.monotonic() >= deadline:
                break
        for memory in (self._shared.seen, self._shared.over):
            if len(memory) > SEEN_LIMIT:
                for client_id in list(islice(memory, len(memory) - SEEN_LIMIT // 2)):
                    del memory[client_id]

    def _wait_secs(self, left: float | None) -> float | None:
        """How long to poll: not beyond the time when accepting goes on. None while nothing is due."""
        if self._accept_again is not None and not remaining(self._accept_again):
            self._accept_again = None
            self._selector.register(self._listener, _READ, self._accept)
        limits = [secs for secs in (left, remaining(self._accept_again)) if secs is not None]
        return min([*limits, LONGEST_POLL]) if limits else None

    def _accept(self, _mask: int) -> None:
        try:
            sock, peer = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            # Out of descriptors or memory, or of no use any more: it would wake us without end.
            if not self._accepting_fails:
                self._accepting_fails = True
                _log.warning("cannot accept a connection server: %s", error)
            self._stop_accepting()
            self._accept_again = time.monotonic() + ACCEPT_PAUSE_SECS
            return
        self._accepting_fails = False
        try:
            sock.setblocking(False)
            set_low_delay(sock)
            set_keepalive(sock, KEEPALIVE_SECS)
        except OSError:  # gone already
            sock.close()
            return
        link = ServerLink(self._shared, sock, f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(self.address))
        self._selector.register(sock, _READ, link.ready)
        self._links.append(link)
        _log.info("%s is connected", link.peer)
        if self.on_link:
            self.on_link(link)

    def _stop_accepting(self) -> None:
        if self._accept_again is None:
            self._selector.unregister(self._listener)

    def _wake_up(self, _mask: int) -> None:
        self._woken.recv(4096)

    def _link_of(self, client_id: int) -> ServerLink | None:
        link = self._shared.seen.get(client_id)
        if link is None:
            links = self.links
            link = links[0] if len(links) == 1 else None
        return link

    def _report_losses(self) -> None:
        """Where every packet before it was given out."""
        losses, self._shared.losses = self._shared.losses, []
        for link in losses:
            self._links.remove(link)
            if self.on_link_lost:
                self.on_link_lost(link)
