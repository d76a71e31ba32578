"""This server as one of several: its link to the store, its number, the keys of all, and whose which session is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from ..config import Config
from ..core.budget import Budget
from ..core.counters import Counters
from ..core.hub import Hub
from ..core.ids import Ids
from ..core.session import State
from ..errors import BadProof, StartupError
from ..lanes.entry.arrival import OnSession
from ..net.reactor import Reactor
from ..ops.log import log
from ..reasons import EndReason
from ..wire.crypto import KeyPair, generate_key, load_key
from ..wire.noise import KeyPair as ChannelKey
from .handover.heritage import Heritage
from .keys.secret import read_secret
from .keys.server_keys import (
    EXIT_NO_STORE,
    START_SECS,
    Found,
    ServerKeys,
    WrongSecret,
    ask_for_keys,
    keys_at_start,
)
from .lease.keeper import LeaseKeeper, new_token
from .moved import MovedNode
from .redis.channels import Channels
from .redis.link import Link
from .redis.options import options_of
from .sessions.entry import Entry
from .sessions.finder import Finder
from .sessions.giver import Giver
from .sessions.journal import ClusterJournal, LastWords
from .sessions.moved import MovedClients
from .sessions.rows import Rows
from .sessions.scripts import SCRIPTS

if TYPE_CHECKING:
    from ..core.trunk import Trunk

PURPOSE = "handover"
AWAY = -1.0
"""In place of a time: see MovedNode."""
LEAVE_SECS = 3.0
"""How long the end of a server may wait for the store in vain."""


class LeasedIds(Ids):
    """Those of the number that this server has at the moment, while it has it."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        super().__init__()
        self._keeper = keeper

    def available(self, now: float) -> bool:
        """See Ids."""
        ids = self._keeper.ids
        return ids is not None and self._keeper.usable and ids.available(now)

    def take(self) -> int:
        """See Ids."""
        assert self._keeper.ids is not None
        return self._keeper.ids.take()


