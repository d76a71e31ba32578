"""What somebody on the way to a client of version 3 can read."""

from __future__ import annotations

import pytest
from kit.record_world import RecordClient
from kit.world import MakeWorld, World

UP, DOWN = b"what the client says", b"what the master says"


class Tapped(RecordClient):
    """One whose bytes somebody writes down, both ways."""

    def __init__(self, world: World, **options: object) -> None:
        self.seen = b""
        super().__init__(world, **options)  # type: ignore[arg-type]

    def write(self, chunk: bytes, *when_whole: object) -> None:
        self.seen += chunk
        super().write(chunk, *when_whole)  # type: ignore[arg-type]

    def decode(self, data: bytes) -> list[bytes]:
        self.seen += data
        return super().decode(data)


@pytest.mark.parametrize("suite", [1, 0], ids=["encrypted", "clear"])
def test_packets_and_secrets(make: MakeWorld, suite: int):
    """Under suite 1 none of it; under suite 0 all of it, the secrets too."""
    home = make()
    client = Tapped(home, suite=suite)
    opening = client.session.secret
    home.settle()
    client.send(UP)
    home.settle()
    home.master.send(client.session.id, DOWN)
    home.settle()
    assert home.master.data[client.session.id] == [UP] and client.session.events == [DOWN]
    words = (UP, DOWN, opening, client.session.secret)
    assert [word in client.seen for word in words] == [not suite] * 4
