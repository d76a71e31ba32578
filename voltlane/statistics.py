"""What a running server tells about itself: plain values that never change again, for whoever shows them.

`Server.statistics()` makes a `Statistics`: one moment, as a whole. It costs a look at every connection and session, a
few milliseconds for ten thousand, so it is for once a second and not for once a packet.

    Statistics
      version, uptime        the package's version; seconds since the server was made
      counts                 name → number: what core.counters.Counters counts without a reason
      reasons                name → {reason → number}, none left out: `closed` by CloseReason, `ended` by EndReason,
                             `held` by Hold, `admin` by AdminEnd, `store` by StoreEnd, and `dropped_datagrams` by
                             DatagramDrop where there is an address for them
      latencies              name → Distribution in seconds: `handshake_secs`, `resume_secs`
      clients                Clients: live, stale, in their handshake
      queues                 Queues: what waits, in bytes and packets
      links                  Links: how good the clients' links are, of those that are known
      master                 MasterLink
      loop                   Loop: turns, seconds busy, lag, time per phase
      lanes                  name → LaneFigures: how many came, and are here, by each lane
      protocols              name → ProtocolFigures: the same of each protocol, and the gaps that were told
      certificates           a CertificateFigures for each in use; none without a listener for TLS
      draining               Draining, while its clients are to go elsewhere, else None
      store                  StoreFigures; None for a server that is alone
      datagrams              DatagramFigures; None for a server without an address for datagrams
      workers                a WorkerFigures for each; none where one process is the server. All else is theirs together

`Server.clients_page(...)` makes a `ClientsPage` of `ClientRow`s; `Server.client(id)` one row. What is not known is
None, never 0: the quality of a link over a unix socket, or of one that nobody has looked at yet.

Times are seconds, sizes bytes, rates bytes a second.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Distribution(NamedTuple):
    """A histogram as Prometheus has it: `counts[i]` values were at most `bounds[i]`; the last count has no bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """Cumulative; one more than there are bounds."""
    total: float
    """The sum of all values."""

    @property
    def observed(self) -> int:
        """How many values there were."""
        return self.counts[-1]

    def quantile(self, share: float) -> float | None:
        """About the value that this share (0 to 1) does not exceed, by a straight line through its bucket.

        None without values; the highest bound where the value lies past it.
        """
        if not self.observed:
            return None
        wanted, low, below = share * self.observed, 0.0, 0
        for bound, count in zip(self.bounds, self.counts):
            if count >= wanted and count > below:
                return low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return self.bounds[-1]


class Clients(NamedTuple):
    """How many clients are where."""

    live: int
    stale: int
    handshaking: int
    """Connections that have no session yet."""


class Queues(NamedTuple):
    """What waits to be written, and what is kept for those who are away."""

    master_bytes: int
    master_packets: int
    clients_bytes: int
    """The sum of all clients' outboxes."""
    clients_waiting: int
    """How many clients have something in theirs."""
    backlog_bytes: int
    backlog_packets: int
    memory_bytes: int
    """What all of it takes, with packets that are still arriving and the objects around the bytes."""
    memory_limit: int
    """What it may take."""


class Links(NamedTuple):
    """How good the links of the clients are, of those that were sampled."""

    known: int
    latency: Distribution
    """Seconds there and back."""
    loss: Distribution
    """Of a thousand segments, how many had to be sent again; where there are datagrams, how many did not come."""
    jitter: Distribution
    """Seconds by which datagrams come less evenly than they were sent."""


class MasterLink(NamedTuple):
    """The connection to the backend."""

    address: str
    """Of the one connected to, or that was last; the first to be tried, before there was one."""
    connected: bool
    connections: int
    """Made since the start."""
    full: bool
    """Whether so much waits for it that clients are not read."""
    stalled_secs: float | None
    """Seconds since its connection took anything of what waits for it; None while nothing waits, or there is none."""
    processes: int = 1
    """That have a connection each."""

    @property
    def reconnects(self) -> int:
        """Connections after the first, of each."""
        return max(0, self.connections - self.processes)


class Loop(NamedTuple):
    """How the event loop keeps up."""

    turns: int
    busy_secs: float
    """Seconds in which it was not waiting; by uptime, the share of one processor that the loop has used."""
    lag: Distribution
    """How long a turn took from the poll's return to its end: what came just after the poll waited that long."""
    phases: Mapping[str, Distribution]
    """Time in each phase, of one turn in `net.loop_metrics.SAMPLED`."""


class LaneFigures(NamedTuple):
    """The clients of one lane: "tcp", "tls", "ws", "wss", or "unix", which is tcp's on unix sockets."""

    accepted: int
    """Connections accepted since the start."""
    live: int
    """Clients that are here by it."""


class ProtocolFigures(NamedTuple):
    """The clients of one protocol: "v2", "v3", "open" (a WebSocket without a subprotocol) or "events"."""

    greeted: int
    """Handshakes that were finished since the start, of new clients and of those that came back."""
    live: int
    """Clients that are here."""
    stale: int
    """Those that are away."""
    gaps: int
    """Gaps in the numbers of packets that were told since the start, one way or the other."""


class CertificateFigures(NamedTuple):
    """One certificate that the server shows."""

    names: tuple[str, ...]
    """What it is for, in lower case; the first is what to call it."""
    expires: float
    """When, in seconds since 1970."""
    days_left: float
    """Until then, by the system's clock; below 0 when it has expired."""