class Node:
    """One server's. It begins with what has to be there first: the keys of all, and a number."""

    def __init__(self, reactor: Reactor, config: Config, counters: Counters, budget: Budget) -> None:
        """Connects. Raises StartupError."""
        settings = config.cluster
        self._reactor = reactor
        self._counters = counters
        options = options_of(settings)
        self._sealer = read_secret(settings)
        self.link = Link(reactor, options, SCRIPTS, counters.store, budget)
        self.channels = Channels(reactor, options, counters.store)
        self.keeper = LeaseKeeper(reactor, self.link, config.general.node, settings.lease_secs, new_token())
        self.rows = Rows(self._sealer, settings.retained_bytes)
        self.moved_clients = MovedClients()
        self._patience = settings.give_up_secs
        self._stale_secs = config.clients.stale_timeout_secs
        self._listened: int | None = None
        self._was_usable = False
        self._trusted_at = AWAY  # of the process before this one
        self.journal: ClusterJournal
        self.finder: Finder
        self.giver: Giver
        self.entry: Entry

    def keys(self, key: KeyPair | None, heritage: Heritage | None = None) -> tuple[KeyPair, ChannelKey]:
        """The keys of all servers; `key` is that of version 2 if there are none yet. Waits. Who follows another process
        has that one's, and does nothing yet. Raises StartupError."""
        if heritage is not None:
            self._keys = ServerKeys.of(load_key(heritage.key), ChannelKey(heritage.channel_key))
        else:
            self.link.start()
            self.channels.start()
            own = ServerKeys.of(key or generate_key(), ChannelKey())
            self._keys = keys_at_start(self._reactor, self.link, self._sealer, own)
        self.link.watchers.append(self._keep_keys)
        return self._keys.load()

    def _keep_keys(self) -> None:
        """A store that has forgotten them has them again, before another server puts its own there."""
        if self.link.up:
            ask_for_keys(self.link, self._sealer, self._keys, self._kept_keys)

    def _kept_keys(self, found: Found) -> None:
        if isinstance(found, WrongSecret):
            log.error("the keys of the cluster: %s", found.text)
        elif isinstance(found, ServerKeys) and found != self._keys:
            log.error(
                "the store has other keys of the servers than this one, whose clients know it no more: restart it"
            )

    def join(self, hub: Hub, trunk: Trunk, on_session: OnSession, settle: Callable[[int], bool]) -> None:
        """Be a part of the server: its registry asks here for sessions, and tells what becomes of them. `settle`: see
        Clients."""
        reactor, link, registry, counters = self._reactor, self.link, hub.registry, self._counters
        self._hub, self._trunk = hub, trunk
        journal = self.journal = ClusterJournal(
            reactor, link, self.rows, self.name, self._stale_secs, lambda session: self.giver.fence(session)
        )
        journal.registry = registry
        journal.on_agreed, journal.on_refused = hub.end_for_good, self._on_refused
        hub.settle_end = journal.settle_end
        finder = self.finder = Finder(
            reactor,
            link,
            self.rows,
            journal,
            hub,
            counters,
            self.moved_clients,
            self.name,
            self._patience,
            lambda session: self.giver.fence(session),
        )
        self.giver = Giver(reactor, link, self.rows, journal, finder, hub, trunk, counters, settle)
        self.entry = Entry(reactor, link, registry, journal, finder, on_session, self.giver.fence)
        registry.journal, registry.whereabouts, registry.ids = journal, finder, LeasedIds(self.keeper)
        hub.moved, hub.note_elsewhere = self.moved_clients, self.moved_clients.add
        self.keeper.watchers.append(self._on_number)
        self.channels.watchers.append(self._on_channels)
        self._on_number()  # it may have been quick

    def start(self) -> None:
        """Get a number, and wait for it. Raises StartupError."""
        reactor = self._reactor
        self.keeper.start()
        deadline = reactor.refresh() + START_SECS
        while not (self.keeper.usable and self.channels.ready):
            if reactor.now >= deadline:
                raise StartupError(f"no number from the store within {START_SECS:g} s", EXIT_NO_STORE)
            reactor.turn(0.1)
        self.journal.start()

    def name(self) -> str:
        """What this server is called in the store, as an owner: its number, and which process that is."""
        return f"{self.keeper.number or 0}:{self.keeper.token}"

    def _on_channels(self) -> None:
        if self.channels.ready:
            self.journal.look_again()  # what was said meanwhile nobody has heard

    def _on_number(self) -> None:
        number, usable = self.keeper.number, self.keeper.usable
        if usable and not self._was_usable:
            if self._listened is not None:  # while it was not, others could take what is ours; or all is forgotten
                self.finder.distrust()
                self._keep_keys()
            self.journal.look_again()
        self._was_usable = usable
        if number is None or number == self._listened:
            return
        key, channels = self.link.key, self.channels
        if self._listened is not None:
            channels.leave(key("ask", self._listened))
            channels.leave(key("told", self._listened))
            self.journal.write_all()  # we are called something else from now on
        self._listened = number
        channels.listen(key("ask", number), self.giver.asked)
        channels.listen(key("told", number), self._told)

    def _told(self, message: bytes) -> None:
        if message.isdigit():
            self.finder.told(int(message))

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        self.journal.configure(config.clients.stale_timeout_secs)

    def _on_refused(self, client_id: int, reason: EndReason) -> None:
        """What ended here was an old copy of a session that another server has."""
        self.moved_clients.add(client_id)
        if reason is EndReason.KICKED:
            self._hub.kick_elsewhere(client_id)

    # ---- from one process to another: in between it is as if the store were away

    def rest(self, then: Callable[[], None]) -> None:
        """Say nothing more to the store; `then` is called when all that was under way is answered, or lost."""
        self.link.rest(then)

    def go_on(self) -> None:
        """This process goes on after all, with the store."""
        if self.link.kept:
            self.finder.go_on(self.finder.trusted_at)
        self.link.go_on()

    @property
    def moved(self) -> MovedNode:
        """What another process needs to be this server to all others, while it rests. Nothing is changed by that."""
        return MovedNode(
            self._sealer.seal(PURPOSE, b"", self.keeper.token.encode()),
            self.keeper.moved,
            self.finder.trusted_at if self.link.kept else AWAY,
            dict(self.journal.terms),
            self.journal.unsaid,
            self.giver.moved,
            self.moved_clients.ids,
        )

    def move_in(self, moved: MovedNode) -> None:
        """Be that one, from `follow` on. Raises StartupError."""
        try:
            token = self._sealer.open(PURPOSE, b"", moved.token).decode("ascii", "replace")
        except BadProof:
            raise StartupError("cluster.secret is another one: to change it, stop all servers") from None
        self.keeper.go_on(token, moved.lease)
        self._trusted_at = moved.trusted_at
        self.journal.move_in(moved.terms, moved.ends)
        self.giver.move_in(moved.releases)
        for client_id in moved.clients:
            self.moved_clients.add(client_id)

    def follow(self) -> None:
        """In place of `start`: the other process has said its last word to the store."""
        if self._trusted_at != AWAY:
            self.finder.go_on(self._trusted_at)
        self._on_number()
        self.link.start()
        self.channels.start()
        self.keeper.start()
        self.journal.start()

    # ---- the end

    def seal(self) -> None:
        """The server ends: what becomes of connections now is no news of their sessions, but for one that ends."""
        self.journal.registry.leave_to_the_next(LastWords(self.journal))

    def leave(self) -> None:
        """Behind the last connection: give up every session, for others to go on with as it is, and the number."""
        registry = self.journal.registry
        self.journal.stop()
        if self.link.up:
            unwritten = self._trunk.written < self._trunk.pushed
            for session in registry.stale():
                if session.id in self.journal.terms and session.state is State.STALE:
                    delivery = session.delivery
                    # Of what is not known to be safe a master may have some, all or none.
                    exact = not unwritten or delivery is None or delivery.taken == delivery.safe
                    self.giver.release(session, self.keeper.number or 0, exact)
            self._wait(lambda: self.giver.unreleased)
            left: list[bool] = []
            self.keeper.leave(lambda: left.append(True))  # behind all that: who has no number is dead to the others
            self._wait(lambda: int(not left))
            if self.giver.unreleased:
                log.warning("%d sessions could not be given up: the store did not answer", self.giver.unreleased)
        self.close()

    def _wait(self, left: Callable[[], int]) -> None:
        """For the store, until nothing is left, or nothing becomes less any more."""
        reactor, least = self._reactor, left()
        deadline = reactor.refresh() + LEAVE_SECS
        while least and self.link.up and reactor.now < deadline:
            reactor.turn(0.05)
            if left() < least:
                least, deadline = left(), reactor.now + LEAVE_SECS

    def close(self) -> None:
        """Have nothing more to do with the store."""
        self.channels.stop()
        self.link.stop()
