"""The table of the settings: the fields of the dataclasses below. Everything else about them is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .cluster import Cluster
from .forms import ALPN, DIAL, FILE, LISTEN, LISTEN_OR_NOT, MODE, NETWORK, PATH, TOKEN, one_of
from .limits import Limits
from .mistakes import Mistakes
from .rules import check_together
from .setting import Section, Setting, seconds, setting, settings_of
from .udp import Udp
from .web import Web

LOG_LEVELS = ("Off", "Error", "Warn", "Info", "Debug", "Trace")
PACKET_SIZE_MAX = 8 * 1024 * 1024 - 9
"""Bytes of the largest client packet: with the tag's nine in front, backends take at most 8 MiB."""

KEEPALIVE_MAX = 32767
"""Seconds, the kernel's own limit (MAX_TCP_KEEPIDLE)."""
USER_TIMEOUT_MAX = 2_000_000
"""Seconds: the kernel takes milliseconds, below 2^31 of them."""
BUFFER_MAX = 1 << 30
"""Bytes: the kernel doubles the size of a buffer, and keeps it in 31 bits."""

_SHORTEST = 0.01
"""Seconds of the shortest interval or deadline: less would only keep the processor busy."""


@dataclass(frozen=True)
class General(Section):
    """What concerns the whole process."""

    log_level: str = setting(
        "Info",
        "How much is logged, to standard error.",
        form=one_of(*LOG_LEVELS, metavar="LEVEL"),
        flag="--log-level",
        live=True,
    )
    log_format: str = setting(
        "text",
        'What a line of the log looks like. "json": one object a line, for programs that collect logs.',
        form=one_of("text", "json"),
        live=True,
    )
    log_lines_per_minute: int = setting(
        600,
        "How fast the log may grow in the long run; as many lines may come at once after a quiet time. What is left "
        "out is counted. 0 = no limit.",
        unit="lines",
        at_least=0,
        live=True,
    )
    shutdown_secs: float = seconds(
        5.0,
        "How long a server that was asked to stop may take to write what is queued for clients and master. "
        "0 = none of it is waited for.",
        at_most=3600,
        live=True,
    )
    node: int = setting(
        0,
        "Which of several servers this is. It is part of each client's id, so that no two of them give out the same.",
        at_least=0,
        at_most=255,
    )
    workers: int = setting(
        1,
        "How many processes share the clients, with one above them that accepts. Each is a server with a connection to "
        "the master of its own, its node is the next one from general.node on. 1 = one process and none above it, "
        "0 = one for each core.",
        unit="processes",
        at_least=0,
        at_most=64,
    )
    stay: bool = setting(
        False,
        "Whether the first process stays after an upgrade, to wait for the one that follows and pass signals on: for "
        "managers that know a service by the process that they started. The first process of a container always does.",
    )
    state_dir: str = setting(
        "",
        "Where the server's key and the sessions are kept, so that they outlive the process; made if it is not there, "
        'and one server\'s alone. "" = nowhere.',
        form=PATH,
    )
    state_sync_secs: float = seconds(
        1.0,
        "How often what is kept there is synced to the disk, which is as much as a loss of power can cost. "
        "0 = when the system does it by itself.",
        at_most=3600,
    )


@dataclass(frozen=True)
class Listener(Section):
    """Where clients connect."""

    address: tuple[str, ...] = setting(
        ("127.0.0.1:42000",),
        "Where clients connect to; several addresses may be of different kinds.",
        form=LISTEN,
        at_least=1,
        flag="--listen",
    )
    unix_mode: str = setting("", "Who may connect to a unix socket: the mode of its file.", form=MODE)
    proxy_protocol: str = setting(
        "off",
        'Whether connections come through a proxy that says whose they are. "required": each begins with a header of '
        "the PROXY protocol, version 1 or 2, and the address in it is what logs and limits use. Those of ws:// and "
        "wss:// have none where web.forwarded is set.",
        form=one_of("off", "required"),
    )
    proxy_networks: tuple[str, ...] = setting(
        (),
        "Where the proxies are. Who connects on a unix socket counts as one of them. Where a PROXY header is required, "
        "whoever else connects is refused.",
        form=NETWORK,
        live=True,
    )
    proxy_tls: bool = setting(
        False,
        "Whether the proxies end TLS. Then a client that came to them over TLS, as they say, may do without further "
        "encryption like one on this machine (clients.unencrypted).",
        live=True,
    )
    proxy_secs: float = seconds(
        3.0, "A connection whose PROXY header has not come by then is closed.", at_least=_SHORTEST, live=True
    )


