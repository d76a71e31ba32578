"""The hub: what becomes of a packet, of a client that comes and goes, and what the master is told."""

from __future__ import annotations

from typing import Any

import pytest
from kit.frames import join
from kit.recorders import RecorderLink, RecorderTrunk

from voltlane.core.counters import Counters
from voltlane.core.delivery import Delivery
from voltlane.core.hub import CLIENT_MOVED, CLIENT_NOT_FOUND, BacklogLimits, Hub
from voltlane.core.registry import Registry
from voltlane.core.session import Session, State
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag, Tagged
from voltlane.wire.v2 import Ping, encode


class Home:
    """A hub with everything around it."""

    def __init__(self, packets: int = 100, size: int = 10_000, drop_oldest: bool = False, **registry: Any) -> None:
        self.trunk = RecorderTrunk()
        self.counters = Counters()
        self.hub = Hub(self.trunk, self.counters, BacklogLimits(packets, size, drop_oldest))
        settings = {"stale_timeout": 300, "reap_interval": 15, "max_stale": 100, **registry}
        self.registry = Registry(on_end=self.hub.ended, on_stale=lambda: None, now=0.0, **settings)
        self.hub.registry = self.registry

    def open(self) -> tuple[Session, RecorderLink]:
        link = RecorderLink()
        return self.hub.open(b"point", link), link

    def lose(self, session: Session, *unwritten: tuple[bytes, int]) -> None:
        self.hub.lost(session, list(unwritten), now=0.0)

    def resume(self, session: Session) -> RecorderLink:
        link = RecorderLink()
        self.hub.resume(session, link, frame(encode(Ping())))
        return link

    def deliver(self, session_id: int, *payloads: bytes) -> None:
        self.hub.deliver({session_id: join(payloads)})

    def deliver_views(self, session_id: int, *payloads: bytes) -> None:
        borrowed = [bytearray(join([payload])) for payload in payloads]
        self.hub.deliver_views({session_id: [memoryview(piece) for piece in borrowed]})
        for piece in borrowed:
            piece[:] = bytes(len(piece))  # it is ours again


def notice(session: Session, flag: Flag = Flag.RECONNECTION, data: bytes = b"") -> Tagged:
    return Tagged(session.id, flag, data)


def test_the_master_is_told_nothing_of_a_new_client():
    home = Home()
    _, link = home.open()
    assert link.greetings == [] and link.sent == []
    assert home.trunk.pushed == [] and home.counters.sessions == 1


def test_data_goes_to_its_client():
    home = Home()
    (first, first_link), (second, second_link) = home.open(), home.open()
    home.hub.deliver({first.id: join([b"a", b""]), second.id: join([b"b"])})
    home.deliver_views(second.id, b"large", b"larger")
    assert first_link.sent == [b"a", b""] and second_link.sent == [b"b", b"large", b"larger"]


def test_an_unknown_client_is_reported_once_a_packet():
    home = Home()
    home.deliver(77, b"a", b"b", b"")
    home.deliver_views(78, b"large", b"larger")
    home.hub.control(Tagged(79, Flag.KICK, b""))
    not_found = [Tagged(number, Flag.FAILURE, CLIENT_NOT_FOUND) for number in (77, 77, 77, 78, 78, 79)]
    assert home.trunk.pushed == not_found and home.counters.unknown_client == 6
    assert CLIENT_NOT_FOUND == b"Client not found"


def test_reports_are_dropped_while_the_master_does_not_read():
    home = Home()
    home.trunk.congested = True
    home.deliver(77, b"a", b"b")
    assert home.trunk.pushed == [] and home.counters.notices_dropped == home.counters.unknown_client == 2


@pytest.mark.parametrize("flag", [Flag.FAILURE, Flag.RECONNECTION])
def test_a_notice_about_an_unknown_client_is_counted_and_never_answered(flag: Flag):
    """A master that sends back what it gets would be answered without end."""
    home = Home()
    home.hub.control(Tagged(77, flag, CLIENT_NOT_FOUND))
    assert home.trunk.pushed == [] and home.counters.stray_notices == 1
    assert home.counters.unknown_client == home.counters.failures_from_master == 0


def test_a_kick_of_an_unknown_client_is_answered():
    home = Home()
    home.hub.control(Tagged(77, Flag.KICK, b""))
    assert home.trunk.pushed == [Tagged(77, Flag.FAILURE, CLIENT_NOT_FOUND)] and home.counters.unknown_client == 1


# ---- several servers


def test_a_client_that_has_moved_is_told_apart():
    home = Home()
    home.hub.moved = {77}
    home.deliver(77, b"a", b"b")
    home.hub.control(Tagged(77, Flag.KICK, b""))
    home.deliver(78, b"c")
    moved = [Tagged(77, Flag.FAILURE, CLIENT_MOVED)] * 3
    assert home.trunk.pushed == [*moved, Tagged(78, Flag.FAILURE, CLIENT_NOT_FOUND)]
    assert home.counters.moved_client == 3 and home.counters.unknown_client == 1


