"""The store: it keeps the journal up to date with the registry, and gives an earlier process's sessions back.

A new session is written before its client is told the id; what else happens in a turn is written when the turn ends.
Written means given to the kernel: of that a process that dies loses nothing. It is synced to the disk every
`general.state_sync_secs`, which is what a loss of power can cost, and ids are reserved there in blocks before any of a
block is given out, so that none is given out twice whatever is lost.

A disk that is full or failing costs the journal and nothing else: the server goes on, and writes the file anew as soon
as that works. What the end could not write is lost, and the exit code says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Callable

from ..core.counters import Counters
from ..core.hub import Hub
from ..core.outbox import Chunk
from ..core.protocols.table import revive
from ..core.registry import Registry, SessionJournal
from ..core.session import Session, State
from ..core.timers import Timer
from ..net.machine import boot_id
from ..net.reactor import Handler, Reactor
from ..ops.log import log
from ..reasons import CloseReason
from ..wire.crypto import KeyPair
from ..wire.framing import count_frames
from .backlogs import FILE as BACKLOGS
from .backlogs import Backlogs, new_number, read_backlogs, write_backlogs
from .directory import StateDirectory
from .journal import FILE as JOURNAL
from .journal import Journal, read_journal
from .keyfile import load_channel_key, load_next_key, load_or_make
from .keys import Keys
from .ledger import Ledger
from .no_store import MovedStore, NoStore, Upwards
from .records import Kind, note, opened, stale
from .spool import MASTER, Spool, whose

ID_BLOCK = 1 << 20
"""Ids reserved at once, at most. With half of them left it is time for more: so many sessions may begin while a disk
fails."""
FIRST_BLOCK = 1 << 14
"""The fewest. The next process begins behind the block of one that was killed, and a second's worth of ids is hardly
ahead of the clock by then."""
SPARE = 1 << 20
"""Bytes of the past that a journal may hold however little there is of the present."""
SESSION_SIZE = 130
"""Bytes that the present needs for each session, about."""
SLICE = 500
"""Sessions written at once while the server goes on, and how many seconds apart."""
SLICE_SECS = 0.05
RETRY_SECS = 5.0


class LastWords(SessionJournal):
    """Behind `seal` connections close, which says nothing; a session that ends then is over all the same."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def renewed(self, session: Session, told: bool) -> None:
        """See SessionJournal."""
        self._store.renewed(session, told)

    def ended(self, session: Session) -> None:
        """See SessionJournal."""
        self._store.ended(session)


