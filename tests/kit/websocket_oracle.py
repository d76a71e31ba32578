"""What wsproto makes of a client's bytes, to be held against our framing."""

from __future__ import annotations

from typing import NamedTuple

from kit.frames import split
from kit.websocket_speaker import PONG, split_frames
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from voltlane.errors import ProtocolError
from voltlane.lanes.websocket import WebSocket, code_for
from voltlane.reasons import CloseReason

LIMIT = 1 << 20
"""wsproto has none: no input here may announce more and have it all."""
UNKNOWN_TO_IT = {1014}
"""Codes of a close that were registered after it was written."""


class Outcome(NamedTuple):
    """What came of a stream."""

    messages: list[bytes]
    pongs: list[bytes]
    close: int
    """The code of the client's close; 1005 for one without a code; 0 for none."""
    mistake: int
    """The code that it is refused with; 0 where it is not."""
    left: int
    """Bytes of a frame that is not whole; -1 where that is not known."""


def ours(data: bytes) -> Outcome:
    framing, messages, said, position, mistake = WebSocket(text=True), b"", b"", 0, 0
    try:
        while position < len(data) and not framing.ended:
            before = position
            chunk, position = framing.decode(data, position, len(data), LIMIT)
            messages += chunk
            said += framing.take_reply()
            if position == before:
                break
    except ProtocolError as error:
        mistake = code_for(error.reason)
    frames, _ = split_frames(said)
    assert all(opcode == PONG for opcode, _ in frames)
    close = 0
    if framing.ended:
        ((_, payload),), _ = split_frames(framing.farewell(CloseReason.PEER_CLOSED))
        close = int.from_bytes(payload[:2], "big") if payload else 1005
    return Outcome(split(messages), [payload for _, payload in frames], close, mistake, len(data) - position)


def theirs(data: bytes) -> Outcome:
    protocol, part = FrameProtocol(client=False, extensions=[]), b""
    messages: list[bytes] = []
    pongs: list[bytes] = []
    close = mistake = 0
    protocol.receive_bytes(data)
    try:
        for event in protocol.received_frames():
            if event.opcode is Opcode.CLOSE:
                close = int(event.payload[0])
            elif event.opcode is Opcode.PING:
                pongs.append(bytes(event.payload))
            elif event.opcode is not Opcode.PONG:
                part += event.payload.encode() if isinstance(event.payload, str) else event.payload
                if event.message_finished:
                    messages.append(part)
                    part = b""
    except ParseFailed as error:
        mistake = int(error.code)
    return Outcome(messages, pongs, close, mistake, -1)


def compare(data: bytes) -> None:
    """Raises AssertionError where the two differ in more than when they say it."""
    we, they = ours(data), theirs(data)
    if we.close in UNKNOWN_TO_IT:
        assert they.mistake == 1002 and they[:2] == we[:2]
        return
    if we.mistake == 1009:  # refused as soon as announced: it waits for what will not come
        assert they[:3] == we[:3]
        return
    if we.mistake != they.mistake and we.left:  # what shows it is in a frame that is not whole:
        sooner = they.mistake == 1007 and not we.mistake  # it looks at a text before all of it is there,
        later = we.mistake == 1002 and not they.mistake and we.left <= 14  # we at a head
        assert (sooner or later) and they[:3] == we[:3], f"{we} and {they} for {data!r}"
        return
    assert they[:4] == we[:4], f"{we}, and wsproto {they}, for {data!r}"
