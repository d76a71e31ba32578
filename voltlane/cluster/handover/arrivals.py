"""What is said of a connection in its handshake: `lanes.entry.moved` ↔ the fields of a note."""

from __future__ import annotations

from struct import Struct

from ...core.protocols.table import BY_NAME
from ...lanes.entry.moved import MovedArrival, MovedHandshake, MovedRequests
from ...lanes.table import FRAMINGS, LANES
from ...store.records import Damaged
from .fields import FLAG, Reader, Writer

VERSION = 1
"""Of these fields. Whoever gets others closes that connection, and its client comes back."""
_HEAD = Struct("<BBBd")
"""Version, flags, stages passed, since."""
_HEARSAY, _PRIVATE, _UNANSWERED, _JOINTED, _SPEAKS_HTTP = 1, 2, 4, 8, 16


def encode_arrival(moved: MovedArrival) -> bytes:
    """Its fields."""
    stage = moved.stage
    flags = (
        (_HEARSAY if moved.hearsay else 0)
        | (_PRIVATE if moved.private else 0)
        | (_UNANSWERED if moved.unanswered else 0)
        | (_JOINTED if moved.jointed else 0)
        | (_SPEAKS_HTTP if isinstance(stage, MovedRequests) else 0)
    )
    writer = Writer()
    writer.put(_HEAD, VERSION, flags, moved.passed, moved.since)
    for text in (moved.lane, moved.peer, moved.subject):
        writer.text(text)
    writer.blob(moved.source)
    writer.blob(moved.unsent)
    if isinstance(stage, MovedHandshake):
        writer.text(stage.protocol)
        writer.blob(stage.state)
        writer.text(stage.framing)
        writer.blob(stage.framing_state)
        writer.blob(stage.received)
    else:
        writer.blob(stage.pending)
        writer.put(FLAG, stage.answered)
        writer.text(stage.proxy)
        writer.text(stage.client)
    return writer.done()


def decode_arrival(data: bytes) -> MovedArrival:
    """What `encode_arrival` gave. Raises Damaged."""
    reader = Reader(data)
    version, flags, passed, since = reader.take(_HEAD)
    if version != VERSION:
        raise Damaged(f"a connection as version {version} has it, where {VERSION} is known")
    lane, peer, subject = reader.text(), reader.text(), reader.text()
    source, unsent = reader.blob(), reader.blob()
    stage: MovedHandshake | MovedRequests
    if flags & _SPEAKS_HTTP:
        stage = MovedRequests(reader.blob(), bool(reader.flag(1)), reader.text(), reader.text())
    else:
        stage = MovedHandshake(reader.text(), reader.blob(), reader.text(), reader.blob(), reader.blob())
    reader.end()
    if lane not in LANES:
        raise Damaged(f"nothing here is a lane {lane}")
    if isinstance(stage, MovedHandshake):
        if stage.protocol not in BY_NAME or stage.framing not in FRAMINGS:
            raise Damaged(f"nothing here speaks {stage.protocol} in {stage.framing}")
    elif passed != len(LANES[lane].stages) or not LANES[lane].hears:
        raise Damaged(f"nothing here speaks HTTP in stage {passed} of a lane {lane}")
    return MovedArrival(
        lane,
        peer,
        subject,
        since,
        source,
        bool(flags & _HEARSAY),
        bool(flags & _PRIVATE),
        bool(flags & _UNANSWERED),
        bool(flags & _JOINTED),
        passed,
        unsent,
        stage,
    )
