"""/metrics, read by Prometheus's own parser; and what is built on it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from kit.admin import Asker
from kit.lanes import tls, ws
from kit.parties import PARTIES
from kit.process import ServerProcess
from kit.raw_client import VERSION, RawClient
from kit.raw_master import tagged
from kit.rig import running
from kit.vectors import CERTIFICATES
from kit.wait import wait_until
from kit.world import DatagramsThere, World
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from voltlane.admin.exposition import expose
from voltlane.admin.figures import figures as figures_of
from voltlane.commands.inquiry import Inquiry
from voltlane.core.counters import OF_DATAGRAMS, Counters
from voltlane.lanes.fairness.sampler import ClientQuality
from voltlane.lanes.table import LANES
from voltlane.net.certificates import TlsOptions
from voltlane.reasons import AdminEnd, CloseReason, DatagramDrop, EndReason, StoreEnd
from voltlane.statistics import StoreFigures

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "voltlane.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "voltlane.json"
LABELS = {"lane", "protocol", "state", "queue", "reason", "phase", "name", "le", "version"}
"""All there are: none has a value that a client could choose."""

Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """Every sample by its name and its label's value ("" without one); the parser refuses what is no OpenMetrics."""
    found: Samples = {}
    for family in parse_openmetrics(text):
        for sample in family.samples:
            assert sample.name.startswith("voltlane_") and set(sample.labels) <= LABELS
            found[sample.name, ",".join(sample.labels.values())] = sample.value
    return found


