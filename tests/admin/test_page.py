"""The live page in a real browser, of a real server."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
from kit.admin import TOKEN
from kit.browser import Browser, needs_browser
from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.rig import Rig, running

pytestmark = needs_browser

LIVE, STALE, CONNECTION = [
    f"return document.getElementById('{name}').textContent" for name in ("live", "stale", "connection")
]
IDS = "return [...document.querySelectorAll('#rows tr')].map((row) => Number(row.cells[0].textContent))"
SORTED_IDS = f"{IDS}.sort()"
STATES = "return [...document.querySelectorAll('#rows tr')].map((row) => row.cells[1].textContent).sort()"
ENTER, TAB = "\ue007", "\ue004"


@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    try:
        made = Browser()
    except AssertionError as error:
        pytest.skip(f"chromium does not start here: {error}")
    with made:
        yield made


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """The browser; whatever the page complained of in the console is a failure, lost connections aside."""
    yield _browser
    _browser.open("about:blank")
    complaints = [line for line in _browser.console() if "net::ERR_" not in line and "status of 4" not in line]
    assert complaints == []


@contextlib.contextmanager
def shown(**settings: object) -> Iterator[tuple[Rig, str]]:
    """A server with its admin endpoint, and the page's address."""
    given = {"admin.address": "127.0.0.1:0", **{name.replace("__", "."): value for name, value in settings.items()}}
    with running(given) as rig:
        assert isinstance(rig.server, ServerProcess)
        yield rig, page_of(rig.server)


def page_of(server: ServerProcess) -> str:
    server.wait_for_log("the admin endpoint is at ")
    found = re.search(r"the admin endpoint is at (\S+)", server.log)
    assert found
    return f"http://{found[1]}/"


def test_it_shows_who_is_there_and_changes_when_they_go(browser: Browser) -> None:
    with shown() as (rig, page):
        clients = [rig.new() for _ in range(3)]
        browser.open(page)
        browser.wait_for(CONNECTION, "live")
        browser.wait_for(LIVE, "3")
        browser.wait_for(SORTED_IDS, [client.client_id for client in clients])
        assert browser.text("#state") == "ready" and browser.text("#master") == "connected"
        clients[1].leave()
        browser.wait_for(LIVE, "2")
        browser.wait_for(STALE, "1")
        browser.wait_for(STATES, ["live", "live", "stale"])
        browser.wait_for("return document.querySelector('#reasons tr td').textContent", "peer closed")
        assert "closed: peer closed" in browser.text("#happened")
        rig.new()
        browser.wait_for(LIVE, "3")
        browser.wait_for("return document.title", "3 · Voltlane")


def test_it_shows_what_flows(browser: Browser) -> None:
    with shown() as (rig, page):
        client = rig.new()
        browser.open(page)
        browser.wait_for("return document.getElementById('up-packets').textContent", "0")
        client.send(*[b"x" * 100] * 200)
        for _ in range(200):
            rig.master.recv_for(client.client_id)
        browser.wait_for("return document.querySelector('#up-line .curve').getAttribute('d').includes(',2.00')", True)


def test_it_says_when_the_server_is_gone_and_comes_back_with_it(browser: Browser) -> None:
    with RawMaster() as master:
        with ServerProcess(master.address, {"admin.address": "127.0.0.1:0"}) as server:
            master.accept()
            with RawClient.new(server.address):
                page = page_of(server)
                browser.open(page)
                browser.wait_for(LIVE, "1")
                browser.run("window.sameLoad = true")
                server.stop()
        browser.wait_for(CONNECTION, "connection lost, trying again …")
        with ServerProcess(master.address, {"admin.address": page[len("http://") : -1]}) as server:
            master.accept()
            with RawClient.new(server.address) as one, RawClient.new(server.address) as another:
                browser.wait_for(CONNECTION, "live")
                browser.wait_for(LIVE, "2")
                browser.wait_for(SORTED_IDS, [one.client_id, another.client_id])
        assert browser.run("return window.sameLoad") is True, "nobody had to load it again"