@dataclass(frozen=True)
class Master(Section):
    """The connection to the backend."""

    address: tuple[str, ...] = setting(
        ("127.0.0.1:42001",),
        "Where the master (the backend) listens; the server connects to it. Of several the first that answers is the "
        "master.",
        form=DIAL,
        at_least=1,
        flag="--master",
    )
    channel_capacity: int = setting(
        32768,
        "Packets that may wait for the master; past that, clients are not read until it has caught up.",
        unit="packets",
        at_least=1,
        live=True,
    )
    outbox_bytes: int = setting(
        4 * 1024 * 1024,
        "Bytes that may wait for the master, beside channel_capacity; whichever is reached first counts.",
        unit="bytes",
        at_least=1,
        live=True,
    )
    reconnect_min_secs: float = seconds(
        0.1,
        "Wait before the first attempt to reconnect to a lost master; doubled with each attempt, with jitter.",
        at_least=_SHORTEST,
        live=True,
    )
    reconnect_max_secs: float = seconds(5.0, "The longest wait between two attempts.", at_least=_SHORTEST, live=True)
    keepalive_secs: float = seconds(
        30.0,
        "A master that has been silent for twice this long is lost; so is one that acknowledges nothing of what was "
        "sent to it, or leaves no room for it. 0 = as the system has it.",
        at_most=KEEPALIVE_MAX,
    )
    stall_secs: float = seconds(
        0.0,
        "A master that something waits for, and that takes none of it for so long, is given up, and another is tried. "
        "0 = never.",
        live=True,
    )
    give_up_secs: float = seconds(
        0.0, "End the process (exit code 4) when the master could not be reached for this long. 0 = never.", live=True
    )
    datagrams: bool = setting(
        False,
        "Whether clients' datagrams go to the master marked as such (flag 4), and it may send some. A backend has to "
        "know of that.",
    )


