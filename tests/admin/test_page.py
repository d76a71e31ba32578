"""The live page in a real browser, of a real server."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from kit.admin import TOKEN
from kit.browser import Browser, needs_browser
from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.rig import Rig, running
from kit.wait import wait_until

pytestmark = needs_browser

LIVE, STALE, CONNECTION = [
    f"return document.getElementById('{name}').textContent" for name in ("live", "stale", "connection")
]
IDS = "return [...document.querySelectorAll('#rows tr')].map((row) => Number(row.cells[0].textContent))"
REASON = "return (document.querySelector('#reasons td') || {}).textContent"
IN_LAST_MINUTE = "return document.querySelector('#reasons td').parentNode.cells[2].textContent"
TICKS = "[...document.querySelectorAll('#plot-packets text')].map((text) => text.textContent)"
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
        browser.wait_for(REASON, "peer closed")
        browser.wait_for(IN_LAST_MINUTE, "1")
        assert "tcp" in browser.text("#lanes") and "v2" in browser.text("#lanes")
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
        browser.wait_for(f"return {TICKS}.filter((tick) => tick.endsWith('0/s')).length >= 3", True)  # by what it shows
        browser.wait_for("return document.querySelector('#up-total').textContent", "200 packets")


def test_what_was_before_it_was_opened_is_there_at_once(browser: Browser) -> None:
    with shown() as (rig, page):
        client = rig.new()
        client.send(*[b"x" * 100] * 100)
        for _ in range(100):
            rig.master.recv_for(client.client_id)
        client.leave()
        seconds: list[float] = []

        def over() -> bool:
            with urllib.request.urlopen(page + "history") as answer:
                seconds[:] = json.load(answer)["seconds"]["packets_up"]
            return sum(seconds) == 100

        wait_until(over, "the second to be over in which that was")
        browser.open(page)
        browser.wait_for(REASON, "peer closed")
        browser.wait_for(IN_LAST_MINUTE, "1")
        browser.wait_for(f"return {TICKS}.length > 3 && {TICKS}.includes('now')", True)
        assert browser.run("return Math.max(...past.seconds.packets_up)") == max(seconds) > 0
        for plot in ("packets", "bytes", "clients", "round_trip", "turn", "queues", "closed"):
            label = browser.run(f"return document.querySelector('#plot-{plot} svg').getAttribute('aria-label')")
            assert "the last" in label
            assert browser.run(f"return document.querySelectorAll('#plot-{plot} text').length") > 3
        browser.run("document.querySelector('[data-range=\"120\"]').click()")
        assert browser.run("return document.querySelector('[aria-pressed=true]').textContent") == "2 min"


def test_nothing_is_made_up_below_the_first_bound(browser: Browser) -> None:
    with shown() as (rig, page):
        rig.new()
        browser.open(page)
        browser.wait_for("return document.getElementById('turn-p50').textContent", "< 1 ms")
        browser.wait_for("return document.querySelector('#plot-turn output').textContent", "< 1 ms")
        said = "return [0.001, 0.0025, 10].map((bound) => bounded(bound, [0.001, 0.0025, 10]))"
        assert browser.run(said) == ["< 1 ms", "≤ 2.5 ms", "≥ 10 s"]
        spread = "return within({ bounds: [0.001, 0.0025, 10], counts: [3, 4, 4, 5] }, arguments[0])"
        assert [browser.run(spread, share) for share in (0.5, 0.8, 0.99)] == ["< 1 ms", "≤ 2.5 ms", "≥ 10 s"]


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
        color = browser.run("return getComputedStyle(document.querySelector('header')).backgroundColor")
        red, green, blue = map(int, re.findall(r"\d+", color)[:3])
        assert max(red, green, blue) - min(red, green, blue) < 12 and red < 235, "the header is grey"
        assert "as of" in browser.text("#version"), "and says how old the figures are"
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
        assert browser.run("return $('state').className") == "mark bad", "as its card has it"


def test_a_master_that_takes_nothing_is_seen(browser: Browser) -> None:
    with shown(master__outbox_bytes=1 << 16) as (rig, page):
        client = rig.new()
        browser.open(page)
        browser.wait_for("return $('master-waits').textContent", "nothing")
        with contextlib.suppress(socket.timeout):
            client.sock.settimeout(0.5)
            while True:  # until the server reads no more
                client.send(*[b"x" * 1000] * 50)
        browser.wait_for("return $('master').textContent.startsWith('takes nothing for ')", True)
        assert browser.text("#reading") == "no: too much waits" and browser.text("#master-waits").endswith("iB")


@pytest.mark.parametrize(
    ("seconds", "range_", "said"),
    [
        (0, 900, "The last quarter of an hour"),
        (300, 900, "Since the start, 5 min ago"),
        (300, 120, "The last two minutes"),
        (900, 900, "The last quarter of an hour"),
    ],
)
def test_the_plots_say_how_far_back_they_go(browser: Browser, seconds: int, range_: int, said: str) -> None:
    with shown() as (_, page):
        browser.open(page)
        browser.wait_for(CONNECTION, "live")
        assert browser.run("return reach(...arguments)", seconds, range_) == said
        browser.run("document.querySelector('[data-range=\"900\"]').click()")
        browser.wait_for("return $('h-plots').textContent.startsWith('Since the start, ')", True)


def test_the_lane_of_who_is_away_is_not_its_protocol(browser: Browser) -> None:
    with shown() as (rig, page):
        rig.new().leave()
        browser.open(page)
        browser.wait_for(STATES, ["stale"])
        titles = "[...document.querySelectorAll('#heads th')].map((head) => head.textContent)"
        cell = f"$('rows').rows[0].cells[{titles}.indexOf(title)]"
        lane = f"return ['Lane', 'Protocol'].map((title) => {cell}.textContent)"
        assert browser.run(lane) == ["–", "v2"]
        heads = browser.run("return [...document.querySelectorAll('thead th')].map((head) => head.textContent)")
        assert [head for head in heads if head[:1].islower()] == []


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


def test_one_is_found_by_its_id_or_address(browser: Browser) -> None:
    with shown() as (rig, page):
        ids = [rig.new().client_id for _ in range(12)]
        browser.open(page)
        browser.wait_for(SORTED_IDS, ids)
        find = "$('find').value = arguments[0]; $('find').dispatchEvent(new Event('input'))"
        browser.run(find, str(ids[3]))
        browser.wait_for(IDS, [ids[3]])
        assert "found" in browser.text("#range")
        browser.run(find, "no such address")
        browser.wait_for("return document.getElementById('no-clients').hidden", False)
        assert "id or address" in browser.text("#no-clients")
        browser.run(find, "127.0.0.1")
        browser.wait_for(SORTED_IDS, ids)


POINTER = "dispatchEvent(new Event('pointer{}', {{ bubbles: true }}))"


@pytest.mark.parametrize("word", ["stale", "busy", "taken in all", "Score"])
def test_words_explain_themselves_to_the_pointer_and_the_keyboard(browser: Browser, word: str) -> None:
    with shown() as (rig, page):
        rig.new()
        browser.open(page)
        browser.wait_for(LIVE, "1")
        found = f"[...document.querySelectorAll('[data-tip]')].filter((node) => node.textContent === '{word}').pop()"
        for begin, end in (("focus()", "blur()"), (POINTER.format("over"), POINTER.format("out"))):
            browser.run(f"{found}.scrollIntoView({{ block: 'center' }}); {found}.{begin}")
            browser.wait_for("return document.getElementById('tip').hidden", False)
            assert len(browser.text("#tip")) > 40
            sides = "const { left, right } = tip.getBoundingClientRect(); return [left, right]"
            left, right = browser.run(sides)
            assert 0 <= left < right <= browser.run("return innerWidth")
            browser.run(f"{found}.{end}")
            browser.wait_for("return document.getElementById('tip').hidden", True)


def test_certificates_are_shown_where_there_are_any(browser: Browser) -> None:
    with shown() as (_, page):
        browser.open(page)
        browser.wait_for(CONNECTION, "live")
        assert browser.run("return document.getElementById('certificates-card').hidden") is True
        rows = browser.run(
            "certificates(arguments[0]);"
            "return [...document.querySelectorAll('#certificates > *')].map((one) => [one.textContent, one.className])",
            [{"names": ["a.example", "b.example"], "days_left": 61.2}, {"names": ["c.example"], "days_left": -1}],
        )
        assert [text for text, _ in rows] == ["a.example, b.example", "61 days left", "c.example", "expired"]
        assert "good" in rows[1][1] and "bad" in rows[3][1]


def test_datagrams_are_shown_where_there_are_any(browser: Browser) -> None:
    with shown() as (rig, page):
        rig.new()
        browser.open(page)
        browser.wait_for(CONNECTION, "live")
        browser.wait_for("return $('rows').rows.length", 1)
        jitter = "[...document.querySelectorAll('.datagram')].map((node) => getComputedStyle(node).display)"
        assert browser.run("return $('datagrams-card').hidden") is True
        assert set(browser.run(f"return {jitter}")) == {"none"}
        now = {"packets_up": 300, "packets_down": 60, "bytes_up": 30_000, "bytes_down": 600}
        now |= {"channels": 2, "peers": 1, "roamed": 3, "challenges": 4}
        then = {**now, "packets_up": 200, "packets_down": 50, "bytes_up": 10_000, "bytes_down": 500}
        spread = {"observed": 2, "bounds": [0.001, 0.002, 0.005], "counts": [0, 2, 2, 2]}
        rows = browser.run(
            "source.close();"  # the next snapshot has none
            "datagrams({ datagrams: arguments[0], uptime: 20, links: { jitter: arguments[2] } },"
            " { datagrams: arguments[1], uptime: 10 });"
            "return ['datagrams-up', 'datagrams-down', 'channels', 'peers', 'roamed', 'jitter']"
            ".map((id) => $(id).textContent)",
            now,
            then,
            spread,
        )
        assert rows == ["10/s, 2 KiB/s", "1/s, 10 B/s", "2", "1", "3", "≤ 2 ms"]
        assert browser.run("return $('datagrams-card').hidden") is False
        assert "none" not in browser.run(f"return {jitter}")
        browser.run("reasons({ dropped_datagrams: { 'came before': 7 } }, {})")
        assert "Datagrams dropped" in browser.text("#reasons") and "came before" in browser.text("#reasons")


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
        rig.new()
        browser.emulate("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
        browser.emulate("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        try:
            browser.open(page)
            browser.wait_for(STALE, "1")
            browser.wait_for(STATES, ["live", "stale"])
            browser.run("happened(arguments[0])", {"events": [{"kind": "connected", "id": 987654321012, "at": 0}] * 20})
            assert browser.run("return $('happened').children.length") == 8
            assert browser.run("return document.documentElement.scrollWidth") <= 360
            assert browser.run(CLIPPED) == [] and browser.run(BROKEN) == []
            assert min(contrasts(browser)) >= 4.5
        finally:
            browser.emulate("Emulation.clearDeviceMetricsOverride")
            browser.emulate("Emulation.setEmulatedMedia", features=[])


CLIPPED = """
    return [...document.querySelectorAll("section, td, th, dd, dt, button, figcaption")].filter((node) => {
        const { left, right } = node.getBoundingClientRect();
        const outside = right > innerWidth + 0.5 || left < 0;
        return node.offsetParent && (outside || (node.clientWidth && node.scrollWidth > node.clientWidth + 1));
    }).map((node) => node.textContent);
"""
BROKEN = """
    // Words that stand on more than one line; an address may.
    const range = document.createRange(), broken = [];
    const texts = document.querySelectorAll("h2, dt, dd:not(.long), td:not(.address), th, button, .key, p");
    for (const node of texts) for (const text of node.childNodes) {
        if (text.nodeType !== Node.TEXT_NODE || !node.offsetParent) continue;
        for (const word of text.data.matchAll(/[^ ]+/g)) {
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map((place) => place.top)).size > 1) broken.push(word[0]);
        }
    }
    return broken;
"""


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
