"""Settings that change while the server runs: what takes effect, what needs a restart, and what is said of either."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Callable, NamedTuple

import pytest
from kit.world import World, world

from voltlane import config
from voltlane.config import SETTINGS, Config, changes
from voltlane.config.rules import IN_ORDER
from voltlane.errors import ConfigError
from voltlane.ops.log import log
from voltlane.server import Server, parts
from voltlane.server.reload import reload
from voltlane.wire.http1.forwarded import forwarded
from voltlane.wire.tagged import Flag


def with_(**settings: object) -> Config:
    return config.load(None, {}, {name.replace("__", "."): value for name, value in settings.items()})


class TestChanges:
    def test_live_settings_are_taken_over_and_others_are_not(self) -> None:
        running = with_(clients__slow_secs=1, listener__address="127.0.0.1:1")
        wanted = with_(clients__slow_secs=2, listener__address="127.0.0.1:2", master__outbox_bytes=7)
        found = changes(running, wanted)
        assert found.config == with_(clients__slow_secs=2, listener__address="127.0.0.1:1", master__outbox_bytes=7)
        assert found.applied == ("master.outbox_bytes", "clients.slow_secs")
        assert found.pending == ("listener.address",)

    def test_what_needs_a_restart_is_told_each_time_until_there_is_one(self) -> None:
        running, wanted = config.defaults(), with_(listener__address="127.0.0.1:2")
        for _ in range(2):
            found = changes(running, wanted)
            assert (found.applied, found.pending) == ((), ("listener.address",))
            running = found.config

    def test_nothing(self) -> None:
        assert changes(config.defaults(), config.defaults()) == (config.defaults(), (), ())

    def test_settings_that_must_be_in_order_are_live_together(self) -> None:
        for pair in IN_ORDER:
            assert len({SETTINGS[name].live for name in pair}) == 1


# ---- what is said


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "voltlane")
    yield caplog


def reloaded(running: Config, source: Callable[[], Config]) -> Config:
    """What holds afterwards."""
    applied: list[Config] = []
    reload(running, source, applied.append)
    return applied[0] if applied else running


class TestLog:
    def test_names_what_took_effect_and_what_did_not_without_values(self, lines: pytest.LogCaptureFixture) -> None:
        wanted = with_(clients__slow_secs=2, clients__handshake_secs=3, master__address="secret:1")
        now = reloaded(config.defaults(), lambda: wanted)
        assert now.clients == wanted.clients and now.master == config.defaults().master
        assert [(record.levelname, record.message) for record in lines.records] == [
            ("INFO", "reloaded: clients.slow_secs, clients.handshake_secs"),
            ("WARN", "changed, but needs a restart: master.address"),
        ]

    def test_says_that_nothing_has_changed(self, lines: pytest.LogCaptureFixture) -> None:
        assert reloaded(config.defaults(), config.defaults) == config.defaults()
        assert lines.messages == ["reloaded: nothing has changed"]

    def test_a_mistake_changes_nothing_and_is_told(self, lines: pytest.LogCaptureFixture) -> None:
        def source() -> Config:
            raise ConfigError("connserver.toml:3: unknown key slow_sec")

        running = with_(clients__slow_secs=2)
        assert reloaded(running, source) is running
        assert lines.messages == ["the settings stay as they are: connserver.toml:3: unknown key slow_sec"]
        assert lines.records[0].levelname == "ERROR"

    @pytest.mark.parametrize("error", [OverflowError, RecursionError, ValueError, OSError, MemoryError, KeyError])
    def test_so_does_anything_else_that_goes_wrong(
        self, error: type[Exception], lines: pytest.LogCaptureFixture
    ) -> None:
        def source() -> Config:
            raise error("too much of it" + "!" * 10_000)

        def refuse(config: Config) -> None:
            raise error("and in a part")

        running = config.defaults()
        assert reloaded(running, source) is running
        reload(running, config.defaults, refuse)
        first, second = lines.messages
        assert first.startswith(f"the settings stay as they are: {error.__name__}: ") and len(first) < 600
        assert second.startswith(f"the settings stay as they are: {error.__name__}: ") and "and in a part" in second


# ---- every live setting reaches the part that uses it


class Use(NamedTuple):
    """A value other than the default, and where the server goes by it."""

    value: object
    where: Callable[[Server], Any]
    beside: Mapping[str, object] = MappingProxyType({})
    """Settings without which it is not allowed."""


CERTIFICATE = {"tls.certificate": ("/cert.pem",)}
USES = {
    "general.shutdown_secs": Use(1.5, lambda server: server.config.general.shutdown_secs),
    "master.channel_capacity": Use(7, lambda server: server.trunk.limits.packets),
    "master.outbox_bytes": Use(7, lambda server: server.trunk.limits.size),
    "master.reconnect_min_secs": Use(0.3, lambda server: _dialer(server).backoff.shortest),
    "master.reconnect_max_secs": Use(7.0, lambda server: _dialer(server).backoff.longest),
    "master.give_up_secs": Use(7.0, lambda server: server.config.master.give_up_secs),
    "master.stall_secs": Use(7.0, lambda server: server.trunk.limits.stall_secs),
    "limits.memory_bytes": Use(1 << 28, lambda server: server.budget.limit),
    "clients.channel_capacity": Use(7, lambda server: server.clients.pressure.limits.soft_packets),
    "clients.outbox_soft_bytes": Use(7, lambda server: server.clients.pressure.limits.soft_bytes),
    "clients.write_stall_secs": Use(7.0, lambda server: server.clients.pressure.limits.stall_secs),
    "clients.slow_secs": Use(7.0, lambda server: server.clients.pressure.limits.slow_secs),
    "clients.outbox_bytes": Use(64, lambda server: server.clients.pressure.park_above * 32),
    "clients.overflow_policy": Use(
        "block", lambda server: "block" if server.clients.pressure.limits.block else "disconnect"
    ),
    "clients.packet_rate": Use(7.0, lambda server: server.clients.meters._limits.packet_rate),
    "clients.byte_rate": Use(7.0, lambda server: server.clients.meters._limits.byte_rate),
    "clients.rate_burst_secs": Use(7.0, lambda server: server.clients.meters._limits.rate_burst_secs),
    "clients.rate_policy": Use(
        "disconnect", lambda server: "disconnect" if server.clients.meters._limits.disconnect else "throttle"
    ),
    "clients.idle_secs": Use(7.0, lambda server: server.clients.meters._limits.idle_secs),
    "clients.handshake_secs": Use(7.0, lambda server: server.arrivals._all.secs),
    "clients.packet_size_limit": Use(100, lambda server: max(server.clients.quiet, server.clients.small)),
    "clients.stale_timeout_secs": Use(7.0, lambda server: server.registry._stale_timeout),
    "clients.max_stale_clients": Use(7, lambda server: server.registry._max_stale),
    "clients.stale_reap_interval_secs": Use(7.0, lambda server: server.registry._wheel.tick),
    "clients.missed_packets_buffer_size": Use(7, lambda server: server.hub.limits.packets),
    "clients.missed_packets_buffer_bytes": Use(7, lambda server: server.hub.limits.size),
    "clients.missed_packets_policy": Use(
        "drop-oldest", lambda server: "drop-oldest" if server.hub.limits.drop_oldest else "fail"
    ),
    "clients.unencrypted": Use("never", lambda server: server.terms._unencrypted),
    "clients.window_bytes": Use(8192, lambda server: server.clients.windows.most),
    "clients.ack_secs": Use(7.0, lambda server: server.clients.receipts.secs),
    "tls.certificate": Use(("/cert.pem",), lambda server: server.certificates._options.certificate),
    "tls.key": Use(("/key.pem",), lambda server: server.certificates._options.key, CERTIFICATE),
    "tls.minimum_version": Use("1.3", lambda server: server.certificates._options.minimum_version),
    "tls.alpn": Use(("voltlane",), lambda server: server.certificates._options.alpn),
    "tls.client_certificates": Use(
        "required", lambda server: server.certificates._options.client_certificates, {"tls.client_ca": "/ca.pem"}
    ),
    "tls.client_ca": Use("/ca.pem", lambda server: server.certificates._options.client_ca),
    "web.body_bytes": Use(7, lambda server: server.doors.site._sending.body_bytes),
    "quality.sample_secs": Use(7.0, lambda server: server.sampler._interval),
    "web.origins": Use(("https://a.test",), lambda server: tuple(server.doors.site.origins._allowed)),
    "web.ping_secs": Use(7.0, lambda server: server.clients.heartbeat.secs),
    "listener.proxy_networks": Use(("10.0.0.0/8",), lambda server: server.config.listener.proxy_networks),
    "listener.proxy_tls": Use(True, lambda server: server.proxies._end_tls, {"web.forwarded": "forwarded"}),
    "web.forwarded": Use("forwarded", lambda server: "forwarded" if server.proxies._read is forwarded else "off"),
    "listener.proxy_secs": Use(7.0, lambda server: server.arrivals._unnamed.secs),
    "udp.as_data": Use(True, lambda server: server.config.udp.as_data),
    "udp.fallback": Use("drop", lambda server: server.config.udp.fallback),
    "udp.keepalive_secs": Use(7.0, lambda server: server.config.udp.keepalive_secs),
    "udp.queue_bytes": Use(7, lambda server: server.config.udp.queue_bytes),
    "udp.new_rate": Use(7.0, lambda server: server.config.udp.new_rate),
    "udp.network_rate": Use(7.0, lambda server: server.config.udp.network_rate),
    "udp.peers": Use(7, lambda server: server.config.udp.peers),
    "udp.idle_secs": Use(7.0, lambda server: server.config.udp.idle_secs),
    "udp.amplification": Use(7.0, lambda server: server.config.udp.amplification),
    "udp.cookie": Use(True, lambda server: server.config.udp.cookie),
    "limits.accept_rate": Use(7.0, lambda server: server.entrance.rate),
    "limits.connections": Use(7, lambda server: server.admission.limits.connections),
    "limits.handshakes": Use(7, lambda server: server.admission.limits.handshakes),
    "limits.address_connections": Use(7, lambda server: server.admission.limits.address_connections),
    "limits.address_rate": Use(7.0, lambda server: server.admission.limits.address_rate),
    "limits.address_burst": Use(7, lambda server: server.admission.limits.address_burst),
    "limits.address_failures": Use(7, lambda server: server.admission.limits.address_failures),
    "limits.flap_count": Use(7, lambda server: server.admission.limits.flap_count),
    "limits.flap_secs": Use(7.0, lambda server: server.admission.limits.flap_secs),
    "limits.ban_secs": Use(7.0, lambda server: server.admission.limits.ban_secs),
    "limits.ipv4_prefix": Use(7, lambda server: 32 - (server.admission._mask[4] ^ 0xFFFFFFFF).bit_length()),
    "limits.ipv6_prefix": Use(7, lambda server: 128 - (server.admission._mask[16] ^ (1 << 128) - 1).bit_length()),
    "limits.allow": Use(("10.0.0.0/8",), lambda server: server.admission.limits.allow),
    "limits.deny": Use(("10.0.0.0/8",), lambda server: server.admission.limits.deny),
    "limits.table_size": Use(7, lambda server: server.admission.limits.table_size),
}

BY_PROCESS = {"general.log_level", "general.log_format", "general.log_lines_per_minute"}
"""Those that the command line's process applies (tests/e2e/test_reload.py)."""


