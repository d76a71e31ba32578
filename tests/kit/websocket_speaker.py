"""A WebSocket's client, behind the upgrade: written the slow way, from the RFC, with nothing of the package in it."""

from __future__ import annotations

import random

from kit.speaker import Speaker

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
QUESTION = b"are you there?"


def xor(data: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(data))


def head(opcode: int, size: int, *, fin: bool = True, reserved: int = 0, masked: bool = True, form: int = 0) -> bytes:
    """What is in front of the key; `form`: in how many bytes the size is said, 0 for the fewest."""
    form = form or (1 if size < 126 else 2 if size < 1 << 16 else 8)
    mask = 0x80 if masked else 0
    second = bytes([mask | size]) if form == 1 else bytes([mask | (126 if form == 2 else 127)])
    return bytes([(0x80 if fin else 0) | reserved << 4 | opcode]) + second + size.to_bytes(form, "big") * (form > 1)


def client_frame(opcode: int, payload: bytes = b"", key: bytes = b"\x37\xfa\x21\x3d", **how: int) -> bytes:
    """A frame as clients send it; `how` as for `head`."""
    return head(opcode, len(payload), **how) + key + xor(payload, key)  # type: ignore[arg-type]


def server_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A frame as servers send it."""
    return head(opcode, len(payload), masked=False) + payload


def split_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames of a server, as opcode and payload, and what is behind them."""
    frames = []
    while len(data) >= 2:
        assert data[0] & 0xF0 == 0x80 and not data[1] & 0x80, "a server's frames are whole messages, without a mask"
        form = {126: 2, 127: 8}.get(data[1], 0)
        begin = 2 + form
        size = int.from_bytes(data[2:begin], "big") if form else data[1]
        if len(data) < begin + size:
            break
        assert size >= {0: 0, 2: 126, 8: 1 << 16}[form], "the size is said in the fewest bytes"
        frames.append((data[0] & 0x0F, data[begin : begin + size]))
        data = data[begin + size :]
    return frames, data


class WebSocketSpeaker(Speaker):
    """Binary messages, each with another key; some of them, always the same, in parts."""

    kind = BINARY

    def __init__(self) -> None:
        self._received = b""
        self._random = random.Random(6455)
        self.close_code = 0
        """What the server's close said; 1005 for one without a code."""

    def encode(self, message: bytes) -> bytes:
        if len(message) % 5 != 3:
            return client_frame(self.kind, message, self._key())
        cut = len(message) // 2
        begin = client_frame(self.kind, message[:cut], self._key(), fin=False)
        return begin + client_frame(CONTINUATION, message[cut:], self._key())

    def decode(self, data: bytes) -> list[bytes]:
        frames, self._received = split_frames(self._received + data)
        messages = []
        for opcode, payload in frames:
            assert not self.ended, "nothing is behind a close"
            if opcode in (TEXT, BINARY):
                messages.append(payload)
            elif opcode == PONG:
                assert payload == QUESTION
                self.pongs += 1
            elif opcode == CLOSE:
                self.ended = True
                self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
            else:
                assert opcode == PING and not payload
        return messages

    def ping(self) -> bytes:
        return client_frame(PING, QUESTION, self._key())

    def close(self) -> bytes:
        return client_frame(CLOSE, (1000).to_bytes(2, "big"), self._key())

    def _key(self) -> bytes:
        return self._random.randbytes(4)
