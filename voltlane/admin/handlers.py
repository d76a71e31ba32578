"""What each path answers."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import Any

from ..wire.http1.answers import JSON, Refusal, Response, encode_json, json_response
from ..wire.http1.conversation import Request
from ..wire.http1.target import split_path
from .events import Events
from .exposition import exposing
from .figures import client_figures, draining_figures, figures
from .guard import Guard
from .history import history, recent
from .listing import MOST as MOST_ROWS
from .listing import amount, check_fields, listing, number
from .page import Page
from .recorder import Recorder
from .router import Route, Router, Work
from .steps import Steps
from .subject import Subject

OPEN = {split_path(path) for path in ("/", "/livez", "/readyz", "/login")}
"""Paths that need no token and may be asked for by any name: the page itself holds nothing, and probes are simple."""
PROBES = {split_path(path) for path in ("/livez", "/readyz")}
"""What is always answered at once."""
METRICS = split_path("/metrics")
NOTICE_SECS = 10.0
"""Longer than balancers need to see that a server is not ready: two or three looks, some seconds apart."""
LONGEST_NOTICE = 3600.0
MOST_A_SECOND = 10_000.0
"""Clients told to go elsewhere."""


class Handlers:
    """The endpoint's answers, of the server `subject`."""

    def __init__(self, subject: Subject, guard: Guard, events: Events, recorder: Recorder) -> None:
        self._subject = subject
        self._guard = guard
        self._events = events
        self._recorder = recorder
        self._page = Page()
        self._router = Router(
            [
                Route("GET", "/", self.page),
                Route("GET", "/livez", self.livez),
                Route("GET", "/readyz", self.readyz),
                Route("GET", "/metrics", self.metrics),
                Route("GET", "/stats", self.stats),
                Route("GET", "/history", self.history),
                Route("GET", "/clients", self.clients),
                Route("GET", "/clients/{id}", self.client),
                Route("POST", "/clients/{id}/kick", self.kick),
                Route("GET", "/closed", self.closed),
                Route("GET", "/events", self.events),
                Route("POST", "/drain", self.drain),
                Route("DELETE", "/drain", self.take_back),
                Route("POST", "/login", self.login),
            ]
        )

    def respond(self, request: Request) -> Response | Work:
        """Answer a request. Raises Refusal."""
        if request.segments not in OPEN:
            self._guard.check(request)
        return self._router.dispatch(request)

    # ---- probes

    def livez(self, request: Request) -> Response:
        """The loop turns, or there would be no answer."""
        return _text(HTTPStatus.OK, "alive")

    def readyz(self, request: Request) -> Response:
        """Whether clients should be sent here."""
        subject, draining = self._subject, self._subject.draining
        more = f": {draining.left} clients are left" if draining is not None and draining.left else ""
        return _text(HTTPStatus.OK if subject.ready else HTTPStatus.SERVICE_UNAVAILABLE, subject.state + more)

    # ---- figures

    def metrics(self, request: Request) -> Work:
        """All counters, for Prometheus."""
        subject, accept = self._subject, request.headers.get("accept", "")
        statistics = yield from subject.observing()
        body, content_type = yield from exposing(statistics, subject.ready, accept)
        return Response(HTTPStatus.OK, body, content_type)

    def stats(self, request: Request) -> Work:
        """The same in JSON."""
        return json_response((yield from snapshot(self._subject)))

    def history(self, request: Request) -> Response:
        """The last quarter of an hour."""
        return json_response(history(self._subject.timeline))

    def events(self, request: Request) -> Response:
        """The live stream."""
        return self._events.open()

    # ---- clients

    def clients(self, request: Request) -> Response | Work:
        """Clients, sorted and paged."""
        return listing(self._subject, request)

    def client(self, request: Request, client_id: int) -> Work:
        """One client."""
        rows = yield from self._subject.rows([client_id])
        if not rows:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no client with this id")
        return json_response(client_figures(rows[0]))

    def closed(self, request: Request) -> Response:
        """The connections that were closed last, newest first."""
        query = request.query
        check_fields(query, ("offset", "limit"))
        offset = number(query, "offset", 0, 10**9)
        limit = number(query, "limit", 50, MOST_ROWS)
        rows = list(islice(reversed(self._recorder.closed), offset, offset + limit))
        return json_response({"total": len(self._recorder.closed), "offset": offset, "limit": limit, "closed": rows})

    # ---- orders

    def kick(self, request: Request, client_id: int) -> Work:
        """End a client's session; the master is told."""
        if not (yield from self._subject.expelling(client_id)):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no client with this id")
        return json_response({"kicked": client_id})

    def drain(self, request: Request) -> Response:
        """`/drain?rate=…&notice=…`: have clients go elsewhere."""
        query = request.query
        check_fields(query, ("rate", "notice"))
        self._subject.drain(
            amount(query, "rate", 0.0, MOST_A_SECOND), amount(query, "notice", NOTICE_SECS, LONGEST_NOTICE)
        )
        return self._how_far()

    def take_back(self, request: Request) -> Response:
        """Take clients again."""
        self._subject.take_back()
        return self._how_far()

    def _how_far(self) -> Response:
        draining = self._subject.draining
        progress = None if draining is None else draining_figures(draining)
        return json_response({"state": self._subject.state, "draining": progress})

    # ---- for people

    def page(self, request: Request) -> Response:
        """The live page. It says nothing by itself: what it shows it asks for."""
        return self._page.response

    def login(self, request: Request) -> Response:
        """A browser's way to show the token: the body is the token, and the answer a cookie."""
        self._guard.check_site(request)
        cookie = self._guard.cookie_for(request.body.decode("utf-8", "replace").strip())
        return Response(HTTPStatus.OK, encode_json({"welcome": True}), JSON, (("Set-Cookie", cookie),))


def snapshot(subject: Subject) -> Steps[dict[str, Any]]:
    """The server at this moment, as /stats and the live stream show it; each step is for a turn of its own."""
    statistics = yield from subject.observing()
    return {**figures(statistics, subject.ready, subject.state), "recent": recent(subject.timeline)}


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode() + b"\n", "text/plain; charset=utf-8")
