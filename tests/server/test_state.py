"""What the log tells on SIGUSR1, of a server whose every number is known."""

from __future__ import annotations

from kit.world import Client, DatagramsThere, world

from voltlane.reasons import DatagramDrop
from voltlane.server.state import state_lines


def test_a_server_with_nobody() -> None:
    with world(master=False) as made:
        lines = list(state_lines(made.server))
        limit = made.server.budget.limit
        assert lines[0] == f"starting; descriptors=1 timers=0 queue_memory=0 queue_memory_limit={limit}"
        assert "connections=0 in_handshake=0 live=0 stale=0 read=yes outboxes=0" in lines[1]
        assert lines[2] == "master: connected=no outbox_bytes=0 full=no read=yes"
        assert lines[4:] == ["connections closed: none", "sessions ended: none", "not accepting: no master yet"]


def test_datagrams_where_there_are_any() -> None:
    with world(master=False) as made:
        assert "datagram" not in "\n".join(state_lines(made.server))
        made.server.datagrams = DatagramsThere(channels=2, peers=1)
        made.server.counters.datagrams_up = 5
        made.server.counters.datagrams_dropped[DatagramDrop.SHORT] += 3
        lines = list(state_lines(made.server))
        assert " datagrams_up=5 " in lines[3]
        assert lines[6] == "datagrams: channels=2 peers=1; dropped: shorter than its head: 3"


def test_sessions_queues_and_reasons() -> None:
    with world() as made:
        client, slow, gone = made.new(), made.new(), made.new()
        client.send(b"up")
        gone.cut()
        slow.reading = False
        made.settle()
        made.master.send(gone.id, b"missed", b"and this")
        made.master.send(slow.id, *[bytes(10_000)] * 20)
        Client(made)  # it says nothing
        made.settle()
        (outbox,) = [connection.outbox for connection in made.server.clients.connections if connection.outbox]
        lines = list(state_lines(made.server))
        assert lines[0].startswith("ready; descriptors=5 ")
        assert lines[1] == (
            "clients: connections=3 in_handshake=1 live=2 stale=1 read=yes "
            f"outboxes=1 outbox_bytes={outbox.size} largest_outbox_bytes={outbox.size} "
            "backlogs=1 backlog_packets=2 backlog_bytes=22 addresses=0 addresses_banned=0 addresses_untracked=0"
        )
        assert lines[2] == "master: connected=yes outbox_bytes=0 full=no read=yes"
        assert lines[3].startswith("counters: accepted=4 ") and " packets_up=1 " in lines[3]
        assert lines[4] == "connections closed: peer closed: 1"
        assert lines[6] == "not accepting: nothing is in the way"
        made.master.kick(client.id)
        made.settle()
        assert list(state_lines(made.server))[5] == "sessions ended: kicked by the master: 1"
        slow.reading = True