@dataclass(frozen=True)
class Clients(Section):
    """What one client may use, and how long it is remembered."""

    channel_capacity: int = setting(
        8192,
        "Packets that may wait for one client; past that for slow_secs without a break it counts as too slow.",
        unit="packets",
        at_least=1,
        live=True,
    )
    outbox_soft_bytes: int = setting(
        0,
        "Bytes that may wait for one client; past that for slow_secs it counts as too slow, too. 0 = any number.",
        unit="bytes",
        at_least=0,
        live=True,
    )
    slow_secs: float = seconds(
        10.0, "How long a client may stay over channel_capacity or outbox_soft_bytes.", live=True
    )
    outbox_bytes: int = setting(
        8 * 1024 * 1024,
        "Bytes that may wait for one client; past that it counts as too slow at once.",
        unit="bytes",
        at_least=1,
        live=True,
    )
    overflow_policy: str = setting(
        "disconnect",
        'What happens to a client that is too slow. "disconnect": it is closed and the master is told. "block": the '
        "master is not read until there is room; then one client that does not read can stall all others.",
        form=one_of("disconnect", "block"),
        live=True,
    )
    write_stall_secs: float = seconds(
        30.0,
        "A client that something waits for, and that takes none of it for so long, is closed; it may come back for it. "
        "0 = never.",
        live=True,
    )
    handshake_secs: float = seconds(
        5.0, "A client that has not finished its handshake by then is closed.", at_least=_SHORTEST, live=True
    )
    packet_size_limit: int = setting(
        PACKET_SIZE_MAX,
        "The largest packet a client may send; 8 MiB less the 9 bytes of the tag that the master gets.",
        unit="bytes",
        at_least=1,
        at_most=PACKET_SIZE_MAX,
        live=True,
    )
    packet_rate: float = setting(
        0.0,
        "Packets a second that one client may send, in the long run. 0 = any number.",
        unit="packets",
        at_least=0,
        live=True,
    )
    byte_rate: float = setting(
        0.0,
        "Bytes a second that one client may send, in the long run, beside packet_rate; both count. 0 = any number.",
        unit="bytes",
        at_least=0,
        live=True,
    )
    rate_burst_secs: float = seconds(
        1.0,
        "How many seconds' worth of them a client may send at once after a quiet time.",
        at_least=_SHORTEST,
        live=True,
    )
    rate_policy: str = setting(
        "throttle",
        'What happens to a client that sends more. "throttle": it is not read until the rate allows for what it has '
        'sent. "disconnect": it is closed, and may come back.',
        form=one_of("throttle", "disconnect"),
        live=True,
    )
    idle_secs: float = seconds(0.0, "A client that has sent nothing for so long is closed. 0 = never.", live=True)
    stale_timeout_secs: float = seconds(
        300.0, "How long a client that lost its connection can come back. 0 = it is gone at once.", live=True
    )
    max_stale_clients: int = setting(
        65535, "How many lost clients are remembered; the oldest go first.", unit="clients", at_least=0, live=True
    )
    stale_reap_interval_secs: float = seconds(
        15.0, "How often clients that stayed away too long are removed.", at_least=_SHORTEST, live=True
    )
    missed_packets_buffer_size: int = setting(
        8192,
        "Packets kept for one lost client until it is back. 0 = none: the first packet for it is one too many.",
        unit="packets",
        at_least=0,
        live=True,
    )
    missed_packets_buffer_bytes: int = setting(
        8 * 1024 * 1024,
        "Bytes kept for one lost client, beside missed_packets_buffer_size; whichever is reached first counts.",
        unit="bytes",
        at_least=0,
        live=True,
    )
    missed_packets_policy: str = setting(
        "fail",
        'What happens to a lost client when more than that is to be kept. "fail": its session ends, and the master is '
        'told. "drop-oldest": it loses the oldest; with version 2 it is not told, with version 3 it is.',
        form=one_of("fail", "drop-oldest"),
        live=True,
    )
    unencrypted: str = setting(
        "local",
        'Who may speak version 3 of the protocol without encryption. "local": this machine, unix sockets, and TLS; '
        'behind a proxy, if both are here, or as listener.proxy_tls has it. "never", "always": nobody, '
        "everybody. Version 2 has no encryption, and is not asked.",
        form=one_of("local", "never", "always"),
        live=True,
    )
    window_bytes: int = setting(
        1024 * 1024,
        "Bytes that a client may come to send ahead of what the server has read (version 3).",
        unit="bytes",
        at_least=4096,
        at_most=64 * 1024 * 1024,
        live=True,
    )
    ack_secs: float = seconds(
        0.2,
        "How long what a client has sent may be safe before it is told so, if nothing else is to be sent (version 3).",
        at_least=_SHORTEST,
        live=True,
    )
    keepalive_secs: float = seconds(
        15.0,
        "A client that has been silent for twice this long is lost. 0 = as the system has it.",
        at_most=KEEPALIVE_MAX,
    )
    user_timeout_secs: float = seconds(
        30.0,
        "A client that does not acknowledge what was sent to it, or leaves no room for it, for so long is lost. "
        "0 = as the system has it, which is a quarter of an hour.",
        at_most=USER_TIMEOUT_MAX,
    )


@dataclass(frozen=True)
class Tls(Section):
    """How clients' connections are encrypted (TLS), for addresses that begin with tls://."""

    certificate: tuple[str, ...] = setting(
        (),
        "The file of the server's certificate, in PEM, with those between it and its root behind it. Of several, each "
        "client gets the one for the name that it asks for (SNI), else the first. Read again on SIGHUP, and by a "
        "handshake when the file has changed.",
        form=FILE,
        live=True,
    )
    key: tuple[str, ...] = setting(
        (),
        "The file of its private key, without a password; of several, one for each, in the same order. "
        "none = it stands in the certificate's file.",
        form=FILE,
        live=True,
    )
    minimum_version: str = setting(
        "1.2", "The oldest version of TLS that clients may speak.", form=one_of("1.2", "1.3"), live=True
    )
    alpn: tuple[str, ...] = setting(
        (), "Names of protocols to agree on with clients that ask (ALPN), the best first.", form=ALPN, live=True
    )
    client_certificates: str = setting(
        "off",
        'Whether clients have to show a certificate. "optional": who shows one has to show one that is accepted. '
        "Whom it names is in the log.",
        form=one_of("off", "optional", "required"),
        live=True,
    )
    client_ca: str = setting(
        "", "The file of those who sign the certificates of clients, in PEM.", form=PATH, live=True
    )