def test_the_master_being_away_is_seen(browser: Browser) -> None:
    with shown() as (rig, page):
        browser.open(page)
        browser.wait_for("return document.getElementById('state').textContent", "ready")
        rig.master.close()
        browser.wait_for("return document.getElementById('master').textContent", "not connected")
        browser.wait_for("return document.getElementById('state').textContent", "no connection to the master")


def test_the_table_sorts_by_keyboard(browser: Browser) -> None:
    with shown() as (rig, page):
        ids = [rig.new().client_id for _ in range(3)]
        browser.open(page)
        browser.wait_for(SORTED_IDS, ids)
        browser.run("document.querySelector('th[data-key=id] button').focus()")
        browser.key(ENTER)
        browser.wait_for("return document.querySelector('th[data-key=id]').getAttribute('aria-sort')", "ascending")
        browser.key(ENTER)
        browser.wait_for("return document.querySelector('th[data-key=id]').getAttribute('aria-sort')", "descending")
        browser.wait_for(IDS, ids[::-1])
        browser.key(TAB)
        assert browser.run("return document.activeElement.parentNode.dataset.key") == "age"
        assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert browser.run("return document.querySelectorAll('th[aria-sort]').length") == 1


def test_a_client_is_kicked(browser: Browser) -> None:
    with shown() as (rig, page):
        stays, kicked = rig.new(), rig.new()
        browser.open(page)
        browser.wait_for(SORTED_IDS, [stays.client_id, kicked.client_id])
        browser.run(f"setTimeout(() => document.querySelector('[data-kick=\"{kicked.client_id}\"]').click(), 0)")
        browser.accept_alert()
        browser.wait_for(SORTED_IDS, [stays.client_id])
        assert list(kicked.rest()) == []


def test_pages_of_many_clients(browser: Browser) -> None:
    with shown() as (rig, page):
        for _ in range(30):
            rig.new()
        browser.open(page)
        browser.wait_for("return document.getElementById('range').textContent", "1 to 25 of 30")
        browser.run("document.getElementById('next').click()")
        browser.wait_for("return document.getElementById('range').textContent", "26 to 30 of 30")
        assert browser.run("return document.getElementById('next').disabled") is True


def test_it_asks_for_the_token(browser: Browser) -> None:
    with shown(admin__token=TOKEN) as (rig, page):
        rig.new()
        browser.open(page)
        browser.wait_for("return document.getElementById('login').hidden", False)
        type_in = "document.getElementById('token').value = arguments[0]; document.forms[0].requestSubmit()"
        browser.run(type_in, "not the token")
        browser.wait_for("return document.getElementById('login-answer').textContent", "That is not the token.")
        browser.run(type_in, TOKEN)
        browser.wait_for(LIVE, "1")
        assert browser.run("return document.getElementById('login').hidden && !document.cookie") is True
        browser.open(page)
        browser.wait_for(LIVE, "1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_by_day_and_night(browser: Browser, scheme: str) -> None:
    with shown() as (rig, page):
        rig.new().leave()
        browser.emulate("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        browser.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        try:
            browser.open(page)
            browser.wait_for(STALE, "1")
            assert browser.run("return document.documentElement.scrollWidth") <= 360
            assert min(contrasts(browser)) >= 4.5
        finally:
            browser.emulate("Emulation.clearDeviceMetricsOverride")
            browser.emulate("Emulation.setEmulatedMedia", features=[])


def contrasts(browser: Browser) -> list[float]:
    """How text stands out from what is behind it: WCAG's ratio, of which 4.5 is enough."""
    pairs = browser.run("""
        return [...document.querySelectorAll("h1, h2, p, dt, dd, td, th, button")].filter((node) => node.offsetParent &&
            !node.disabled).map((node) => {
            let behind = node;
            while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
            return [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
        });""")

    def luminance(color: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    found = []
    for pair in pairs:
        low, high = sorted(map(luminance, pair))
        found.append((high + 0.05) / (low + 0.05))
    return found


def test_a_foreign_script_is_not_run(browser: Browser) -> None:
    """The policy holds: what the page did not come with does nothing. (The console says so.)"""
    with shown() as (_, page):
        browser.open(page)
        browser.wait_for(CONNECTION, "live")
        browser.run(
            "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s)"
        )
        assert browser.run("return window.bad || 0") == 0
        assert any("Content Security Policy" in line for line in browser.console())
