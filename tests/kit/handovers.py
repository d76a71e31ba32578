"""What there is to be handed over, one of each form: connections, sessions, the trunk and the state directory."""

from __future__ import annotations

from kit.frames import join

from voltlane.cluster.handover.heritage import Heritage
from voltlane.cluster.handover.sessions import Surroundings
from voltlane.cluster.moved import MovedEnd, MovedLease, MovedNode, MovedRelease
from voltlane.core.backlog import Backlog
from voltlane.core.budget import Budget
from voltlane.core.coded import Coded
from voltlane.core.delivery import Delivery
from voltlane.core.ids import Counting
from voltlane.core.meter import Levels, Meter, MeterLimits
from voltlane.core.outbox import Queued
from voltlane.core.protocols.flow import Flowing, shares_of
from voltlane.core.retention import Kept
from voltlane.core.session import Session, State
from voltlane.core.tombstones import Tombstone
from voltlane.lanes.entry.moved import MovedArrival, MovedHandshake, MovedRequests
from voltlane.lanes.moved import Moved, Origin, Recorded, Unconfirmed
from voltlane.lanes.udp.moved import MovedChannel, MovedPeer
from voltlane.net.udp.names import Place
from voltlane.reasons import EndReason
from voltlane.store.journal import MovedJournal
from voltlane.store.no_store import MovedStore
from voltlane.store.spool import MovedSpool
from voltlane.trunk.trunk import MovedTrunk
from voltlane.wire.v3 import Retained, Uncertain

_CHUNK = join([b"one", b"", b"three"])
_QUEUED = Queued([(_CHUNK, 3), (join([b"four"]), 1)], 5, -2)
_ORIGIN = Origin(7, 1.5, "v2", "tcp", "[::1]:5", "", "length prefix", b"", 10)
ORIGINS = [
    _ORIGIN,
    _ORIGIN._replace(lane="ws", framing="websocket", subject="CN=a,\nO=ä\udcff", source=b"\x7f\0\0\1", family=2),
]
_PLAIN = Moved(b"", b"", None, None, None)
_FLOW = Flowing(
    bytes(range(64)), 3, 2**40, shares_of(Retained(4, 2**32 - 1), 5, 6), 7, 8, 9, 10, 11, 12, 13, b"single", 1, None
)
_RECORDED = Recorded(_FLOW, b"", None, None, b"", Delivery(5, 6, 7).encode())
_KEPT = Kept([(_CHUNK, 3)], 2, _QUEUED)
STATES = [
    _PLAIN,
    _PLAIN._replace(received=b"\5\0\0\0ha", queued=_QUEUED, levels=Levels(1.5, None, 2.5)),
    _PLAIN._replace(
        framing_state=b"\2\1\1part",
        queued=Coded(_QUEUED, b"encoded", 3, 12, b"between"),
    ),
    _PLAIN._replace(recorded=_RECORDED),
    _PLAIN._replace(
        recorded=Recorded(
            _FLOW._replace(keys=b"", single=None, single_packets=0, kept=_KEPT),
            b"unsent",
            b"",
            Unconfirmed(2**64 - 1, Uncertain(3, 4)),
            b"\7\0\0\0pack",
            Delivery(1).encode(),
        ),
    ),
    _PLAIN._replace(recorded=_RECORDED._replace(unconfirmed=Unconfirmed(5, None), pong=b"pong")),
]
_HANDSHAKE = MovedHandshake("v2", b"state", "length prefix", b"", b"behind")
_ARRIVAL = MovedArrival("tcp", "[::1]:5", "", 1.5, b"", False, False, True, False, 0, b"", _HANDSHAKE)
ARRIVALS = [
    _ARRIVAL,
    _ARRIVAL._replace(source=b"\x7f\0\0\1", hearsay=True, private=True, jointed=True, unsent=b"words", passed=1),
    _ARRIVAL._replace(lane="wss", passed=2, subject="CN=a,\nO=ä\udcff", stage=_HANDSHAKE._replace(framing="websocket")),
    _ARRIVAL._replace(lane="ws", passed=1, stage=MovedRequests(b"POST / HTTP/1.1\r\n", True, "10.0.0.1:5", "[::2]:7")),
]
TRUNKS = [MovedTrunk("", b"", None), MovedTrunk("127.0.0.1:1", b"part", _QUEUED)]
STORE = MovedStore(MovedJournal(-1, 100, 90, 80), MovedSpool(2**64 - 1, True, False, [1, 2], [0, 3]))
HERITAGE = Heritage(
    123, 4, 5, "/var/lib/voltlane", b"k" * 32, b"c" * 32, ("*:42000",), "redis://store:6379/0 voltlane:", "open"
)
CHANNELS = [
    MovedChannel(7, 0, bytes(range(32)), None, 1.5, 2.5, None, 15, False, b"state"),
    MovedChannel(7, 2**32 - 1, bytes(32), Place("fe80::1", 65535, 2**32 - 1), 1.5, 2.5, 12.5, 65535, True, b""),
]
PEERS = [
    MovedPeer(7, 0, Place("192.0.2.1", 1), 1.5, 2.5, b"", (0, 0, 0, 0), False),
    MovedPeer(7, 1, Place("2001:db8::1", 5, 3), 1.5, 2.5, b"\xc0\0\2\0", (1, 2, 3, 2**64 - 1), True),
]
NODES = [
    MovedNode(b"sealed", None, -1.0, {}, [], [], []),
    MovedNode(
        b"sealed",
        MovedLease(7, 2**40, 5, 12.5, Counting(1, 2, 3, 4, 5.0)),
        6.5,
        {7: 1, 2**53: 9},
        [MovedEnd(8, 1, None), MovedEnd(9, 2, EndReason.EXPIRED)],
        [MovedRelease(10, ("session:10", "told:3"), (b"7:a", b"2", b""))],
        [11, 12],
    ),
]
STONE = Tombstone(b"V" * 40, EndReason.EXPELLED, 5, 6)
AROUND = Surroundings(Budget(), MeterLimits(10.0, 1000.0, 2.0, False, 0.0), 5.0)


def _sessions() -> list[Session]:
    plain = Session(7, b"\2" + bytes(32), None)
    full = Session(8, b"\3" + bytes(32), None)
    full.secret, full.lost, full.expiry = b"s" * 32, 3.0, 63.0
    full.delivery = Delivery(2, 3, 4)
    backlog = full.backlog = Backlog(AROUND.budget, full)
    backlog.append(_CHUNK, 3, 100, 1000)
    full.allowance = Meter(AROUND.meter, 5.0)
    full.allowance.charge(7, 100, 5.0)
    live = Session(9, b"", None)
    live.state = State.LIVE
    return [plain, full, live]


SESSIONS = _sessions()
