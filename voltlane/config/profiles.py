"""Settings that go together for one use: what `voltlane init --profile` writes. docs/operations.md has them as a
table."""

from __future__ import annotations

from typing import NamedTuple

from .setting import Value

_KIB, _MIB = 1 << 10, 1 << 20
_DAY = 86400.0


class Choice(NamedTuple):
    """One setting of a profile."""

    value: Value
    why: str
    """A sentence, for who reads the file."""


class Profile(NamedTuple):
    """One use."""

    summary: str
    choices: dict[str, Choice]
    """By section.key; everything else has its default."""


OFFERED = {
    "general.state_dir": Choice(
        "/var/lib/voltlane",
        "To be set: sessions then outlive the process. Without it all of them end with it, and clients find a server "
        "with another key.",
    ),
    "master.address": Choice(("127.0.0.1:42001",), "To be set, where the backend listens elsewhere."),
    "admin.address": Choice("127.0.0.1:42002", "To be set, to look inside: `voltlane status`, the page, the metrics."),
}
"""What no profile can know, and one sets first: it stands in each as a comment, unless the profile has chosen it."""

_EVERYBODY = Choice(("*:42000",), "Clients are elsewhere: every interface.")
_STRANGERS = {
    "limits.connections": Choice(20000, "A server on the open internet is full before its memory is."),
    "limits.handshakes": Choice(1000, "Connections that are opened and left are bounded, not only ended."),
    "limits.address_connections": Choice(100, "One host cannot take all the places; an office behind one NAT fits."),
    "limits.address_rate": Choice(10.0, "One host cannot connect without end ..."),
    "limits.address_burst": Choice(100, "... but everybody in an office may come back at once."),
    "limits.address_failures": Choice(60, "Scanners, and who guesses at other people's sessions."),
    "limits.flap_count": Choice(60, "A client that comes and goes once a second is banned ..."),
    "limits.flap_secs": Choice(60.0, "... when it has done so for a minute ..."),
    "limits.ban_secs": Choice(300.0, "... for five."),
}

