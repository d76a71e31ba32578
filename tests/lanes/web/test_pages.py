"""What a listener of ws:// shows to a browser: the page and its script where the settings say so, and else nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from kit.lanes.ws import request
from kit.node import CLIENT
from kit.web_world import WebPeer
from kit.world import MakeWorld, World

from voltlane.errors import ConfigError
from voltlane.lanes.web import pages
from voltlane.lanes.web.pages import load_pages
from voltlane.reasons import CloseReason

HERE = Path(pages.__file__).parent


def asked(world: World, *lines: str) -> tuple[list[int], dict[str, str], bytes]:
    """What requests with these first lines are answered on one connection: the statuses, and headers and body of the
    first answer."""
    peer = WebPeer(world)
    peer.write("".join(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n" for line in lines).encode())
    world.settle()
    head, _, rest = peer.received.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    headers = {name.lower(): value for name, value in headers.items()}
    return peer.statuses, headers, rest[: int(headers["content-length"])]


@pytest.fixture
def home(make: MakeWorld) -> World:
    return make({"web.page": "chat"})


def test_the_page_and_its_script_are_served(home: World) -> None:
    statuses, headers, body = asked(home, "GET /", "GET /voltlane.js?x", "GET /")
    assert statuses == [200, 200, 200]
    assert body == (HERE / "chat.html").read_bytes()
    assert headers["content-type"] == "text/html; charset=utf-8" and headers["cache-control"] == "no-store"
    _, headers, body = asked(home, "GET /voltlane.js")
    assert body == (CLIENT / "voltlane.js").read_bytes() and headers["content-type"].startswith("text/javascript")
    assert headers["x-content-type-options"] == "nosniff"


def test_the_policy_lets_run_what_stands_in_the_page_and_its_module(home: World) -> None:
    _, headers, body = asked(home, "GET /")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    for element, name in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{element}\b[^>]*>(.*?)</{element}>".encode(), body, re.DOTALL)
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" in policy[name].split()
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'" and policy["connect-src"] == "'self'"
    assert policy["script-src"].startswith("'self' ") or policy["script-src"].endswith(" 'self'")
    assert "unsafe" not in str(policy) and not re.search(rb'style="|\son\w+="', body)


def test_a_head_has_no_body(home: World) -> None:
    peer = WebPeer(home)
    peer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    home.settle()
    assert peer.status == 200 and peer.received.endswith(b"\r\n\r\n")
    assert int(re.findall(rb"Content-Length: (\d+)", peer.received, re.IGNORECASE)[0]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_to_be_read(home: World, method: str) -> None:
    statuses, headers, _ = asked(home, f"{method} /", "GET /")
    assert statuses == [405, 200] and headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/chat.html", "/voltlane.js/", "//", "/../voltlane.js", "/%2e%2e/site.py"])
def test_nothing_else_is_there(home: World, path: str) -> None:
    assert asked(home, f"GET {path}")[0] == [426]


def test_without_the_setting_there_is_no_page(make: MakeWorld) -> None:
    assert asked(make(), "GET /", "GET /voltlane.js")[0] == [426, 426]


def test_a_websocket_is_one_all_the_same(home: World) -> None:
    peer = WebPeer(home)
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request(subprotocol=""))
    home.settle()
    assert peer.statuses == [200, 101] and len(home.server.registry.sessions) == 1


def test_who_does_not_take_the_page_holds_nobody_up(home: World) -> None:
    slow = WebPeer(home, send_buffer=1024)
    slow.write(b"GET /voltlane.js HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
    home.settle()
    assert asked(home, "GET /")[0] == [200]
    assert CloseReason.BAD_REQUEST not in home.server.counters.closed and home.loop.bugs == []


def test_there_are_none_unless_they_are_asked_for() -> None:
    assert load_pages("off") == {}


def test_what_may_be_set() -> None:
    from voltlane.config import Web

    assert Web(page="CHAT").page == "chat" and Web().page == "off"
    with pytest.raises(ConfigError, match=r"web\.page: 'forum' was given, one of off, chat is needed"):
        Web(page="forum")
