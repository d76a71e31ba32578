"""Events in Chromium: its own EventSource, its own reconnect, its own ideas of who may read what."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kit.browser import Browser, needs_browser
from kit.event_reader import split
from kit.fault_proxy import FaultProxy
from kit.raw_master import DATA
from kit.rig import running
from kit.wait import wait_until

pytest.importorskip("h11", reason="the extra `web` is not installed")

SCRIPT = """
window.got = []; window.sessions = []; window.gaps = []; window.errors = 0;
window.base = arguments[0];
window.source = new EventSource(base + "/events");
const bytes = (text) => Array.from(new TextEncoder().encode(text));
source.onmessage = ({data, lastEventId}) => got.push([bytes(data), Number(lastEventId.split(".")[2])]);
source.addEventListener("binary", ({data, lastEventId}) =>
  got.push([Array.from(atob(data), (letter) => letter.charCodeAt(0)), Number(lastEventId.split(".")[2])]));
source.addEventListener("session", ({data}) => sessions.push(JSON.parse(data)));
source.addEventListener("gap", ({data}) => gaps.push(JSON.parse(data)));
source.onerror = () => errors++;
window.post = (body) => fetch(base + "/send",
  {method: "POST", headers: {Authorization: "Bearer " + sessions[0].token}, body: Uint8Array.from(body)})
  .then((answer) => answer.status, () => "refused").then((status) => window.status_ = status);
"""
PACKETS = [
    *(b"", b" ", b"\n", b"a\nb\n\n", b"a\r\nb", b"\r", b"\0\x7f", "\ufeff\u00e4\u20ac\U0001f600\u2028".encode()),
    *(b"\xff\xfe", bytes(range(256)), b"data: x\nid: 1", b"x" * 70_000),
]


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "15")
        self.end_headers()
        self.wfile.write(b"<!doctype html>")

    def log_message(self, *_: object) -> None:
        """Quietly."""


@contextmanager
def page() -> Iterator[str]:
    """The origin of an empty page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@needs_browser
def test_a_page_of_another_origin_that_is_listed() -> None:
    with page() as origin, running({"listener.address": "ws://127.0.0.1:0", "web.origins": origin}) as rig:
        host, port = split(rig.server.address)
        with FaultProxy(f"{host}:{port}") as proxy, Browser() as browser:
            browser.open(origin)
            browser.run(SCRIPT, f"http://{proxy.address}")
            browser.wait_for("return sessions.length", 1)
            client = browser.run("return sessions[0].client_id")
            rig.master.send(client, *PACKETS)
            browser.wait_for("return got.length", len(PACKETS))
            proxy.links[0].cut()
            rig.master.send(client, *PACKETS)
            browser.wait_for("return sessions.length", 2)
            browser.wait_for("return got.length", 2 * len(PACKETS))
            assert browser.run("return got") == [
                [list(packet), number] for number, packet in enumerate([*PACKETS, *PACKETS], 1)
            ]
            assert browser.run("return [sessions[0].token == sessions[1].token, gaps.length]") == [True, 0]
            for body in (b"up", bytes(range(256)), bytes(200_000)):
                browser.run("window.status_ = 0; post(arguments[0])", list(body))
                browser.wait_for("return status_", 202)
                packet = rig.master.recv_for(client)
                while packet.flag != DATA:
                    packet = rig.master.recv_for(client)
                assert packet.data == body


@needs_browser
def test_a_page_that_is_not_listed() -> None:
    settings = {"listener.address": "ws://127.0.0.1:0", "web.origins": "https://page.example"}
    with page() as origin, running(settings, embedded=True) as rig, Browser() as browser:
        host, port = split(rig.server.address)
        browser.open(origin)
        browser.run(SCRIPT, f"http://{host}:{port}")
        browser.wait_for("return [source.readyState, sessions.length, errors]", [2, 0, 1])
        browser.run("sessions.push({token: 'x'}); post([1])")
        browser.wait_for("return window.status_", "refused")
        wait_until(lambda: "may not connect: see web.origins" in rig.server.log, "a line in the log")  # type: ignore[union-attr]