def test_prometheus_reads_all_of_it(watched: World, asker: Asker) -> None:
    watched.new()
    answer = asker.get("/metrics", accept="application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    text = answer.body.decode()
    assert text.endswith("# EOF\n")
    found = samples(text)
    assert found["voltlane_ready", ""] == found["voltlane_master_connected", ""] == 1
    assert found["voltlane_clients", "live"] == found["voltlane_sessions_opened_total", ""] == 1
    assert found["voltlane_handshake_seconds_count", ""] == 1
    assert {reason for name, reason in found if name == "voltlane_connections_closed_total"} == {
        reason.value for reason in CloseReason
    }
    assert {reason for name, reason in found if name == "voltlane_sessions_ended_total"} == {
        reason.value for reason in EndReason
    }
    assert {reason for name, reason in found if name == "voltlane_admin_refusals_total"} == {
        reason.value for reason in AdminEnd
    }
    counted = [name for name in Counters.__slots__ if name not in OF_DATAGRAMS]
    integers = [name for name in counted if isinstance(getattr(Counters(), name), int)]
    assert len([name for name, label in found if name.endswith("_total") and not label]) == len(integers) + 2
    assert len({(family.name, family.documentation) for family in parse_openmetrics(text)}) > len(integers)


def test_the_store_of_several_servers(watched: World, asker: Asker) -> None:
    assert not [name for name, _ in scraped(asker) if name.startswith("voltlane_store_") and "ended" not in name]
    figures = StoreFigures(False, "is gone", 7, 2, 3, 0.25, 4)
    statistics = watched.server.statistics()._replace(store=figures)
    found = samples(expose(statistics, True, "application/openmetrics-text")[0].decode())
    assert found["voltlane_store_up", ""] == 0 and found["voltlane_store_commands_total", ""] == 7
    assert found["voltlane_store_errors_total", ""] == 2 and found["voltlane_store_pending", ""] == 3
    assert found["voltlane_store_lag_seconds", ""] == 0.25 and found["voltlane_store_connections_total", ""] == 4
    assert figures_of(statistics, True, "ready")["store"] == figures._asdict()
    reasons = {reason for name, reason in found if name == "voltlane_store_connections_ended_total"}
    assert reasons == {reason.value for reason in StoreEnd}


def test_datagrams_are_told_where_there_are_any(watched: World, asker: Asker) -> None:
    assert not [name for name, _ in scraped(asker) if "datagram" in name or "jitter" in name]
    told = asker.get("/stats").json
    assert "datagrams" not in told and "jitter" not in told["links"] and "dropped_datagrams" not in told["reasons"]
    assert not [name for name in told["counts"] if "datagram" in name]

    watched.server.datagrams = DatagramsThere(channels=2, peers=1)
    counters = watched.server.counters
    counters.datagrams_up, counters.datagrams_down = 30, 10
    counters.datagram_bytes_up, counters.datagram_bytes_down = 3_000, 500
    counters.roamed, counters.challenged = 3, 4
    counters.datagrams_dropped[DatagramDrop.REPLAYED] += 7
    watched.new()
    (connection,) = watched.server.clients.connections
    connection.quality = ClientQuality(0.0)
    connection.quality.set_jitter(0.004)
    found = scraped(asker)
    assert {name.removeprefix("voltlane_"): value for (name, _), value in found.items() if "_datagram_" in name} == {
        "datagram_bytes_up_total": 3_000,
        "datagram_bytes_down_total": 500,
        "datagram_channels": 2,
        "datagram_peers": 1,
        "datagram_paths_moved_total": 3,
        "datagram_challenges_total": 4,
    }
    assert found["voltlane_datagrams_up_total", ""] == 30 and found["voltlane_datagrams_down_total", ""] == 10
    dropped = {label: value for (name, label), value in found.items() if name == "voltlane_datagrams_dropped_total"}
    assert dropped == {reason.value: 7.0 * (reason is DatagramDrop.REPLAYED) for reason in DatagramDrop}
    assert found["voltlane_link_jitter_seconds_gcount", ""] == 1
    assert found["voltlane_link_jitter_seconds_gsum", ""] == 0.004
    told = asker.get("/stats").json
    assert told["datagrams"] == {
        "packets_up": 30,
        "packets_down": 10,
        "bytes_up": 3_000,
        "bytes_down": 500,
        "channels": 2,
        "peers": 1,
        "roamed": 3,
        "challenges": 4,
    }
    assert told["reasons"]["dropped_datagrams"] == {"came before": 7} and told["links"]["jitter"]["observed"] == 1
    (row,) = asker.get("/clients?sort=jitter").json["clients"]
    assert (row["jitter"], row["reordered"]) == (0.004, None)


def scraped(asker: Asker) -> Samples:
    return samples(asker.get("/metrics", accept="application/openmetrics-text").body.decode())


def test_lanes_and_protocols_have_labels(watched: World, asker: Asker) -> None:
    first, second = watched.new(), PARTIES["v3"](watched, ws)
    found = scraped(asker)
    for name in ("voltlane_lane_clients", "voltlane_lane_connections_accepted_total"):
        assert {label for each, label in found if each == name} == set(LANES)
        assert found[name, "tcp"] == found[name, "ws"] == 1 and found[name, "unix"] == 0
    assert found["voltlane_protocol_clients", "v2,live"] == found["voltlane_protocol_clients", "v3,live"] == 1
    assert found["voltlane_protocol_handshakes_total", "v3"] == 1
    rows = asker.get("/clients?sort=id&order=asc").json["clients"]
    assert [(row["lane"], row["protocol"]) for row in rows] == [("tcp", "v2"), ("ws", "v3")]
    told = asker.get("/stats").json
    assert told["protocols"]["v3"] == {"greeted": 1, "live": 1, "stale": 0, "gaps": 0}
    assert told["lanes"]["ws"] == {"accepted": 1, "live": 1} and told["certificates"] == []
    first.cut()
    second.cut()
    watched.settle()
    second.come_back(ws)
    found = scraped(asker)
    assert found["voltlane_protocol_clients", "v2,stale"] == found["voltlane_protocol_clients", "v3,live"] == 1
    assert found["voltlane_protocol_clients", "v2,live"] == found["voltlane_protocol_clients", "v3,stale"] == 0
    assert found["voltlane_protocol_handshakes_total", "v3"] == found["voltlane_lane_connections_accepted_total", "ws"]
    assert found["voltlane_protocol_handshakes_total", "v3"] == 2


def test_gaps_and_uncertain_packets(watched: World, asker: Asker) -> None:
    found = scraped(asker)
    assert {found[name, ""] for name in ("voltlane_gaps_total", "voltlane_uncertain_total")} == {0}
    watched.server.counters.gap("v3")
    watched.server.counters.uncertain += 7
    found = scraped(asker)
    assert found["voltlane_gaps_total", ""] == found["voltlane_protocol_gaps_total", "v3"] == 1
    assert found["voltlane_protocol_gaps_total", "events"] == 0 and found["voltlane_uncertain_total", ""] == 7


def test_certificates_are_there_by_their_names_where_there_is_tls(watched: World, asker: Asker) -> None:
    name = "voltlane_certificate_expiry_timestamp_seconds"
    assert not [label for each, label in scraped(asker) if each == name]
    pairs = [(str(CERTIFICATES / f"{each}.pem"), str(CERTIFICATES / f"{each}.key")) for each in ("server", "expired")]
    watched.server.certificates.load(TlsOptions(*map(tuple, zip(*pairs))))
    found = {label: value for (each, label), value in scraped(asker).items() if each == name}
    good, expired = watched.server.certificates.summary()
    assert set(expired.names) < set(good.names), "of two for one name it is the first that is shown, and told"
    assert found == dict.fromkeys(good.names, good.expires)
    told = asker.get("/stats").json["certificates"]
    assert [certificate["names"] for certificate in told] == [list(good.names), list(expired.names)]
    assert told[0]["expires"] == good.expires and told[0]["days_left"] > 0 > told[1]["days_left"]


ACCEPTED = [
    "", "*/*", "text/plain", "text/html, application/json;q=0.9", "application/openmetrics-text",
    "application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=0.0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "application/openmetrics-text;version=0.0.1,text/plain;version=1.0.0;escaping=allow-utf-8",
    "text/plain;version=0.0.4;q=0.5,application/openmetrics-text", "APPLICATION/OPENMETRICS-TEXT",
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_format_is_the_one_that_prometheus_client_chooses(asker: Asker, accept: str) -> None:
    answer = asker.get("/metrics", accept=accept)
    _, wanted = choose_encoder(accept)
    assert answer.headers["content-type"] == wanted
    text, openmetrics = answer.body.decode(), wanted.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n") is openmetrics and text.count("# EOF") == openmetrics
    families = {family.name for family in (parse_openmetrics if openmetrics else parse_text)(text)}
    assert {"voltlane_ready", "voltlane_sessions_opened"} <= families
    assert ("# TYPE voltlane_sessions_opened counter\n" in text) is openmetrics
    assert ("# TYPE voltlane_sessions_opened_total counter\n" in text) is not openmetrics


def test_who_names_no_format_gets_the_older_text(asker: Asker) -> None:
    answer = asker.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("version", ["one", "1.x", "1.0.0\xe9", "9" * 5000, ""])
def test_a_version_that_is_none_is_no_trouble(asker: Asker, version: str) -> None:
    for kind in ("application/openmetrics-text", "text/plain"):
        assert asker.get("/metrics", accept=f"{kind}; version={version}").status == 200


# ---- under load


class _Scraper:
    """Somebody who scrapes, and sees that no counter ever goes back."""

    def __init__(self, server: ServerProcess) -> None:
        server.wait_for_log("the admin endpoint is at ")
        found = re.search(r"the admin endpoint is at (\S+)", server.log)
        assert found
        from voltlane.address import parse_address

        self._inquiry = Inquiry(parse_address(found[1]), "")
        self._before: Samples = {}

    def scrape(self) -> Samples:
        connection = self._inquiry._connection
        connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
        now = samples(connection.getresponse().read().decode())
        for key, value in self._before.items():
            now_only = key[0].startswith("voltlane_link_")  # a histogram of this moment goes down as well
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")) and not now_only:
                assert now[key] >= value, key
        self._before = now
        return now

    def say_nonsense(self) -> None:
        with socket.create_connection((self._inquiry.address.host, self._inquiry.address.port), timeout=20) as stranger:
            stranger.sendall(b"nonsense\r\n\r\n")
            while stranger.recv(4096):
                pass


def test_every_counter_moves_as_the_model_says() -> None:
    """A known course of events with scrapes in the middle of it; at the end each counter is what it ought to be."""
    clients_, packets, size = 20, 50, 40
    settings = {
        "admin.address": "127.0.0.1:0",
        "clients.missed_packets_buffer_size": 5,
        "clients.missed_packets_policy": "drop-oldest",
    }
    with running(settings) as rig:
        assert isinstance(rig.server, ServerProcess)
        scraper = _Scraper(rig.server)
        assert scraper.scrape()["voltlane_master_connections_total", ""] == 1
        clients = [rig.new() for _ in range(clients_)]
        for client in clients:  # up, with scrapes in between, and back down
            client.send(*[b"u" * size] * packets)
            scraper.scrape()
        for client in clients:
            for _ in range(packets):
                rig.master.recv_for(client.client_id)
            rig.master.send(client.client_id, *[b"d" * size] * packets)
            scraper.scrape()
        for client in clients:
            for _ in range(packets):
                assert client.recv() == b"d" * size
        away = clients[0]
        assert away.leave() == []
        wait_until(lambda: scraper.scrape()["voltlane_clients", "stale"] == 1, "one to be away")
        rig.master.send(away.client_id, *[b"missed"] * 8)
        wait_until(lambda: scraper.scrape()["voltlane_queue_packets", "backlog"] == 5, "its backlog")
        assert scraper.scrape()["voltlane_queue_bytes", "backlog"] == 5 * (4 + len(b"missed"))
        back = rig.back(away)
        assert [back.recv() for _ in range(5)] == [b"missed"] * 5
        rig.master.kick(clients[1].client_id)
        assert list(clients[1].rest()) == []
        rig.master.send_raw(tagged(clients[2].client_id, b"a reason", 1))
        rig.master.send_raw(tagged(987654, b"no reason", 1) + tagged(987654, b"", 3))
        rig.master.send(987654, b"nobody", b"nobody")
        garbage(rig.stranger(), b"\xff" * 8)
        garbage(rig.stranger(), VERSION + VERSION)
        scraper.say_nonsense()
        rig.master.fence()

        tag = 4 + 9  # bytes in front of the data on the firehose
        sent = clients_ * packets
        own = [b"", *[b"Client not found"] * 3]  # a reconnection; answers to two packets for nobody and to the fence
        other = [*[b"missed"] * 8, b"nobody", b"nobody", b"fence"]
        other += [b"", b"a reason", b"no reason", b""]  # a kick, failures, and a reconnection
        expected = {
            ("voltlane_connections_accepted_total", ""): clients_ + 1 + 2,
            ("voltlane_sessions_opened_total", ""): clients_,
            ("voltlane_sessions_resumed_total", ""): 1,
            ("voltlane_packets_replayed_total", ""): 5,
            ("voltlane_backlog_packets_dropped_total", ""): 3,
            ("voltlane_gaps_total", ""): 0,
            ("voltlane_uncertain_total", ""): 0,
            ("voltlane_packets_up_total", ""): sent + len(own),
            ("voltlane_packets_down_total", ""): sent + len(other),
            ("voltlane_bytes_up_total", ""): sent * (tag + size) + sum(tag + len(data) for data in own),
            ("voltlane_bytes_down_total", ""): sent * (tag + size) + sum(tag + len(data) for data in other),
            ("voltlane_unknown_client_packets_total", ""): 3,
            ("voltlane_master_failures_total", ""): 1,
            ("voltlane_stray_notices_total", ""): 2,
            ("voltlane_bytes_discarded_total", ""): 0,
            ("voltlane_internal_errors_total", ""): 0,
            ("voltlane_notices_dropped_total", ""): 0,
            ("voltlane_log_lines_unwritten_total", ""): 0,
            ("voltlane_connections_closed_total", "peer closed"): 1,
            ("voltlane_connections_closed_total", "kicked by the master"): 1,
            ("voltlane_connections_closed_total", "frame over the size limit"): 1,
            ("voltlane_connections_closed_total", "handshake packet out of place"): 1,
            ("voltlane_sessions_ended_total", "kicked by the master"): 1,
            ("voltlane_admin_refusals_total", "malformed request"): 1,
            ("voltlane_handshake_seconds_count", ""): clients_,
            ("voltlane_resume_seconds_count", ""): 1,
            ("voltlane_clients", "live"): clients_ - 1,
            ("voltlane_clients", "stale"): 0,
        }

        def differing() -> dict[tuple[str, str], tuple[float, float]]:
            now = scraper.scrape()
            return {key: (now[key], value) for key, value in expected.items() if now[key] != value}

        try:
            wait_until(lambda: not differing(), "the counters")
        except AssertionError:
            raise AssertionError(f"counted, and expected: {differing()}") from None


def garbage(stranger: RawClient, data: bytes) -> None:
    stranger.send_raw(data)
    list(stranger.rest())


# ---- rules and dashboard


def expressions() -> list[str]:
    """Every expression of a rule, a panel or a variable."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = re.findall(
        r"^ +expr:(?: [>|]-?)?((?:.*\n)+?)(?= +(?:for|labels):)", RULES.read_text(encoding="utf-8"), re.M
    )
    return [*found, *[" ".join(rule.split()) for rule in rules]]


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bvoltlane_\w+", text))


LABELLED = re.compile(r'(\w+)\s*=(~?)\s*"([^"]*)"', re.DOTALL)


def test_rules_and_dashboard_name_only_metrics_there_are(watched: World) -> None:
    watched.new(lane=tls)
    watched.server.datagrams = DatagramsThere(channels=1, peers=0)
    everything = watched.server.statistics()._replace(store=StoreFigures(True, "", 0, 0, 0, 0.0, 1))
    body, _ = expose(everything, True, "application/openmetrics-text")
    there_are = {name for name, _ in samples(body.decode())}
    for path in (RULES, DASHBOARD):
        named = names_in(path.read_text(encoding="utf-8"))
        assert len(named) > 8 and named <= there_are, path


def test_rules_and_dashboard_ask_for_labels_and_values_there_are() -> None:
    """A reason that was renamed would make an alert that never comes."""
    reasons = [reason.value for kind in (CloseReason, EndReason, DatagramDrop) for reason in kind]
    seen = 0
    for expression in expressions():
        for label, by_pattern, value in LABELLED.findall(expression):
            if label == "reason":
                for wanted in value.split("|") if by_pattern else [re.escape(value)]:
                    assert any(re.fullmatch(wanted, reason) for reason in reasons), wanted
                    seen += 1
            else:
                assert label in {*LABELS, "instance", "job"}, expression
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            assert set(re.split(r",\s*", labels)) <= {*LABELS, "instance"}, expression
    assert seen > 8


@pytest.mark.parametrize(
    "name",
    [
        "lane_clients",
        "protocol_clients",
        "protocol_gaps_total",
        "uncertain_total",
        "certificate_expiry_timestamp_seconds",
        "datagrams_up_total",
        "datagrams_dropped_total",
        "datagram_paths_moved_total",
    ],
)
def test_what_there_is_of_lanes_protocols_and_losses_is_on_the_dashboard(name: str) -> None:
    assert f"voltlane_{name}" in names_in(DASHBOARD.read_text(encoding="utf-8"))


def test_the_alerts_are_all_read() -> None:
    rules = RULES.read_text(encoding="utf-8")
    asked = " ".join(expressions())
    assert names_in(rules) <= names_in(asked)


def test_reasons_in_the_rules_are_reasons() -> None:
    text = re.sub(r"\s+", " ", RULES.read_text(encoding="utf-8"))
    reasons = [reason.value for enum in (AdminEnd, CloseReason, EndReason, DatagramDrop) for reason in enum]
    patterns = re.findall(r'reason=~?"([^"]+)"', text)
    assert patterns
    for pattern in patterns:
        for alternative in pattern.split("|"):
            assert any(re.fullmatch(alternative, reason) for reason in reasons), alternative


def test_the_dashboard_is_one() -> None:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert board["uid"] == "voltlane" and board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) > 10
    for panel in board["panels"]:
        assert panel["targets"] and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_the_rules_pass_promtool() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, timeout=30)


def test_the_rules_are_yaml_with_what_prometheus_wants() -> None:
    yaml = pytest.importorskip("yaml", reason="there is no PyYAML")
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    assert len(group["rules"]) > 8
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"} and rule["annotations"]["summary"]