def test_what_is_given_away_has_not_ended_for_anybody():
    """But for what did not arrive."""
    home = Home()
    session, _ = home.open()
    home.hub.moved = {session.id}
    home.hub.give_away(session, 2)
    assert home.trunk.pushed == [Tagged(session.id, Flag.FAILURE, CLIENT_MOVED)] * 2
    assert not home.hub.registry.sessions and not sum(home.counters.ended.values())
    assert session.id not in home.hub.registry.tombstones


# ---- lost and found


def test_everything_missed_once_in_order_before_anything_new():
    home = Home()
    session, _ = home.open()
    home.lose(session, (join([b"1", b"2"]), 2), (join([b"3"]), 1))
    home.deliver(session.id, b"4", b"5")
    home.deliver_views(session.id, b"6")
    link = home.resume(session)
    home.deliver(session.id, b"7")
    assert link.greetings == [encode(Ping())]
    assert link.sent == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert home.trunk.pushed == [notice(session)]
    assert home.counters.resumed == 1 and home.counters.replayed == 6
    assert session.backlog is None and session.state is State.LIVE


def test_lost_again_before_it_was_written():
    home = Home()
    session, _ = home.open()
    home.lose(session)
    home.deliver(session.id, b"1", b"2")
    home.resume(session)
    home.lose(session, (join([b"2"]), 1))
    home.deliver(session.id, b"3")
    assert home.resume(session).sent == [b"2", b"3"]


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("limits", [{"packets": 3}, {"size": 15}], ids=["packets", "bytes"])
def test_a_stale_client_past_its_limit_fails(limits: dict[str, int], views: bool):
    """And nobody is given a stream with a hole in it."""
    home = Home(**limits)
    session, _ = home.open()
    home.lose(session, (join([b"1"]), 1))
    home.deliver(session.id, b"2", b"3")
    assert session.backlog is not None and session.backlog.packets == 3 and home.trunk.take() == []
    (home.deliver_views if views else home.deliver)(session.id, b"4")
    assert session.state is State.ENDED and session.backlog is None and not home.registry.sessions
    assert home.trunk.take() == [notice(session, Flag.FAILURE, b"Client disconnected")]
    assert home.counters.ended == {EndReason.BACKLOG_FULL: 1} and home.counters.backlog_dropped == 0
    home.deliver(session.id, b"5")
    assert home.trunk.take() == [notice(session, Flag.FAILURE, CLIENT_NOT_FOUND)]


def test_a_chunk_of_which_a_part_would_fit_fails_the_client_as_well():
    home = Home(packets=3)
    session, _ = home.open()
    home.lose(session)
    home.deliver(session.id, b"1", b"2", b"3", b"4")
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"Client disconnected")]


def test_what_was_unwritten_at_a_loss_counts():
    home = Home(packets=3)
    session, _ = home.open()
    home.lose(session, (join([b"1", b"2", b"3"]), 3), (join([b"4"]), 1), (join([b"5"]), 1))
    assert session.state is State.ENDED and home.counters.ended == {EndReason.BACKLOG_FULL: 1}
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"Client disconnected")]


def test_with_a_backlog_of_none_the_first_packet_fails_the_client():
    home = Home(packets=0)
    session, _ = home.open()
    home.lose(session)
    assert home.resume(session).sent == [], "nothing was missed: nothing is lost"
    home.lose(session)
    home.deliver(session.id, b"1")
    assert home.counters.ended == {EndReason.BACKLOG_FULL: 1}


def test_the_oldest_go_where_that_is_asked_for():
    home = Home(packets=3, drop_oldest=True)
    session, _ = home.open()
    home.lose(session, (join([b"1"]), 1))
    home.deliver(session.id, b"2", b"3", b"4", b"5")
    assert home.resume(session).sent == [b"3", b"4", b"5"] and home.counters.backlog_dropped == 2


def test_all_of_them_where_nothing_is_kept():
    home = Home(packets=0, drop_oldest=True)
    session, _ = home.open()
    home.lose(session, (join([b"1", b"2"]), 2))
    home.deliver(session.id, b"3", b"4")
    home.deliver_views(session.id, b"5")
    assert session.backlog is None and home.counters.backlog_dropped == 5
    link = home.resume(session)
    assert link.sent == [] and link.greetings == [encode(Ping())]


def test_what_a_takeover_moves_is_under_the_limits_of_an_outbox():
    """Not under those of a backlog, and none of it is a replay."""
    home = Home(packets=1, size=10)
    session, old = home.open()
    old.unwritten = [(join([b"1", b"2"]), 2), (join([b"3"]), 1)]
    link = home.resume(session)
    assert link.sent == [b"1", b"2", b"3"] and link.counted == 15 and session.state is State.LIVE


def test_a_session_that_ends_by_what_its_old_connection_had_received():
    home = Home()
    session, old = home.open()
    old.on_drain = lambda: home.hub.overflow(session)
    link = home.resume(session)
    assert link.detached is CloseReason.SESSION_ENDED and link.greetings == []
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"buffer overflow")]