def _dialer(server: Server) -> Any:
    return server.firehose.dialer


def test_each_live_setting_has_its_use_here() -> None:
    assert set(USES) | BY_PROCESS == {row.name for row in SETTINGS.values() if row.live}


@pytest.mark.parametrize("name", USES)
def test_it_is_used_from_then_on(name: str) -> None:
    value, where, beside = USES[name]
    server = Server(config.defaults())
    try:
        assert where(server) != value
        server.source = lambda: config.load(None, {}, {name: value, **beside})
        server.reload()
        assert where(server) == value
    finally:
        server.wakeup.close()
        server.reactor.close()


def test_others_are_told_as_well() -> None:
    with alone() as server:
        told: list[object] = []
        server.on_apply.append(told.append)
        server.on_reload.append(told.append)
        server.source = lambda: with_(clients__slow_secs=2)
        server.reload()
        assert told == [True, with_(clients__slow_secs=2), False]
        assert server.config == told[1]


# ---- all or nothing

NEW = {
    # Each is allowed together with all others, and each is another than the default.
    name: use.value
    for name, use in USES.items()
}
NEW["clients.packet_size_limit"] = 50  # no packet may be larger than what may wait of them
PARTS = (
    "clients",
    "arrivals",
    "certificates",
    "trunk",
    "hub",
    "budget",
    "registry",
    "admission",
    "proxies",
    "entrance",
    "firehose",
    "sampler",
)
"""Whatever is told the settings."""


