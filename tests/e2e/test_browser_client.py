"""The client in JavaScript in a real Chromium, on a page of another origin: it counts, its connection is cut and
freezes, its server starts again, it is reloaded, and gets every number once, in order; and a copy of it gets a session
of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.browser import Browser, needs_browser
from kit.fault_proxy import FaultProxy
from kit.node import CLIENT
from kit.process import BackendProcess, ServerProcess
from kit.wait import wait_until

pytest.importorskip("h11", reason="the extra `web` is not installed")
pytestmark = needs_browser

PAGE = """<!doctype html>
<title>counting</title>
<script type="module">
import { connect } from "./voltlane.js";

// What the page itself keeps over a reload: how far it has sent, and what has come.
const kept = JSON.parse(sessionStorage.getItem("page") ?? '{"sent": 0, "came": [], "opened": [], "told": []}');
const keep = () => sessionStorage.setItem("page", JSON.stringify(kept));
const asked = new URLSearchParams(location.search);
class Blocked extends EventTarget {
  constructor() {
    super();
    queueMicrotask(() => this.dispatchEvent(new CloseEvent("close", { code: 1006 })));
  }
  close() {}
}
const options = asked.has("blocked") ? { WebSocket: Blocked } : {};
const connection = connect(asked.get("to"), { storage: sessionStorage, longestPause: 100, timeout: 1000, ...options });
connection.addEventListener("packet", ({ data }) => (kept.came.push(Number(new TextDecoder().decode(data))), keep()));
connection.addEventListener("open", ({ id, resumed }) => (kept.opened.push([String(id), resumed]), keep()));
for (const type of ["gap", "uncertain"]) connection.addEventListener(type, () => (kept.told.push(type), keep()));
Object.assign(window, { kept, connection });
setInterval(() => {
  connection.send(String(kept.sent++));
  keep();
}, 2);
</script>
"""


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[str]:
    """Where a web server has the page and the module."""
    (tmp_path / "index.html").write_text(PAGE)
    shutil.copy(CLIENT / "voltlane.js", tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        yield process.stdout.readline().rpartition("(")[2].rpartition("/)")[0]
    finally:
        process.kill()
        process.communicate()


def listening(pages: str) -> dict[str, object]:
    """For WebSockets, and for these pages."""
    return {"listener.address": "ws://127.0.0.1:0", "web.origins": pages}


def test_a_page_gets_everything_once(pages: str, tmp_path: Path) -> None:
    settings = {"general.state_dir": str(tmp_path / "state"), **listening(pages)}
    with BackendProcess() as backend:
        server = ServerProcess(backend.address, settings)
        try:
            settings["listener.address"] = server.address
            with FaultProxy(server.address.rpartition("/")[2]) as way, Browser() as browser:
                browser.open(f"{pages}/?to=ws://{way.address}/")

                def more() -> None:
                    """Numbers sent from here on have come back."""
                    sent = browser.run("return kept.sent")
                    wait_until(lambda: len(browser.run("return kept.came")) > sent + 20, "echoes", 30)

                more()
                way.links[-1].cut()
                more()
                browser.run("location.reload()")
                browser.wait_for("return typeof kept == 'object'", True)
                more()
                way.links[-1].stall()
                browser.run("dispatchEvent(new Event('online'))")
                more()
                server.close()
                server = ServerProcess(backend.address, settings)
                more()
                came, opened, told = browser.run("return [kept.came, kept.opened, kept.told]")
                assert not [line for line in browser.console() if "favicon" not in line and "WebSocket" not in line]
        finally:
            server.close()
    assert came == list(range(len(came)))
    assert told == []
    assert len({client_id for client_id, _ in opened}) == 1
    assert [resumed for _, resumed in opened] == [False] + [True] * (len(opened) - 1)
    assert len(opened) >= 5


def test_where_no_websocket_gets_through_there_are_events(pages: str) -> None:
    with (
        BackendProcess() as backend,
        ServerProcess(backend.address, listening(pages)) as server,
        FaultProxy(server.address.rpartition("/")[2]) as way,
        Browser() as browser,
    ):
        browser.open(f"{pages}/?blocked&to=ws://{way.address}/")
        browser.wait_for("return kept.came.length > 20", True)
        for link in list(way.links):
            link.cut()
        browser.wait_for("return kept.opened.length > 1", True)
        before = browser.run("return kept.sent")
        browser.wait_for(f"return kept.came.at(-1) >= {before - 1}", True)
        came, opened, told = browser.run("return [kept.came, kept.opened, kept.told]")
    assert [resumed for _, resumed in opened] == [False, True] and opened[0][0] == opened[1][0]
    assert list(dict.fromkeys(came)) == sorted(set(came)), "in order"
    # Nobody knows of the one that was being posted at the cut, and a browser may post it again by itself.
    assert len(came) - len(set(came)) <= 1
    assert told in ([], ["uncertain"]) and len(set(range(came[-1])) - set(came)) <= len(told)


def test_a_tab_that_is_duplicated_begins_a_session_of_its_own(pages: str) -> None:
    """A window that a page opens begins with a copy of its sessionStorage, as a duplicated tab does."""
    with (
        BackendProcess() as backend,
        ServerProcess(backend.address, listening(pages)) as server,
        Browser() as browser,
    ):
        browser.open(f"{pages}/?to={server.address}")
        browser.wait_for("return kept.came.length > 20", True)
        browser.run("window.copy = open(location.href)")
        browser.wait_for("return !!copy.kept && copy.kept.opened.length > 1 && copy.kept.came.length > 40", True)
        opened, copied = browser.run("return [kept.opened, copy.kept.opened]")
        assert copied[0] == opened[0], "it is a copy"
        assert copied[1][1] is False and copied[1][0] != opened[0][0]
        before = browser.run("return kept.came.length")
        browser.wait_for(f"return kept.came.length > {before + 20}", True)
        came, opened, told = browser.run("return [kept.came, kept.opened, kept.told]")
    assert came == list(range(len(came)))
    assert (len(opened), told) == (1, [])
