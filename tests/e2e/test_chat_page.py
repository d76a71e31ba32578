"""The chat page in two real browsers: whatever is cut, killed or reloaded under it, each shows the room's messages from
1 to n, and each author's from 1 to n, none missing and none twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.browser import Browser, needs_browser
from kit.process import Process, ServerProcess, environment
from kit.wait import wait_until

pytest.importorskip("h11", reason="the extra `web` is not installed")
pytestmark = needs_browser

BACKEND = """
from voltlane.backend import Firehose
from voltlane.commands.chat import Chat

with Firehose("127.0.0.1:0") as firehose:
    print(f"listening on {firehose.address}", flush=True)
    Chat().run(firehose)
"""
AUTHORS = ["Ada", "Bob"]
FIGURE = "return document.getElementById('{}').textContent"
TEXTS = "return [...document.querySelectorAll('#messages p')].map((line) => line.textContent)"
NUMBERS = "return [...document.querySelectorAll('#messages li[data-n]')].map((line) => Number(line.dataset.n))"
NOTES = "return [...document.querySelectorAll('#messages .note')].map((line) => line.textContent)"
CLICK = "document.getElementById(arguments[0]).click()"
FILL = """
for (const [id, text] of Object.entries(arguments[0])) {
  document.getElementById(id).value = text;
  document.getElementById(id).dispatchEvent(new Event("input"));
}
"""


class Chatting:
    """A chat backend, a server that can be killed, and two windows."""

    def __init__(self, windows: list[Browser], state: str) -> None:
        self.windows = windows
        self._backend = Process(["-u", "-c", BACKEND], environment({}))
        self._backend.wait_for_log("listening on ")
        self._master = self._backend.log.split()[-1]
        self._settings: dict[str, object] = {"general.state_dir": state, "web.page": "chat"}
        self._settings["listener.address"] = "ws://127.0.0.1:0"
        self._server = ServerProcess(self._master, self._settings)
        self._settings["listener.address"] = self._server.address
        self.url = re.sub("^ws", "http", self._server.address) + "/"
        for window, name in zip(windows, AUTHORS):
            window.open(self.url)
            window.wait_for(FIGURE.format("state"), "connected")
            window.run(FILL, {"name": name})

    def kill(self) -> None:
        """SIGKILL, and another one with the same state."""
        self._server.kill()
        self._server.close()
        self._server = ServerProcess(self._master, self._settings)
        assert self._server.address == self._settings["listener.address"]

    def count(self, *windows: Browser) -> None:
        """Send numbers from these, and wait until some have come."""
        for window in windows or self.windows:
            window.run(CLICK, "count")
        before = self.figure(self.windows[0], "received")
        wait_until(lambda: self.figure(self.windows[0], "received") > before + 20, "numbers", 30)

    def figure(self, window: Browser, name: str) -> int:
        return int(window.run(FIGURE.format(name)))

    def settle(self, *sent: int) -> None:
        """Wait until each window shows so many messages of each author, and see that they are each there once."""
        for window in self.windows:
            window.wait_for(FIGURE.format("received"), str(sum(sent)), 60)
            assert window.run(NUMBERS) == list(range(1, sum(sent) + 1))
            texts = window.run(TEXTS)
            for name, number in zip(AUTHORS, sent):
                said = [int(text.partition(": ")[2]) for text in texts if text.startswith(f"{name}: ")]
                rounds = [*range(1, 101)] * (number // 100)
                assert sorted(said) == sorted(rounds)
            assert [self.figure(window, name) for name in ("lost", "doubled")] == [0, 0]

    def close(self) -> None:
        try:
            for window in self.windows:
                window.open("about:blank")
                complaints = [line for line in window.console() if "WebSocket" not in line and "net::ERR" not in line]
                assert complaints == []
        finally:
            self._server.close()
            self._backend.close()


@pytest.fixture(scope="module")
def windows() -> Iterator[list[Browser]]:
    made: list[Browser] = []
    try:
        try:
            for dark in (False, True):
                made.append(Browser(480, 800, dark=dark))
        except AssertionError as error:
            pytest.skip(f"chromium does not start here: {error}")
        yield made
    finally:
        for window in made:
            window.close()


@pytest.fixture
def chatting(request: pytest.FixtureRequest, tmp_path: Path, windows: list[Browser]) -> Iterator[Chatting]:
    for window in windows:
        window.open("about:blank")
    made = Chatting(windows, getattr(request, "param", str(tmp_path / "state")))
    try:
        yield made
    finally:
        made.close()


def test_two_windows_chat(chatting: Chatting) -> None:
    one, other = chatting.windows
    for window in chatting.windows:
        window.wait_for(FIGURE.format("here"), "2 in the room")
    one.run(FILL, {"text": "hello <b>you</b>"})
    one.run("document.querySelector('form button').click()")
    other.wait_for(TEXTS, ["Ada: hello <b>you</b>"])
    other.run("document.getElementById('text').focus()")
    other.key(*"hello", "\ue007")
    one.wait_for(TEXTS, ["Ada: hello <b>you</b>", "Bob: hello"])
    assert one.run("return [...document.querySelectorAll('.mine')].length") == 1


def test_a_cut_costs_nothing(chatting: Chatting) -> None:
    one, other = chatting.windows
    chatting.count()
    for _ in range(3):
        one.run(CLICK, "cut")
        one.wait_for(FIGURE.format("state"), "connected")
    other.run(CLICK, "away")
    other.wait_for(FIGURE.format("state"), "no network")
    chatting.settle(100, 100)
    assert one.run(NOTES).count("Back, as the same client.") == 3
    assert other.run(NOTES) == ["There is no network for 5 s.", "Back, as the same client."]
    assert re.fullmatch(r"\d+ ms", one.run(FIGURE.format("back")))
    assert float(other.run(FIGURE.format("back")).partition(" s")[0]) >= 5, "from when the connection was lost"
    for window in chatting.windows:
        assert chatting.figure(window, "told") == 0


def test_a_server_that_is_killed_costs_nothing(chatting: Chatting) -> None:
    """What it had taken and not passed on is told as uncertain, and what it kept for the pages as a gap: they send the
    one again, and ask the room for the other."""
    notes = killed_twice(chatting)
    assert [kinds.count("Back, as the same client.") for kinds in notes] == [2, 2]
    assert all(chatting.figure(window, "told") >= 2 for window in chatting.windows), notes


@pytest.mark.parametrize("chatting", [""], indirect=True, ids=["no state directory"])
def test_a_server_that_knows_nobody_costs_nothing_either(chatting: Chatting) -> None:
    """The pages are new clients then, and what they had sent and not heard of is theirs to send again."""
    notes = killed_twice(chatting)
    assert [kinds.count("Back, as a new client.") for kinds in notes] == [2, 2]


def killed_twice(chatting: Chatting) -> list[list[str]]:
    """While both windows send. What each notes."""
    for _ in range(2):
        chatting.count()
        chatting.kill()
        for window in chatting.windows:
            window.wait_for(FIGURE.format("state"), "connected")
            window.wait_for("return document.getElementById('count').disabled", False)
    chatting.settle(200, 200)
    return [window.run(NOTES) for window in chatting.windows]


def test_a_reload_costs_nothing(chatting: Chatting) -> None:
    one, other = chatting.windows
    chatting.count(other)
    one.run("location.reload()")
    one.wait_for(FIGURE.format("state"), "connected")
    one.wait_for(NOTES, ["Back, as the same client."])
    one.run(CLICK, "count")
    chatting.settle(100, 100)
    assert chatting.figure(one, "sent") == 100 and chatting.figure(one, "told") == 0


def test_a_page_that_is_reloaded_counts_and_one_that_is_closed_does_not(chatting: Chatting) -> None:
    one, other = chatting.windows
    for window in (one, other):
        window.wait_for(FIGURE.format("here"), "2 in the room")
    one.run("location.reload()")
    for window in (one, other):
        window.wait_for(FIGURE.format("here"), "2 in the room")
    other.open("about:blank")
    one.wait_for(FIGURE.format("here"), "1 in the room")
    other.open(chatting.url)
    for window in (one, other):
        window.wait_for(FIGURE.format("here"), "2 in the room")


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_cut_off(chatting: Chatting, width: int) -> None:
    window = chatting.windows[0]
    window.emulate("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    try:
        window.run(FILL, {"name": "guest 47"})
        assert window.run("return document.documentElement.scrollWidth") == width
        assert window.run(
            "const {scrollWidth, clientWidth} = document.getElementById('name');return scrollWidth <= clientWidth"
        )
        heights = window.run("return [...document.querySelectorAll('button')].map((button) => button.offsetHeight)")
        assert len(set(heights)) == 1, "each is one line"
    finally:
        window.emulate("Emulation.clearDeviceMetricsOverride")