@contextmanager
def alone() -> Iterator[Server]:
    server = Server(config.defaults())
    try:
        yield server
    finally:
        server.close()
        server.wakeup.close()
        server.reactor.close()


def state(server: Server) -> dict[str, Any]:
    """How the server goes, setting by setting."""
    return {name: use.where(server) for name, use in USES.items()}


def failing(function: Callable[..., Any], when: str, error: Exception) -> Callable[..., Any]:
    """It fails once, before or behind what it does."""
    left = [error]

    def fails(*args: Any, **kwargs: Any) -> Any:
        if left and when == "before":
            raise left.pop()
        answer = function(*args, **kwargs)
        if left:
            raise left.pop()
        return answer

    return fails


def let_fail(monkeypatch: pytest.MonkeyPatch, server: Server, part: str, when: str, error: Exception) -> None:
    """Let this part fail once when it is told the settings."""
    if part == "memory":
        monkeypatch.setattr(parts, "memory_for_queues", failing(parts.memory_for_queues, when, error))
    elif part == "log":
        server.on_apply.append(failing(lambda config: None, when, error))
    else:
        kind = type(getattr(server, part))
        method = "limit_rate" if part == "entrance" else "configure"
        monkeypatch.setattr(kind, method, failing(getattr(kind, method), when, error))


