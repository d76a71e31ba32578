"""The alerts, by promtool's own tests: each comes when what it is for happens, and none without."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).parent.parent.parent / "deploy" / "prometheus" / "voltlane.rules.yml"
DAY = 86400

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")


def closed(reason: str) -> str:
    return f'voltlane_connections_closed_total{{instance="a",reason="{reason}"}}'


def dropped(reason: str) -> str:
    return f'voltlane_datagrams_dropped_total{{instance="a",reason="{reason}"}}'


ENDS = 'voltlane_certificate_expiry_timestamp_seconds{instance="a",name="example.org"}'
GAPS = 'voltlane_protocol_gaps_total{instance="a",protocol="v3"}'
ONCE, QUIET = "0x10 1x20", "7x30"
CASES = {
    "a-certificate-for-long": ({ENDS: f"{15 * DAY}x30"}, []),
    "two-weeks": ({ENDS: f"{13 * DAY}x30"}, ["VoltlaneCertificateEnds"]),
    "two-days": ({ENDS: f"{2 * DAY}x30"}, ["VoltlaneCertificateEnds", "VoltlaneCertificateEndsSoon"]),
    "none-left": ({ENDS: "0x30"}, ["VoltlaneCertificateEnds", "VoltlaneCertificateEndsSoon"]),
    "a-gap": ({GAPS: ONCE}, ["VoltlaneGaps"]),
    "gaps-of-yesterday": ({GAPS: QUIET}, []),
    "uncertain": ({'voltlane_uncertain_total{instance="a"}': ONCE}, ["VoltlaneUncertain"]),
    "no-more-uncertain": ({'voltlane_uncertain_total{instance="a"}': QUIET}, []),
    "an-origin": ({closed("page that may not connect"): ONCE}, ["VoltlaneOriginsRefused"]),
    "a-copy": ({closed("secret of the session superseded"): ONCE}, ["VoltlaneStateCopied"]),
    "a-token": ({closed("token that opens no session"): ONCE}, []),
    "tokens": ({closed("token that opens no session"): "0x10 9x20"}, ["VoltlaneTakeoverTried"]),
    "proofs": ({closed("challenge sent back as its own proof"): "0x10 9x20"}, ["VoltlaneTakeoverTried"]),
    "tls": ({closed("TLS handshake failed"): "0+90x30"}, ["VoltlaneTlsFails"]),
    "a-little-tls": ({closed("TLS handshake failed"): "0+30x30"}, []),
    "frames": ({closed("frame that breaks the rules of WebSocket"): "0+900x30"}, ["VoltlaneStrangers"]),
    "texts": ({closed("text where the protocol is binary"): "0+900x30"}, ["VoltlaneStrangers"]),
    "keys": ({closed("bad public key"): "0+900x30"}, ["VoltlaneStrangers"]),
    "unwanted-datagrams": ({dropped("the master takes no datagrams"): "0+60x30"}, ["VoltlaneDatagramsNotWanted"]),
    "unwanted-before": ({dropped("the master takes no datagrams"): QUIET}, []),
    "a-flood": ({dropped("no channel with that id"): "0+90000x30"}, ["VoltlaneDatagramStrangers"]),
    "a-flood-of-new-ones": ({dropped("too many new peers a second"): "0+90000x30"}, ["VoltlaneDatagramStrangers"]),
    "some-strangers": ({dropped("no cookie that is good"): "0+9000x30"}, []),
    "a-full-socket": (
        {dropped("the socket takes no more, and too much waits"): "0+60x30"},
        ["VoltlaneDatagramsLate"],
    ),
    "no-store": ({'voltlane_store_up{instance="a"}': "1x10 0x20"}, ["VoltlaneStoreAway"]),
    "a-store": ({'voltlane_store_up{instance="a"}': "1x30"}, []),
    "who-goes": ({closed("peer closed"): "0+9000x30"}, []),
}


@pytest.mark.parametrize(("series", "alerts"), CASES.values(), ids=CASES)
def test_an_alert_comes_when_it_should(series: dict[str, str], alerts: list[str], tmp_path: Path) -> None:
    wanted = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts]
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "15m", "exp_samples": wanted}
        ],
    }
    file = tmp_path / "alerts.test.yml"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