class SessionStore(NoStore, SessionJournal, Handler):
    """One state directory, in use. `sync_secs`: 0 leaves it to the system when it writes to the disk."""

    keeps = True

    def __init__(
        self,
        directory: StateDirectory,
        reactor: Reactor,
        counters: Counters,
        sync_secs: float,
        key: KeyPair | None = None,
        wall: Callable[[], float] = time.time,
        boot: bytes | None = None,
        keys: Keys | None = None,
    ) -> None:
        """`keys`: those of a server of which this process is a part, and which are not in this directory."""
        if keys is not None:
            key = keys.key
        super().__init__(key or load_or_make(directory, directory.has(JOURNAL) or directory.has(BACKLOGS)))
        self._directory = directory
        self._reactor = reactor
        self._counters = counters
        self._sync_secs = sync_secs
        self._wall = wall
        self._ledger, backlogs = self._found(directory)
        self.epoch = self._ledger.epoch + 1
        if keys is not None:
            self.channel_key, self.next_keys = keys.channel_key, keys.next_keys
        else:
            keyed = any(revive(credential)[0] for credential in self._ledger.credentials())
            self.channel_key = load_channel_key(directory, keyed)
            self.next_keys = load_next_key(directory)
        self._spool = Spool(backlogs, self._ledger, boot or boot_id())
        self._journal = Journal(directory, self.key.public)
        self._trunk: Upwards
        self._pending: list[bytes] = []
        self._left: Iterator[int] = iter(())  # of the sessions, those that the draft has still to be given
        self._reserve_at = 0  # with this id given out it is time to reserve more
        self._number = new_number()  # of the backlogs that this process is to leave
        self._reserving = 0  # ids up to this one are reserved once the draft is the journal
        self._syncing: Timer | None = None
        self._drafting: Timer | None = None
        self._failing_since: float | None = None
        self._ending = False
        self._sealed = False
        self._lost = False

    def _found(self, directory: StateDirectory) -> tuple[Ledger, Backlogs | None]:
        """What there is of an earlier process."""
        return read_journal(directory, self.key.public) or Ledger(), read_backlogs(directory, self.key.public)

    @property
    def healthy(self) -> bool:
        """Whether everything is written that ought to be."""
        return self._failing_since is None

    # ---- the earlier process

    def restore(self, registry: Registry, hub: Hub, trunk: Upwards) -> None:
        """See NoStore. Nothing on the disk is changed yet: a server that cannot listen has cost nobody anything."""
        self._registry, self._trunk = registry, trunk
        ledger, self._ledger = self._ledger, Ledger()
        if ledger.lost_bytes:
            log.warning("%s: the last %d bytes were cut by a crash", self._directory.name(JOURNAL), ledger.lost_bytes)
        if self._spool.given_up:
            log.warning(
                "%s is given up: the machine went down while what waited was being delivered",
                self._directory.name(BACKLOGS),
            )
        numbers = self._spool.numbers(registry.epoch)
        waiting = list(self._spool.left())
        for found in waiting:
            if found.kind is Kind.UPWARDS:
                trunk.hold(found.data, found.number)
        registry.ids.skip(ledger.reserved)
        registry.ids.last = registry.ids.next - 1
        now, wall = self._reactor.now, self._wall()
        # By the wall clock: nothing else goes on while there is no process. If it was set back meanwhile nobody gets
        # more than the limit, if it was set forward some get less.
        earlier = sorted((entry.until, client_id, entry.credential) for client_id, entry in ledger.sessions.items())
        for until, client_id, credential in earlier:
            registry.restore(client_id, credential, until - wall, now, numbers.get(client_id))
        for found in waiting:
            if found.kind is Kind.MISSED:
                hub.restore(found.number, found.data)
        self._spool.waiting = {who for who in map(whose, waiting) if who == MASTER or who in registry.sessions}
        self._counters.restored = len(registry.sessions)
        if earlier:
            over = len(earlier) - len(registry.sessions)
            log.info("sessions of an earlier process: %d, of them over: %d", len(earlier), over)

    def begin(self) -> None:
        """See NoStore."""
        with self._directory.refusing(self._directory.path):
            if self._spool.given_up:
                self._remove_spool()  # first: a journal of this process would say that it knows all of it
            self._write_anew(self._block_end())
            if not self._spool.waiting:
                self._remove_spool()
        self._registry.journal = self
        self._trunk.before_connecting = self._on_master

    # ---- another process that goes on with this one's

    @property
    def lock(self) -> int:
        """See NoStore."""
        return self._directory.lock

    @property
    def moved(self) -> MovedStore | None:
        """See NoStore. What has happened is written by then."""
        self.on_flush()
        return MovedStore(self._journal.moved, self._spool.moved)

    # ---- this process

    def opened(self, session: Session) -> None:
        """See SessionJournal. Its client is told the id next."""
        if session.credential:
            self._pending.append(opened(session.id, session.credential))
            self.on_flush()
        if session.id >= self._reserve_at:
            self._reserve()

    def renewed(self, session: Session, told: bool) -> None:
        """See SessionJournal."""
        self._note(self._described(session))
        if told:
            self.on_flush()

    def lost(self, session: Session) -> None:
        """See SessionJournal."""
        self._note(self._stale(session))

    def resumed(self, session: Session) -> None:
        """See SessionJournal."""
        self._note(note(Kind.RESUMED, session.id))
        if session.id in self._spool.waiting:
            self._spend(session.id)

    def ended(self, session: Session) -> None:
        """See SessionJournal."""
        if session.credential:
            self._note(note(Kind.ENDED, session.id))
        if session.id in self._spool.waiting:
            self._spool.waiting.discard(session.id)
            if not self._spool.waiting:
                self.on_flush()
                self._drop_spool()

    def _described(self, session: Session) -> bytes:
        """How it is."""
        if not session.credential:
            return b""
        record = opened(session.id, session.credential)
        return record + self._stale(session) if session.state is State.STALE else record

    def _stale(self, session: Session) -> bytes:
        return stale(session.id, self._wall() + session.expiry - self._reactor.now)

    def _note(self, record: bytes) -> None:
        if not self._pending:
            self._reactor.mark_dirty(self)
        self._pending.append(record)

    def on_event(self, mask: int) -> None:
        """The store has no descriptor that is watched."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """After an error of ours: what is on the disk may be wrong from here on."""
        self._failed(detail)

    def on_flush(self) -> None:
        """Write what has happened."""
        journal = self._journal
        if not self._pending or not self._write():
            return
        if self._sync_secs and self._syncing is None and journal.unsynced:
            self._syncing = self._reactor.call_later(self._sync_secs, self._sync)
        if self._drafting is None and journal.size > 2 * SESSION_SIZE * len(self._registry.sessions) + SPARE:
            self._draft(self._reactor.now)

    def _write(self) -> bool:
        pending, self._pending = self._pending, []
        return self._managed(self._journal.append, b"".join(pending))

    def _sync(self, now: float) -> None:
        self._syncing = None
        if self._block_end() - self._registry.ids.last > ID_BLOCK // 2:
            self._reserve()  # the clock has room by now for as many as a disk that fails may cost
        else:
            self._managed(self._journal.sync)

    def _reserve(self) -> None:
        last = self._block_end()
        if (
            self._journal.writable
            and self._managed(self._journal.append, note(Kind.RESERVED, last))
            and self._managed(self._journal.sync)
        ):
            self._give_out(last)

    def _block_end(self) -> int:
        """Where the next block of ids ends: not ahead of the clock, but for a little that is needed at the start."""
        ids = self._registry.ids
        given = ids.next - 1
        return min(given + ID_BLOCK, max(given + FIRST_BLOCK, ids.past(self._reactor.now)))

    def _give_out(self, last: int) -> None:
        ids = self._registry.ids
        ids.last = max(ids.last, last)
        self._reserve_at = (ids.next + ids.last) // 2

    # ---- what waited in an earlier process

    def _on_master(self) -> None:
        if MASTER in self._spool.waiting:
            self._spend(MASTER)

    def _spend(self, who: int) -> None:
        """Their part of what waited is handed over next: if this process dies from now on, it is not once more."""
        records, sync = self._spool.spend(who)
        self._pending.append(records)
        self.on_flush()
        if sync:
            self._managed(self._journal.sync)
        if not self._spool.waiting or not self._journal.writable:
            self._drop_spool()  # nothing is left in it, or nothing tells what is: it would be handed over once more

    def _drop_spool(self) -> None:
        try:
            self._remove_spool()
        except OSError as error:
            log.warning("%s cannot be removed: %s", self._directory.name(BACKLOGS), error.strerror)

    def _remove_spool(self) -> None:
        if self._spool.exists:
            self._directory.remove(BACKLOGS)
            self._spool.forget()

    # ---- writing it anew

    def _draft(self, now: float) -> None:
        self._left = iter(list(self._registry.sessions))
        self._drafting = None
        if self._managed(self._begin_draft, self._block_end()):
            self._drafting = self._reactor.call_later(SLICE_SECS, self._slice)

    def _slice(self, now: float) -> None:
        self._drafting = None
        if not self._write():  # what is described next is as it is after all that has happened
            return
        some = list(islice(self._left, SLICE))
        if self._managed(self._journal.add, self._records_of(some)):
            if some:
                self._drafting = self._reactor.call_later(SLICE_SECS, self._slice)
            else:
                self._managed(self._finish_draft)

    def _begin_draft(self, last_id: int, more: bytes = b"") -> None:
        self._reserving = last_id
        records = note(Kind.RESERVED, last_id) + note(Kind.EPOCH, self.epoch)
        self._journal.begin(records + self._spool.records(self._registry.sessions) + more)

    def _finish_draft(self) -> None:
        self._journal.finish()
        self._give_out(self._reserving)
        if self._failing_since is not None:
            log.warning(
                "%s is written again, after %.0f s",
                self._directory.name(JOURNAL),
                self._reactor.now - self._failing_since,
            )
            self._failing_since = None

    def _write_anew(self, last_id: int, more: bytes = b"") -> None:
        """All at once, where nobody waits."""
        self._begin_draft(last_id, more)
        self._journal.add(self._records_of(self._registry.sessions))
        self._finish_draft()

    def _records_of(self, ids: Iterable[int]) -> bytes:
        sessions = self._registry.sessions
        return b"".join([self._described(sessions[client_id]) for client_id in ids if client_id in sessions])

    # ---- trouble

    def _managed(self, action: Callable[..., None], *arguments: object) -> bool:
        """Whether the disk did as it was told."""
        try:
            action(*arguments)
        except OSError as error:
            self._failed(error.strerror or str(error))
            return False
        return True

    def _failed(self, why: str) -> None:
        self._counters.journal_errors += 1
        self._journal.give_up()
        self._stop_timers()
        if self._failing_since is None:
            self._failing_since = self._reactor.now
            then = "" if self._ending else f"; trying again every {RETRY_SECS:g} s"
            name = self._directory.name(JOURNAL)
            log.error("%s cannot be written: %s; what changes now would not outlive a crash%s", name, why, then)
        if not self._ending:
            self._drafting = self._reactor.call_later(RETRY_SECS, self._draft)

    def _stop_timers(self) -> None:
        for timer in (self._syncing, self._drafting):
            if timer is not None:
                self._reactor.cancel(timer)
        self._syncing = self._drafting = None

    # ---- the end

    def hurry(self) -> None:
        """See NoStore."""
        self._ending = True
        if not self.healthy:
            self._stop_timers()

    def seal(self) -> None:
        """See NoStore. The ids that were reserved and not given out are free again."""
        if self._registry.journal is not self:
            return
        self.hurry()
        self.on_flush()
        self._managed(self._journal.sync)
        current = self.healthy
        self._spool.settle()
        sealed = note(Kind.SEALED, self._number)
        if not self._managed(self._write_anew, self._registry.ids.next - 1, sealed) and not current:
            self._lost = True
            log.error("%s is not up to date: what has become of sessions is lost", self._directory.name(JOURNAL))
        self._registry.leave_to_the_next(LastWords(self))
        self._trunk.before_connecting = lambda: None
        self._stop_timers()
        self._sealed = True

    def leave(self) -> bool:
        """See NoStore."""
        if self._sealed:
            self._sealed = False
            self.on_flush()
            self._stop_timers()
            waiting = list(self._waiting())
            if waiting:
                self._keep(waiting)
            else:
                self._drop_spool()
        self._journal.give_up()
        self._directory.close()
        return not self._lost

    def _keep(self, waiting: list[tuple[Kind, int, Chunk]]) -> None:
        try:
            write_backlogs(self._directory, self.key.public, self._number, waiting)
            return
        except OSError as error:
            why = error.strerror
        self._lost = True
        up = sum([number for kind, number, _ in waiting if kind is Kind.UPWARDS])
        down = sum([count_frames(chunk) for kind, _, chunk in waiting if kind is Kind.MISSED])
        log.error(
            "%s cannot be written: %s; what waited is lost: %d packets for clients, %d for the master%s",
            self._directory.name(BACKLOGS),
            why,
            down,
            up,
            ", but for what it has of an earlier process" if self._spool.waiting else "",
        )

    def _waiting(self) -> Iterator[tuple[Kind, int, Chunk]]:
        for chunk, packets in self._trunk.release():
            yield Kind.UPWARDS, packets, chunk
        for session in self._registry.sessions.values():
            if not session.credential:
                continue
            if session.delivery is not None:
                yield Kind.NUMBERS, session.id, session.delivery.encode()
            if session.backlog is not None:
                for chunk, _ in session.backlog.take():
                    yield Kind.MISSED, session.id, chunk
