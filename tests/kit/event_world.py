"""Clients of a fake world that speak HTTP to it: those that are sent events, and those that make requests."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from kit.event_source import Event, EventSource, packet_of
from kit.lanes import ws
from kit.world import SEND_BUFFER, Peer, World

HOST = "Host: server.example.com"


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "".join([f"{text}\r\n" for text in (f"{line} HTTP/1.1", HOST, *headers, "")]).encode() + body


def post(token: str, body: bytes, *headers: str) -> bytes:
    return request("POST /send", f"Authorization: Bearer {token}", f"Content-Length: {len(body)}", *headers, body=body)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    assert first.startswith("HTTP/1.1 ")
    pairs = [line.split(": ", 1) for line in lines]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}


class Caller(Peer):
    """Makes requests, and keeps the answers."""

    def __init__(self, world: World, *requests: bytes, send_buffer: int = 1 << 16, lane: ModuleType = ws) -> None:
        super().__init__(world, send_buffer)
        self.tunnel = lane.Speaker().tunnel
        self.answers: list[Answer] = []
        self.interim = 0
        self._received = b""
        world.clients.append(self)  # type: ignore[arg-type]
        world.let_in(self, "", lane)
        for words in requests:
            self.write(words)

    def decode(self, data: bytes) -> list[bytes]:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, rest = self._received.partition(b"\r\n\r\n")
            status, headers = parse_head(head)
            size = int(headers.get("content-length", 0))
            if len(rest) < size:
                break
            if status == 100:
                self.interim += 1
            else:
                self.answers.append(Answer(status, headers, rest[:size]))
            self._received = rest[size:]
        return []

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


class EventClient(Peer):
    """A client with an event stream."""

    def __init__(
        self,
        world: World,
        last_id: str = "",
        *headers: str,
        in_query: bool = False,
        send_buffer: int = SEND_BUFFER,
        lane: ModuleType = ws,
    ) -> None:
        super().__init__(world, send_buffer)
        self.tunnel = lane.Speaker().tunnel
        self.head: tuple[int, dict[str, str]] | None = None
        self.source = EventSource(last_id)
        self.events: list[Event] = []
        self.raw = b""
        self._received = b""
        world.clients.append(self)  # type: ignore[arg-type]
        world.let_in(self, "", lane)
        query = f"?last_event_id={last_id}" if in_query else ""
        by_header = [f"Last-Event-ID: {last_id}"] if last_id and not in_query else []
        self.write(request(f"GET /events{query}", "Accept: text/event-stream", *by_header, *headers))

    def decode(self, data: bytes) -> list[bytes]:
        if self.head is None:
            self._received += data
            head, end, data = self._received.partition(b"\r\n\r\n")
            if not end:
                return []
            self.head = parse_head(head)
        self.raw += data
        self.events += self.source.feed(data)
        return []

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.type == kind]

    @property
    def told(self) -> dict[str, object]:
        """What the first event says."""
        assert self.events[0].type == "session"
        return self.events[0].value  # type: ignore[no-any-return]

    @property
    def id(self) -> int:
        return self.told["client_id"]  # type: ignore[return-value]

    @property
    def token(self) -> str:
        return self.told["token"]  # type: ignore[return-value]

    @property
    def got(self) -> list[bytes]:
        """Packets, in order."""
        return [packet_of(event) for event in self.events if event.type in ("message", "binary")]

    @property
    def numbers(self) -> list[int]:
        """Of these."""
        return [number_of(event.last_id) for event in self.events if event.type in ("message", "binary")]


def number_of(last_id: str) -> int:
    return int(last_id.rpartition(".")[2])


def stream(world: World, last_id: str = "", *headers: str, **how: bool) -> EventClient:
    """A client whose stream has begun."""
    client = EventClient(world, last_id, *headers, **how)  # type: ignore[arg-type]
    world.settle()
    assert client.events and not client.ended
    return client


def call(world: World, *requests: bytes) -> list[Answer]:
    """The answers to these, on one connection."""
    caller = Caller(world, *requests)
    world.settle()
    return caller.answers
