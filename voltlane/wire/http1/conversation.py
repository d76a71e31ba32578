"""HTTP/1.1 of one connection, on h11: bytes in, requests out; answers in, bytes out. No socket, no clock. RFC 9112.

Where the RFC lets a recipient be lenient about where a message ends, and others may read it differently (section 11.2),
it is not: bare line feeds, folded lines, two framings at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Callable, NamedTuple

from ...percent import fields_of
from .answers import Refusal, Response
from .target import check_authority, parse_target

try:
    import h11
except ImportError:
    h11 = None

AVAILABLE = h11 is not None

MAX_LINE = 2048
"""Bytes of the longest request line."""
MAX_HEAD = 8192
"""Bytes of the longest request line and headers together."""
MAX_HEADERS = 64
MAX_BODY = 4096
MAX_FIELDS = 16
"""Fields of a query."""
EVENTS = 16
"""Parts of a request, of whatever size, that are looked at in one call: a chunk of a body can be one byte."""


class Limits(NamedTuple):
    """Of one request."""

    line: int = MAX_LINE
    head: int = MAX_HEAD
    headers: int = MAX_HEADERS
    body: int = MAX_BODY


_EMPTY_LINES = re.compile(rb"(?:\r\n)+")
_WRONG_LINE = re.compile(rb"(?<!\r)\n|\n[ \t]")
"""A line feed without its carriage return; a line that goes on with the one before."""


class Request(NamedTuple):
    """One whole request."""

    method: str
    segments: tuple[str, ...]
    """Of the path, as in `Target`."""
    query: dict[str, str]
    authority: str | None
    """The host that is asked, with its port if that is named: the target's, else that of the header Host. None without
    either, which only HTTP/1.0 allows."""
    headers: dict[str, str]
    """By lower-case name; those that came several times joined by commas."""
    body: bytes


class Conversation:
    """What is said on one connection. Requests are taken one at a time: the next one after the answer.

    `headers`: those of every answer. `admit` is given each request when its head is there: how many bytes its body may
    have. It raises Refusal, for what need not even be read.
    """

    def __init__(
        self, limits: Limits, headers: Iterable[tuple[str, str]], admit: Callable[[Request], int] | None = None
    ) -> None:
        self._limits = limits
        self._headers = headers
        self._admit = admit or (lambda request: limits.body)
        self._h11: Any = h11.Connection(h11.SERVER, limits.head)
        self.head: Request | None = None
        """The request whose body is on its way, or which was refused."""
        self._admitted: Request | None = None  # it, if it was not refused
        self._most = 0  # bytes that its body may have
        self._body = bytearray()
        self._last = False  # the answer to this request is the last
        self.pending = b""
        """All that is here of a request from its head on, while it is not admitted."""
        self.unfinished = False
        """Whether not all that is here was looked at: `next_request` is to be called again before more is received,
        when others have had their turn."""

    def receive(self, data: bytes) -> None:
        """What came in."""
        self._h11.receive_data(data)

    def take_interim(self) -> bytes:
        """What is to be sent at once: "100 Continue", when the peer waits for it. Nothing where the body has come all
        the same: it would be read as a word on the next request."""
        if self._admitted is not self.head or not self._h11.they_are_waiting_for_100_continue:
            return b""
        return bytes(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here."""
        return self.head is not None or bool(self._h11.trailing_data[0])

    @property
    def held(self) -> int:
        """Bytes that are here of a request that is not whole."""
        return len(self._body) + len(self._h11.trailing_data[0])

    @property
    def answerable(self) -> bool:
        """Whether an answer may be given: all that was asked before has its own in full, and none was the last."""
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def over(self) -> bool:
        """Whether the answer given was the last one."""
        return self._h11.our_state not in (h11.IDLE, h11.DONE, h11.SEND_RESPONSE, h11.SEND_BODY)

    @property
    def endless(self) -> bool:
        """Whether the answer given goes on."""
        return self._h11.our_state is h11.SEND_BODY

    def next_request(self) -> Request | None:
        """The next request, if it is here as a whole; see also `unfinished`. Raises Refusal: the answer to it is the
        last one."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        self.unfinished = False
        for _ in range(EVENTS):
            if self._h11.their_state is h11.IDLE:
                self._skip_empty_lines()
                head = self._h11.trailing_data[0]
                if head == b"\r":  # half of another empty line
                    return None
                _check_head(head, self._limits)
                self.pending = head
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise Refusal(error.error_status_hint, str(error)) from None
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                self._check_body(len(self._body))
            elif isinstance(event, h11.EndOfMessage):
                self.unfinished = bool(self._h11.trailing_data[0])
                return self._whole()
            else:  # more is needed, or nothing more will come
                return None
        self.unfinished = True
        return None

    def answer(self, response: Response, date: str, last: bool = False) -> bytes:
        """The bytes of an answer; of one without end, those it begins with. `last`: the connection ends with it."""
        headers = [("Date", date), *self._headers, *response.headers]
        if response.content_type:
            headers.append(("Content-Type", response.content_type))
        if response.follow is None:
            headers.append(("Content-Length", str(len(response.body))))
        if last or self._last:
            headers.append(("Connection", "close"))
        status = HTTPStatus(response.status)
        begun = self._h11.send(h11.Response(status_code=status.value, headers=headers, reason=status.phrase))
        if not self._answers_head():
            if response.follow is not None:
                return bytes(begun)
            begun += self._h11.send(h11.Data(data=response.body))
        return bytes(begun + self._h11.send(h11.EndOfMessage()))

    def switch(self, headers: Iterable[tuple[str, str]]) -> tuple[bytes, bytes]:
        """Go on with the protocol that the request at hand asked for: the bytes of the answer, "101 Switching
        Protocols", and what has come behind the request, which is of that protocol."""
        status = HTTPStatus.SWITCHING_PROTOCOLS
        words = self._h11.send(
            h11.InformationalResponse(status_code=status.value, headers=[*headers], reason=status.phrase)
        )
        return bytes(words), bytes(self._h11.trailing_data[0])

    def stream(self, response: Response, date: str) -> bytes:
        """The head of an answer that goes on until the connection ends, whoever writes it: no length, no chunks (RFC
        9112, section 6.3), which readers of events need not know."""
        headers = [("Date", date), *self._headers, *response.headers, ("Connection", "close")]
        lines = [f"{name}: {value}" for name, value in [*headers, ("Content-Type", response.content_type)]]
        assert not any("\r" in line or "\n" in line for line in lines)
        status = HTTPStatus(response.status)
        return "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", ""]).encode("latin-1")

    def more(self, data: bytes) -> bytes:
        """The bytes of the next part of an answer without end."""
        return bytes(self._h11.send(h11.Data(data=data)))

    # ---- a request takes shape

    def _skip_empty_lines(self) -> None:
        """Section 2.2: some clients send one behind a body. h11 does not know them, nor can anything be taken from it;
        but between two requests a new connection is as good as the old one."""
        data = self._h11.trailing_data[0]
        empty = _EMPTY_LINES.match(data)
        if empty:
            self._h11 = h11.Connection(h11.SERVER, self._limits.head)
            if len(data) > empty.end():
                self._h11.receive_data(data[empty.end() :])

    def _begin(self, head: Any) -> None:
        if head.http_version[:1] != b"1":
            raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
        if len(head.headers) > self._limits.headers:
            raise _too_large(self._limits)
        names = [name for name, _ in head.headers]
        if head.http_version > b"1.0" and b"host" not in names:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the header Host is missing")
        if b"transfer-encoding" in names and (b"content-length" in names or head.http_version == b"1.0"):
            raise Refusal(HTTPStatus.BAD_REQUEST, "Transfer-Encoding goes with neither Content-Length nor HTTP/1.0")
        self._last = b"transfer-encoding" in names  # h11 is lenient about where chunks end
        request = self.head = _request(head)
        self._most = self._admit(request)
        self.pending = b""
        if "content-length" in request.headers:
            self._check_body(int(request.headers["content-length"]))
        if request.headers.get("expect", "100-continue").lower() != "100-continue":
            raise Refusal(HTTPStatus.EXPECTATION_FAILED, "nothing but 100-continue can be expected")
        self._admitted = request

    def _check_body(self, size: int) -> None:
        if size > self._most:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {self._most} bytes here")

    def _whole(self) -> Request:
        request, body = self.head, bytes(self._body)
        assert request is not None
        self.head, self._body = None, bytearray()
        return request._replace(body=body)

    def _answers_head(self) -> bool:
        return bool(self._h11._request_method == b"HEAD")