@dataclass(frozen=True)
class Socket(Section):
    """How the kernel treats the connections of clients over TCP."""

    nodelay: bool = setting(True, "Send small packets at once instead of gathering them (TCP_NODELAY).")
    ttl: int = setting(
        0, "How many routers a packet may pass. 0 = as the system has it.", unit="hops", at_least=0, at_most=255
    )
    linger_secs: int = setting(
        -1,
        "How long a connection that we have closed may wait for the other side to do the same. 0 = not at all: it is "
        "reset, and what was not sent yet is dropped. -1 = as the system has it.",
        unit="seconds",
        at_least=-1,
        at_most=3600,
    )
    receive_buffer: int = setting(
        0,
        "The kernel's buffer for what one client sends. 0 = as the system has it.",
        unit="bytes",
        at_least=0,
        at_most=BUFFER_MAX,
    )
    send_buffer: int = setting(
        0,
        "The kernel's buffer for what is sent to one client. 0 = as the system has it.",
        unit="bytes",
        at_least=0,
        at_most=BUFFER_MAX,
    )
    unsent_bytes: int = setting(
        1 << 17,
        "What may wait unsent in that buffer (TCP_NOTSENT_LOWAT). More waits in the outbox, from where it goes to the "
        "backlog when the connection is lost; what the kernel has taken is gone then. 0 = as the system has it.",
        unit="bytes",
        at_least=0,
        at_most=BUFFER_MAX,
    )


@dataclass(frozen=True)
class Admin(Section):
    """What an operator sees, over HTTP. Needs the extra `web`."""

    address: str = setting(
        "",
        "Where the admin endpoint listens: figures, clients, a live page. unix:/path or a loopback address; another "
        'one only with a token. "" = nowhere.',
        form=LISTEN_OR_NOT,
        flag="--admin",
    )
    token: str = setting("", 'The secret that whoever asks must show; "" = none is needed.', form=TOKEN)


@dataclass(frozen=True)
class Quality(Section):
    """How well clients are connected."""

    sample_secs: float = seconds(
        5.0,
        "While somebody looks at the clients' links, or they wait to be read, how often the kernel is asked about "
        "each. 0 = never.",
        live=True,
    )


SECTIONS: dict[str, type[Section]] = {
    "general": General,
    "listener": Listener,
    "master": Master,
    "clients": Clients,
    "tls": Tls,
    "socket": Socket,
    "admin": Admin,
    "limits": Limits,
    "quality": Quality,
    "web": Web,
    "udp": Udp,
    "cluster": Cluster,
}


SETTINGS: dict[str, Setting] = {row.name: row for section in SECTIONS.values() for row in settings_of(section)}
"""The table, by "section.key", in the file's order."""


@dataclass(frozen=True)
class Config:
    """All settings; immutable. Wrong values are refused with ConfigError however it is made."""

    general: General = field(default_factory=General)
    listener: Listener = field(default_factory=Listener)
    master: Master = field(default_factory=Master)
    clients: Clients = field(default_factory=Clients)
    tls: Tls = field(default_factory=Tls)
    socket: Socket = field(default_factory=Socket)
    admin: Admin = field(default_factory=Admin)
    limits: Limits = field(default_factory=Limits)
    quality: Quality = field(default_factory=Quality)
    web: Web = field(default_factory=Web)
    udp: Udp = field(default_factory=Udp)
    cluster: Cluster = field(default_factory=Cluster)

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        check_together({name: self.value(name) for name in SETTINGS}, {}, mistakes)
        mistakes.tell()

    def value(self, name: str) -> Any:
        """That of one setting, by its section.key."""
        section, _, key = name.partition(".")
        return getattr(getattr(self, section), key)


def defaults() -> Config:
    """Every setting at its default."""
    return Config()
