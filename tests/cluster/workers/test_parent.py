"""The parent, as a worker sees it."""

from __future__ import annotations

import socket
from typing import Any, cast

from voltlane.cluster.handover.notes import note
from voltlane.cluster.handover.wire import Wire
from voltlane.cluster.workers.channel import CROWDED
from voltlane.cluster.workers.notes import KINDS, Hello, Kind
from voltlane.cluster.workers.parent import Parent
from voltlane.net.reactor import Reactor
from voltlane.store.keys import new_keys


def test_what_it_can_do_without_is_not_kept_while_it_stands_still() -> None:
    ours, theirs = socket.socketpair()
    reactor = Reactor()
    parent = Parent(Wire(ours, KINDS), Hello(0, 2, True, new_keys(), 0, ""), [])
    with theirs:
        parent.attach(reactor, cast(Any, None))
        for _ in range(100):
            parent.mention(note(Kind.COUNTS, 0, bytes(1 << 16)))
            reactor.turn(0)
        assert parent._channel is not None and len(parent._channel._pieces) == CROWDED
        parent.say(note(Kind.GREETED, 1))
        reactor.turn(0)
        assert len(parent._channel._pieces) == CROWDED + 1
        parent.close()
    reactor.close()