def _request(head: Any) -> Request:
    """Without its body. Raises Refusal."""
    method = head.method.decode("ascii")
    target = parse_target(method, head.target.decode("ascii"))
    try:
        fields = fields_of(target.query, MAX_FIELDS)
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"a query may have {MAX_FIELDS} fields") from None
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        if raw_name == b"upgrade" and head.http_version == b"1.0":  # which has none, and to be ignored: RFC 9110, 7.8
            continue
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    host = headers.get("host")
    if host is not None:
        check_authority(host)
    authority = host if target.authority is None else target.authority
    return Request(method, target.segments, fields, authority, headers, b"")


def _check_head(data: bytes, limits: Limits) -> None:
    """What is here of a request line and headers, with anything behind them. Raises Refusal."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[: end + 4]
    if head and not head[:1].isalpha():  # another protocol's, which may never get to an end of a line
        raise Refusal(HTTPStatus.BAD_REQUEST, "that is no request")
    if len(head.partition(b"\n")[0]) > limits.line:
        raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, f"a request line may have {limits.line} bytes")
    if len(head) > limits.head:
        raise _too_large(limits)
    if _WRONG_LINE.search(head):
        raise Refusal(HTTPStatus.BAD_REQUEST, "lines end with CR LF, and none is continued")


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {limits.headers} headers of {limits.head} bytes in all"
    )
