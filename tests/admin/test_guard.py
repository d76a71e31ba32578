"""Who may ask, and who must not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from kit.admin import TOKEN, Asker, watched_world
from kit.world import World

from voltlane.address import parse_address
from voltlane.admin import endpoint
from voltlane.admin.guard import Guard
from voltlane.errors import StartupError
from voltlane.net.sockets import listening_socket
from voltlane.wire.http1.answers import Refusal
from voltlane.wire.http1.conversation import Request

LOCAL = parse_address("127.0.0.1:42002")
LOCAL_HOSTS = [
    "localhost", "localhost:42002", "LOCALHOST:1", "localhost:", "localhost.", "LocalHost.:42002", "127.0.0.1:42002",
    "127.0.0.1.", "127.1.2.3", "[::1]:42002", "[::1]", "[0:0::1]", None,
]  # fmt: skip
"""None: HTTP/1.0 may name no host, and no browser speaks it."""
ELSEWHERE = [
    "evil.example", "evil.example:42002", "localhost.evil.example", "localhost..", ".localhost", "%6cocalhost", "", ".",
    ":42002", "192.0.2.1", "[::2]", "[::]", "::1",
]  # fmt: skip


def verdict(guard: Guard, method: str = "GET", host: str | None = "localhost:42002", **headers: str) -> int:
    """0, or the status it is refused with."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    try:
        guard.check(Request(method, ("stats",), {}, host, given, b""))
    except Refusal as refusal:
        return refusal.status
    return 0


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_without_a_token_this_machine_may_ask(host: str | None) -> None:
    assert verdict(Guard("", LOCAL), host=host) == 0


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_name_that_was_pointed_at_this_machine_may_not(host: str) -> None:
    assert verdict(Guard("", LOCAL), host=host) == 421


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("token", ["", TOKEN], ids=["open", "with a token"])
def test_a_page_of_another_site_may_not(method: str, token: str) -> None:
    guard, bearer = Guard(token, LOCAL), f"Bearer {token}"
    assert verdict(guard, method, authorization=bearer, origin="http://evil.example") == 403
    assert verdict(guard, method, authorization=bearer, origin="null") == 403
    assert verdict(guard, method, authorization=bearer, sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403
    assert verdict(guard, method, None, authorization=bearer, origin="http://localhost:42002") == 403
    assert verdict(guard, method, authorization=bearer, origin="http://localhost:42002") == 0
    assert verdict(guard, method, "LocalHost.:1", authorization=bearer, origin="http://localhost.:1") == 0
    assert verdict(guard, method, authorization=bearer, sec_fetch_site="same-origin") == 0


def test_a_link_on_another_site_may_lead_here_but_not_post() -> None:
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert verdict(Guard("", LOCAL), "GET", **headers) == 0
    assert verdict(Guard("", LOCAL), "POST", **headers) == 403


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
def test_who_has_the_token_may_ask_by_any_name(authorization: str) -> None:
    assert verdict(Guard(TOKEN, LOCAL), authorization=authorization, host="gateway.example") == 0


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é"]
)
def test_who_has_not_may_not(authorization: str) -> None:
    assert verdict(Guard(TOKEN, LOCAL), authorization=authorization) == 401


def test_a_browser_gets_a_cookie_for_the_token() -> None:
    guard = Guard(TOKEN, LOCAL)
    cookie = guard.cookie_for(TOKEN)
    assert TOKEN not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    pair = cookie.partition(";")[0]
    assert verdict(guard, cookie=f"a=b; {pair}") == 0
    assert verdict(guard, cookie=pair[:-1]) == verdict(guard, cookie='voltlane="') == verdict(guard, cookie="=") == 401
    assert verdict(Guard(TOKEN + "2", LOCAL), cookie=pair) == 401, "another token, another cookie"
    with pytest.raises(Refusal):
        guard.cookie_for(TOKEN + "x")


def test_the_host_of_the_target_counts_and_not_that_of_the_header(tmp_path: Path) -> None:
    with watched_world({"admin.address": "127.0.0.1:0"}) as world:
        asker = Asker(world)
        assert asker.get("http://localhost:1/stats", host="evil.example").status == 200
        assert asker.get("http://evil.example/stats", host="localhost").status == 421
        assert asker.get("http://evil.example/livez", host="localhost").status == 200
        assert asker.get("/stats", host="evil.example").status == 421
        assert [answer.status for answer in asker.raw(b"GET /stats HTTP/1.0\r\n\r\n")] == [200]
        asker.close()


def test_with_a_token_everything_but_the_page_and_the_probes_needs_it(guarded: World) -> None:
    asker = Asker(guarded)
    for path in ["/stats", "/metrics", "/clients", "/clients/1", "/closed", "/events", "/nothing"]:
        answer = asker.get(path)
        assert (answer.status, answer.headers["www-authenticate"][:6]) == (401, "Bearer"), path
    assert asker.post("/drain").status == asker.post("/clients/1/kick").status == 401
    assert asker.ask("DELETE", "/drain").status == 401
    assert guarded.server.readiness.ready
    for path in ["/", "/livez", "/readyz"]:
        assert asker.get(path).status == 200
    assert asker.get("/stats", authorization=f"Bearer {TOKEN}").status == 200
    asker.close()


def test_a_browser_logs_in(guarded: World) -> None:
    asker = Asker(guarded)
    assert asker.post("/login", b"not the token").status == 401
    assert asker.post("/login", TOKEN.encode(), origin="http://evil.example").status == 403
    answer = asker.post("/login", TOKEN.encode())
    assert answer.status == 200
    assert asker.get("/stats", cookie=answer.headers["set-cookie"].partition(";")[0]).status == 200
    asker.close()


def test_without_a_token_there_is_nothing_to_log_in_to(asker: Asker) -> None:
    assert asker.post("/login", b"").status == 404


def test_a_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        listening_socket(parse_address(f"unix:{tmp_path}/open")).close()
        listening_socket(parse_address(f"unix:{tmp_path}/closed"), mode=0o600).close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "open").st_mode) == 0o777
    assert stat.S_IMODE(os.stat(tmp_path / "closed").st_mode) == 0o600


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.require_extra()
    monkeypatch.setattr(endpoint, "HTTP1_AVAILABLE", False)
    with pytest.raises(StartupError, match=r"needs h11: pip install h11$"):
        endpoint.require_extra()
