"""What happened, as plain integers: the core and the edges count, `ops` shows."""

from __future__ import annotations

from collections import Counter

from ..reasons import AdminEnd, CloseReason, DatagramDrop, EndReason, Hold, StoreEnd
from .histogram import Histogram

OF_DATAGRAMS = (
    "datagrams_up",
    "datagrams_down",
    "datagram_bytes_up",
    "datagram_bytes_down",
    "roamed",
    "challenged",
)
"""The totals of a server that has an address for datagrams; those of others stay 0, and are not told."""


class Counters:
    """One process's totals since it started."""

    __slots__ = (
        "accepted",
        "admin",
        "backlog_dropped",
        "bytes_discarded",
        "bytes_down",
        "bytes_up",
        "challenged",
        "closed",
        "datagram_bytes_down",
        "datagram_bytes_up",
        "datagrams_down",
        "datagrams_dropped",
        "datagrams_up",
        "ended",
        "failures_from_master",
        "fenced",
        "forced",
        "gaps",
        "given",
        "greeted",
        "handshake_secs",
        "held",
        "internal_errors",
        "journal_errors",
        "lanes",
        "log_unwritten",
        "master_bytes_unconfirmed",
        "master_connections",
        "moved_client",
        "notices_dropped",
        "packets_down",
        "packets_up",
        "passed_on",
        "protocol_gaps",
        "relayed",
        "replayed",
        "restored",
        "resume_secs",
        "resumed",
        "roamed",
        "sessions",
        "store",
        "stray_notices",
        "taken",
        "taken_in",
        "throttled",
        "uncertain",
        "unknown_client",
    )

    def __init__(self) -> None:
        self.accepted = 0
        # Of those, in their handshake, to where their sessions are; and those that came so, accepted elsewhere.
        self.passed_on = 0
        self.taken_in = 0
        self.relayed = 0  # of those that were passed on, the ones that are still read and written here
        self.sessions = 0
        self.resumed = 0
        self.restored = 0
        # On the firehose, with all that stands in front of the data.
        self.packets_up = 0
        self.packets_down = 0
        self.bytes_up = 0
        self.bytes_down = 0
        # Of clients, and what is in them alone; on the firehose they count as packets, where they get there.
        self.datagrams_up = 0
        self.datagrams_down = 0
        self.datagram_bytes_up = 0
        self.datagram_bytes_down = 0
        self.datagrams_dropped: Counter[DatagramDrop] = Counter()
        self.challenged = 0  # addresses of which it was asked whether their clients are there
        self.roamed = 0  # times that the path of a client's datagrams has moved
        self.throttled = 0  # times that a client was not read for a while, for its rate
        self.bytes_discarded = 0  # received on clients' connections, and not passed on when these were closed
        self.replayed = 0
        self.backlog_dropped = 0
        self.gaps = 0  # told, one way or the other: packets that will not come
        self.protocol_gaps: Counter[str] = Counter()  # the same, by the protocol of the session
        self.uncertain = 0  # packets of which a client was told that nobody knows whether they were passed on
        self.unknown_client = 0
        self.moved_client = 0  # packets from the master for clients that another server has
        # Sessions, where several servers are one: got from another one, some by force; given up to one, or found
        # to be another one's.
        self.taken = 0
        self.forced = 0
        self.given = 0
        self.fenced = 0
        self.stray_notices = 0  # failures and reconnections from the master about ids that have no session
        self.failures_from_master = 0
        self.notices_dropped = 0
        self.master_connections = 0
        self.master_bytes_unconfirmed = 0  # in the kernel when its connection was lost
        self.internal_errors = 0
        self.journal_errors = 0
        self.log_unwritten = 0  # lines
        self.closed: Counter[CloseReason] = Counter()
        self.ended: Counter[EndReason] = Counter()
        self.admin: Counter[AdminEnd] = Counter()
        self.store: Counter[StoreEnd] = Counter()
        self.held: Counter[Hold] = Counter()  # how often each began
        self.lanes: Counter[str] = Counter()  # connections accepted, by the name of their lane
        self.greeted: Counter[str] = Counter()  # handshakes that were finished, by the name of their protocol
        # From accepting the connection to the end of its handshake.
        self.handshake_secs = Histogram()  # of new clients
        self.resume_secs = Histogram()

    def gap(self, protocol: str) -> None:
        """A gap was told, in a session of this protocol."""
        self.gaps += 1
        self.protocol_gaps[protocol] += 1