def test_all_of_them_can_change_at_once() -> None:
    with alone() as server:
        before = state(server)
        server.source = lambda: config.load(None, {}, NEW)
        server.reload()
        assert not [name for name, value in state(server).items() if value == before[name]]


@pytest.mark.parametrize("when", ["before", "behind"])
@pytest.mark.parametrize("part", [*PARTS, "memory", "log"])
def test_where_one_part_fails_all_keep_what_they_had(
    part: str, when: str, monkeypatch: pytest.MonkeyPatch, lines: pytest.LogCaptureFixture
) -> None:
    with alone() as server:
        before, told = state(server), []
        let_fail(monkeypatch, server, part, when, OverflowError("int too large to convert to float"))
        server.on_reload.append(told.append)
        server.source = lambda: config.load(None, {}, NEW)
        server.reload()
        assert state(server) == before
        assert server.config == config.defaults()
        assert told == [True, False]
        assert lines.messages == ["the settings stay as they are: OverflowError: int too large to convert to float"]
        server.reload()  # what was wrong is mended
        assert server.config == config.load(None, {}, NEW)


@pytest.mark.parametrize("part", ["entrance", "firehose", "sampler"])
def test_nobody_is_evicted_or_judged_by_settings_that_are_refused(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a change does to those who are there cannot be undone: it waits until every part has taken the settings."""
    with world({"clients.overflow_policy": "block", "clients.outbox_bytes": 1 << 16}) as made:
        server = made.server
        away, blocking = [made.new() for _ in range(3)], made.new()
        for client in away:
            client.cut()
        blocking.reading = False
        made.master.send(blocking.id, *[bytes(10_000)] * 30)
        made.settle()
        assert server.trunk.blocked
        let_fail(monkeypatch, server, part, "before", ValueError("no"))
        server.source = lambda: with_(clients__max_stale_clients=1, clients__overflow_policy="disconnect")
        server.reload()
        assert sorted(server.registry.sessions) == [*(client.id for client in away), blocking.id]
        assert server.trunk.blocked
        blocking.reading = True


def test_the_end_of_a_reload_is_told_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(BaseException):
        pass

    def source() -> Config:
        raise Interrupted

    with alone() as server:
        told: list[bool] = []
        server.on_reload.append(told.append)
        server.source = source
        with pytest.raises(Interrupted):
            server.reload()
        assert told == [True, False]


# ---- what that does to those who are there


def change(made: World, **settings: object) -> None:
    flags = {"clients.stale_timeout_secs": 20, "clients.stale_reap_interval_secs": 3}
    flags.update({name.replace("__", "."): value for name, value in settings.items()})  # type: ignore[misc]
    made.server.configure(changes(made.server.config, config.load(None, {}, flags)).config)


def test_too_many_stale_clients_are_evicted_at_once() -> None:
    with world() as made:
        clients = [made.new() for _ in range(3)]
        for client in clients:
            client.cut()
            made.settle()
        change(made, clients__max_stale_clients=1)
        assert list(made.server.registry.sessions) == [clients[2].id]
        made.settle()
        assert len(made.master.notices(Flag.FAILURE)) == 2


def test_another_reaping_interval_counts_for_those_that_are_stale() -> None:
    with world({"clients.stale_reap_interval_secs": 1000}) as made:
        client = made.new()
        client.cut()
        made.settle()
        change(made, clients__stale_reap_interval_secs=1)
        made.pass_(19)
        assert client.id in made.server.registry.sessions
        made.pass_(3)
        assert client.id not in made.server.registry.sessions


def test_who_is_stale_keeps_the_time_it_had() -> None:
    with world() as made:
        first = made.new()
        first.cut()
        made.settle()
        change(made, clients__stale_timeout_secs=40)
        second = made.new()
        second.cut()
        made.settle()
        made.pass_(25)
        assert list(made.server.registry.sessions) == [second.id]
        made.pass_(20)


def test_a_client_that_blocks_the_firehose_does_so_no_more_under_the_other_policy() -> None:
    settings = {"clients.overflow_policy": "block", "clients.outbox_bytes": 1 << 16}
    with world(settings) as made:
        client = made.new()
        client.reading = False
        made.master.send(client.id, *[bytes(10_000)] * 30)
        made.settle()
        assert made.server.trunk.blocked
        change(made, clients__outbox_bytes=1 << 16)
        assert not made.server.trunk.blocked
        made.settle()
        assert client.id not in made.server.registry.sessions  # it was far over the limit
        client.reading = True


def test_room_for_the_master_is_judged_anew() -> None:
    with world({"master.channel_capacity": 3}, master=False) as made:
        made.connect_master()
        client = made.new()
        made.master.cut()
        made.settle()
        client.send(b"1", b"2", b"3", b"4")
        made.settle()
        assert made.server.trunk.full and made.server.clients.turns.paused
        change(made, master__channel_capacity=100)
        assert not made.server.trunk.full and not made.server.clients.turns.paused
        change(made, master__channel_capacity=2)
        assert made.server.trunk.full and made.server.clients.turns.paused
        made.connect_master()
        made.settle()


def test_clients_that_are_there_are_metered_by_the_new_rates() -> None:
    with world() as made:
        client = made.new()
        change(made, clients__packet_rate=1, clients__rate_burst_secs=1)
        client.send(*[b"x"] * 5)
        made.settle()
        client.send(b"later")
        made.settle()
        assert b"later" not in made.master.data[client.id]
        change(made, clients__packet_rate=0)
        made.settle()
        assert made.master.data[client.id][-1] == b"later"  # at once: nobody waits for a rate that is no more
        client.send(b"and", b"on")
        made.settle()
        assert made.master.data[client.id][-2:] == [b"and", b"on"]


def test_an_idle_time_that_is_set_later_counts_for_everybody() -> None:
    with world() as made:
        client = made.new()
        change(made, clients__idle_secs=5)
        made.pass_(4)
        assert not client.ended
        made.pass_(2)
        assert client.ended