PROFILES = {
    "game": Profile(
        "many small packets both ways, and what is late is of no use",
        {
            "listener.address": _EVERYBODY,
            "clients.packet_size_limit": Choice(16 * _KIB, "Moves and states are small: a larger packet is a mistake."),
            "clients.packet_rate": Choice(240.0, "Four times what a game at 60 Hz sends: only a flood is slowed down."),
            "clients.byte_rate": Choice(256.0 * _KIB, "The same for a few large ones."),
            "clients.channel_capacity": Choice(1024, "Some seconds of states. Who is further behind is not playing."),
            "clients.slow_secs": Choice(5.0, "How long it may be so far behind."),
            "clients.outbox_bytes": Choice(
                1 * _MIB, "The same in bytes, at once; larger than the largest packet that the backend sends."
            ),
            "clients.write_stall_secs": Choice(10.0, "Who takes nothing for so long has lost the connection."),
            "clients.keepalive_secs": Choice(5.0, "A dead network is noticed within ten seconds ..."),
            "clients.user_timeout_secs": Choice(10.0, "... with or without something on its way."),
            "clients.stale_timeout_secs": Choice(60.0, "Who is away for longer has left the game."),
            "clients.missed_packets_buffer_bytes": Choice(
                1 * _MIB, "What a minute away may cost; the backend's next full state says the rest."
            ),
            "clients.missed_packets_policy": Choice("drop-oldest", "The latest states are those that count."),
            "clients.ack_secs": Choice(0.05, "What is safe need not be kept by who sent it."),
            "socket.unsent_bytes": Choice(
                32 * _KIB, "What waits, waits in the server, where it counts, and not in the kernel's buffer."
            ),
            "limits.handshakes": Choice(1000, "Connections that are opened and left are bounded, not only ended."),
        },
    ),
    "iot": Profile(
        "very many devices that say little, on bad networks, and are away for long",
        {
            "general.state_dir": Choice(
                "voltlane-state",
                "Sessions outlive the process, so a restart is no storm of new clients. Here, below the directory in "
                "which the server is started; /var/lib/voltlane is the usual place.",
            ),
            "listener.address": _EVERYBODY,
            "clients.packet_size_limit": Choice(64 * _KIB, "Readings are small."),
            "clients.channel_capacity": Choice(256, "Of a hundred thousand clients, each may have little."),
            "clients.outbox_bytes": Choice(256 * _KIB, "The same in bytes."),
            "clients.write_stall_secs": Choice(120.0, "A radio link may be away for a minute without being lost."),
            "clients.stale_timeout_secs": Choice(_DAY, "A device that sleeps all day is itself when it wakes up."),
            "clients.stale_reap_interval_secs": Choice(60.0, "Of a day, a minute does not matter."),
            "clients.max_stale_clients": Choice(1_000_000, "Devices that sleep are stale: all of them at once."),
            "clients.missed_packets_buffer_size": Choice(64, "A few commands for when it is awake."),
            "clients.missed_packets_buffer_bytes": Choice(16 * _KIB, "The same in bytes: a GiB for 65,536 of them."),
            "clients.missed_packets_policy": Choice(
                "drop-oldest", "The latest commands count, and an absence ends no session."
            ),
            "clients.keepalive_secs": Choice(60.0, "Each probe wakes a radio up: two minutes until a loss is noticed."),
            "clients.user_timeout_secs": Choice(120.0, "The same for what is on its way."),
            "clients.window_bytes": Choice(64 * _KIB, "What a device sends ahead is little."),
            "clients.ack_secs": Choice(1.0, "One packet of the server's less for most of a device's."),
            "limits.accept_rate": Choice(500.0, "After a power cut everybody comes back; in order, and not refused."),
        },
    ),
    "public": Profile(
        "strangers from the open internet",
        {
            "listener.address": _EVERYBODY,
            "clients.packet_size_limit": Choice(1 * _MIB, "What arrives in part takes memory."),
            "clients.outbox_bytes": Choice(
                2 * _MIB, "What waits for one who does not read; larger than the largest packet that the backend sends."
            ),
            "clients.missed_packets_buffer_bytes": Choice(1 * _MIB, "What is kept for one who is away."),
            "clients.max_stale_clients": Choice(20000, "As many may be away as may be here."),
            "clients.packet_rate": Choice(
                2000.0, "One client has not all of the processor. It is slowed down, no more."
            ),
            "clients.byte_rate": Choice(2.0 * _MIB, "Nor all of the network."),
            **_STRANGERS,
        },
    ),
    "gateway": Profile(
        "a small host with 64 MiB to spare: a router, a gateway in the field",
        {
            "general.log_lines_per_minute": Choice(60, "The log goes to a small memory, or to flash that wears out."),
            "listener.address": _EVERYBODY,
            "master.channel_capacity": Choice(4096, "Packets are objects, too, until the master has them."),
            "master.outbox_bytes": Choice(256 * _KIB, "What waits for the master is never given up: so it is little."),
            "clients.packet_size_limit": Choice(64 * _KIB, "What arrives in part takes memory."),
            "clients.channel_capacity": Choice(256, "What may wait for one client."),
            "clients.outbox_bytes": Choice(
                256 * _KIB, "The same in bytes; larger than the largest packet that the backend sends."
            ),
            "clients.max_stale_clients": Choice(200, "Who is away, at most."),
            "clients.missed_packets_buffer_size": Choice(256, "What is kept for each of them."),
            "clients.missed_packets_buffer_bytes": Choice(64 * _KIB, "The same in bytes."),
            "limits.memory_bytes": Choice(16 * _MIB, "All queues together; the interpreter needs 25 MiB besides."),
            "limits.connections": Choice(1000, "A connection costs a KiB or two, and a descriptor."),
        },
    ),
}