class Draining(NamedTuple):
    """How far a server is in having its clients go elsewhere."""

    rate: float
    """Clients a second that are told; 0: nobody is."""
    notice_secs: float
    """Until those who come are sent away, too."""
    told: int
    """Clients that were told so far, since it began."""
    left: int
    """Clients that are here still."""


class StoreFigures(NamedTuple):
    """The store that several servers have in common."""

    up: bool
    """Whether it is connected, and takes what is written."""
    state: str
    """Why it is not; "" if it is."""
    commands: int
    """Sent to it since the start."""
    errors: int
    """Commands that were not sent, had no answer, or one that says no."""
    pending: int
    """Commands under way."""
    lag_secs: float
    """How long the oldest of these has been; without any, how long the last ones took."""
    connections: int
    """Made since the start."""


class DatagramFigures(NamedTuple):
    """What goes beside the streams, and what a relay of datagrams has."""

    packets_up: int
    """Datagrams of clients that were taken, since the start."""
    packets_down: int
    """Datagrams that were sent to them."""
    bytes_up: int
    """What is in those, without what stands around it."""
    bytes_down: int
    channels: int
    """Sessions that have datagrams beside their stream."""
    peers: int
    """Clients that are nothing but an address."""
    roamed: int
    """Times that the path of one has moved to another address."""
    challenges: int
    """Times that it was asked whether a client is at an address."""


class WorkerFigures(NamedTuple):
    """One of several processes that are a server."""

    worker: int
    """Which one."""
    state: str
    """What it does in its life, or that it is not there."""
    pid: int
    """0 while it is not there."""
    starts: int
    """How often it was started."""
    connections: int
    """That were passed on to it, and are there."""
    live: int
    stale: int
    packets_up: int
    packets_down: int
    bytes_up: int
    bytes_down: int
    busy_secs: float
    memory_bytes: int


class Statistics(NamedTuple):
    """One moment of a server. See the module's docstring."""

    version: str
    uptime: float
    counts: Mapping[str, int]
    reasons: Mapping[str, Mapping[enum.Enum, int]]
    latencies: Mapping[str, Distribution]
    clients: Clients
    queues: Queues
    links: Links
    master: MasterLink
    loop: Loop
    lanes: Mapping[str, LaneFigures]
    protocols: Mapping[str, ProtocolFigures]
    certificates: tuple[CertificateFigures, ...]
    draining: Draining | None = None
    store: StoreFigures | None = None
    workers: tuple[WorkerFigures, ...] = ()
    datagrams: DatagramFigures | None = None


SORT_KEYS = ("score", "id", "age", "queue", "in", "out", "bandwidth", "rtt", "loss", "jitter")
"""What a page of clients can be sorted by; "bandwidth" is both ways together."""


class ClientRow(NamedTuple):
    """One client, live or stale."""

    id: int
    state: str
    """One of "live" and "stale"."""
    peer: str | None
    """Its address; None while it is stale."""
    age: float
    """Seconds since it has been in that state: since its connection was accepted, or lost."""
    queue_bytes: int
    """In its outbox, or in its backlog."""
    queue_packets: int
    bytes_in: float | None = None
    """Bytes a second that it sends."""
    bytes_out: float | None = None
    """Bytes a second that it has acknowledged."""
    idle: float | None = None
    """Seconds since it sent something."""
    rtt: float | None = None
    """Seconds to it and back, smoothed."""
    rttvar: float | None = None
    """How much that varies."""
    loss: int | None = None
    """Of a thousand segments sent to it, how many had to be sent again; of its datagrams, how many did not come."""
    score: int | None = None
    """Its link's priority, as in `quality`: lower is served first."""
    unacked: int | None = None
    """Segments that it has not acknowledged yet."""
    retransmits: int | None = None
    """Segments that were sent again, since it connected."""
    delivery_rate: int | None = None
    """Bytes a second that the way to it has carried lately."""
    lane: str | None = None
    """The name of the lane that it came by, as in `Statistics.lanes`; None while it is stale."""
    protocol: str | None = None
    """The name of its session's protocol, as in `Statistics.protocols`."""
    jitter: float | None = None
    """Seconds by which its datagrams come less evenly than it sends them."""
    reordered: int | None = None
    """Of a thousand of its datagrams, how many came behind one that was sent after them."""

    def sort_value(self, key: str) -> float | None:
        """What it is sorted by, by one of SORT_KEYS."""
        if key == "bandwidth":
            known = [way for way in (self.bytes_in, self.bytes_out) if way is not None]
            return sum(known) if known else None
        value: float | None = getattr(self, _SORT_FIELDS.get(key, key))
        return value


_SORT_FIELDS = {"queue": "queue_bytes", "in": "bytes_in", "out": "bytes_out"}


def in_order(rows: Iterable[ClientRow], key: str, descending: bool) -> list[ClientRow]:
    """Sorted by what the rows themselves say, whatever they were chosen by. What is not known comes last, whatever the
    direction; of equals the lower id comes first."""

    def place(row: ClientRow) -> tuple[bool, float, int]:
        value = row.sort_value(key)
        return value is None, 0.0 if value is None else -value if descending else value, row.id

    return sorted(rows, key=place)


class ClientsPage(NamedTuple):
    """Some of the clients, in order."""

    total: int
    """How many there are in all."""
    offset: int
    """How many stand before the first row."""
    rows: tuple[ClientRow, ...]
