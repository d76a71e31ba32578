"""The settings of the lanes for the web."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError
from .forms import Form, one_of, shown
from .setting import Section, seconds, setting

_ORIGIN = re.compile(r"(https?)://((?:\*\.)?[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _origin(text: str) -> str:
    if text in ("*", "null"):
        return text
    found = _ORIGIN.fullmatch(text.lower())
    if not found:
        raise ConfigError(f"{shown(text)} was given, {ORIGIN.allowed} is needed")
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" if port in (None, _DEFAULT_PORTS[scheme]) else f"{scheme}://{host}:{port}"


ORIGIN = Form("an origin like https://example.com, https://*.example.com, or * for every page", "ORIGIN", _origin)


@dataclass(frozen=True)
class Web(Section):
    """WebSockets, and what else comes over HTTP: listeners of ws:// and wss://."""

    origins: tuple[str, ...] = setting(
        (),
        "The pages that may connect, by their origin. None: those of the same host and port, by the header Host. "
        "Programs that are no browsers name no origin, and may connect always.",
        form=ORIGIN,
        live=True,
    )
    page: str = setting(
        "off",
        'What a browser is shown: "chat" is a page, with its script, that chats with the backend of `demo`, cuts its '
        'connection and counts what is lost; "off": nothing.',
        form=one_of("off", "chat"),
    )
    ping_secs: float = seconds(
        25.0,
        "How often each WebSocket is sent a ping, and each event stream a comment, which keeps proxies from ending "
        "them for being idle. A WebSocket that has answered no ping until the next one is due has lost its "
        "connection. 0 = never.",
        live=True,
    )
    body_bytes: int = setting(
        1 << 20,
        "The largest body that POST /send takes, which is one packet; see also clients.packet_size_limit.",
        unit="bytes",
        at_least=0,
        live=True,
    )
    forwarded: str = setting(
        "off",
        "The header in which a proxy says whose request it hands on: the last address in it that is not itself one of "
        "listener.proxy_networks is what logs and limits use. From anybody else it means nothing.",
        form=one_of("off", "x-forwarded-for", "forwarded"),
        live=True,
    )