def test_a_session_that_becomes_stale_by_what_its_old_connection_had_received():
    home = Home()
    session, old = home.open()
    old.on_drain = lambda: home.lose(session, (join([b"1"]), 1))
    assert home.resume(session).sent == [b"1"] and session.state is State.LIVE


def test_takeover():
    """The old connection still counts as live: it is drained, its queue moves over, and it is closed."""
    home = Home()
    session, old = home.open()
    old.unwritten = [(join([b"1", b"2"]), 2)]
    drained: list[bool] = []
    old.on_drain = lambda: drained.append(old.detached is None and home.trunk.pushed == [])
    link = home.resume(session)
    home.deliver(session.id, b"3")
    assert drained == [True], "what had arrived goes up before the notice, and before the old connection is closed"
    assert old.detached is CloseReason.TAKEN_OVER and old.sent == []
    assert link.sent == [b"1", b"2", b"3"] and session.link is link
    assert home.trunk.pushed == [notice(session)]


# ---- ends


def test_a_kick_ends_a_live_client_at_once():
    home = Home()
    session, link = home.open()
    home.hub.control(notice(session, Flag.KICK))
    assert link.detached is CloseReason.KICKED
    assert session.state is State.ENDED and home.counters.ended[EndReason.KICKED] == 1
    assert home.trunk.pushed == [], "the master asked for it"
    home.deliver(session.id, b"late")
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, CLIENT_NOT_FOUND)]


def test_a_kick_ends_a_stale_client():
    home = Home()
    session, _ = home.open()
    home.lose(session, (join([b"1"]), 1))
    home.hub.control(notice(session, Flag.KICK))
    assert session.state is State.ENDED and session.backlog is None and not home.registry.sessions
    assert home.trunk.pushed == [] and home.registry.next_reap() is None


@pytest.mark.parametrize("flag", [Flag.FAILURE, Flag.RECONNECTION])
def test_other_words_of_the_master_change_nothing(flag: Flag):
    home = Home()
    session, link = home.open()
    home.hub.control(notice(session, flag, b"why"))
    assert session.state is State.LIVE and link.detached is None and home.trunk.pushed == []
    assert home.counters.failures_from_master == (flag is Flag.FAILURE)


def test_an_overflow_is_reported():
    home = Home()
    session, _ = home.open()
    home.hub.overflow(session)
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"buffer overflow")]
    assert home.counters.ended[EndReason.OVERFLOW] == 1 and session.state is State.ENDED


def test_a_reaped_client_is_reported():
    home = Home()
    session, _ = home.open()
    home.lose(session, (join([b"1"]), 1))
    home.registry.reap(now=1000.0)
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"Client disconnected")]
    assert home.counters.ended[EndReason.EXPIRED] == 1 and session.backlog is None


def test_an_evicted_client_is_reported():
    home = Home(max_stale=1)
    (first, _), (second, _) = home.open(), home.open()
    home.lose(first)
    home.lose(second)
    assert home.trunk.pushed == [notice(first, Flag.FAILURE, b"Client disconnected")]
    assert home.counters.ended[EndReason.EVICTED] == 1


def test_without_a_stale_time_a_lost_client_is_reported_at_once():
    home = Home(stale_timeout=0)
    session, _ = home.open()
    home.lose(session, (join([b"1"]), 1))
    assert home.trunk.pushed == [notice(session, Flag.FAILURE, b"Client disconnected")] and session.backlog is None


def test_each_live_client_is_announced():
    home = Home()
    assert home.hub.announcements() == b""
    (first, _), (second, _), (third, _) = home.open(), home.open(), home.open()
    home.lose(second)
    home.trunk.push(home.hub.announcements(), 2)
    assert home.trunk.pushed == [notice(first), notice(third)]


@pytest.mark.parametrize("drop_oldest", [False, True])
def test_what_was_sent_and_is_only_retained_goes_first(drop_oldest: bool):
    """Of a protocol without acks: it makes room, and costs nobody a session."""
    home = Home(packets=4, drop_oldest=drop_oldest)
    session, _ = home.open()
    delivery = session.delivery = Delivery(1)
    delivery.sent = 3
    home.lose(session, (join([b"1", b"2"]), 2), (join([b"3", b"4"]), 2))
    home.deliver(session.id, b"5", b"6", b"7")
    assert session.state is State.STALE and delivery.floor == 3 and home.counters.backlog_dropped == 0
    home.deliver(session.id, b"8")
    if drop_oldest:
        assert home.counters.backlog_dropped == 1 and home.resume(session).sent == [b"5", b"6", b"7", b"8"]
    else:
        assert home.counters.ended == {EndReason.BACKLOG_FULL: 1}


def test_more_than_all_that_was_sent_at_once():
    home = Home(packets=4)
    session, _ = home.open()
    session.delivery = Delivery(1)
    session.delivery.sent = 2
    home.lose(session, (join([b"1", b"2"]), 2))
    home.deliver(session.id, *[b"x"] * 5)
    assert home.counters.ended == {EndReason.BACKLOG_FULL: 1} and session.backlog is None
