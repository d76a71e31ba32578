"""The peers of a relay, by their addresses."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from .datagrams import PeerQuality
from .link import WORST

Address = TypeVar("Address", bound=Hashable)

_Due = tuple[float, int, Address, PeerQuality]


class Peers(Generic[Address]):
    """Peers, each of them thought gone when it has been silent for `timeout` seconds; 0 is never.

    `most`: as many at once as there may be, so that nobody can make it grow by making up addresses; 0 is no limit.
    `bits`, `period` and `echo_period` are those of `PeerQuality`.

    Whoever is heard costs nothing here: each peer is looked at when its timeout would be over had it been silent since
    the last look, and so about once in that time.
    """

    def __init__(
        self,
        timeout: float = 30.0,
        most: int = 0,
        *,
        bits: int = 0,
        period: float = 0.0,
        echo_period: float = 0.0,
    ) -> None:
        self.timeout = timeout
        self.most = most
        self._form = bits, period, echo_period
        self._peers: dict[Address, PeerQuality] = {}
        self._due: list[_Due[Address]] = []
        self._added = 0  # so that no two of these are compared by what they are of

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, address: object) -> bool:
        return address in self._peers

    def __iter__(self) -> Iterator[Address]:
        return iter(self._peers)

    def items(self) -> list[tuple[Address, PeerQuality]]:
        """All of them, in the order in which they came."""
        return list(self._peers.items())

    def get(self, address: Address) -> PeerQuality | None:
        """The peer there, if it is known."""
        return self._peers.get(address)

    def add(self, address: Address, now: float) -> PeerQuality | None:
        """A peer there, or None where there are as many as there may be. Raises ValueError where there is one."""
        if address in self._peers:
            raise ValueError(f"there is a peer at {address} already")
        if self.most and len(self._peers) >= self.most:
            return None
        bits, period, echo_period = self._form
        peer = PeerQuality(now, self.timeout, bits=bits, period=period, echo_period=echo_period)
        self._peers[address] = peer
        if self.timeout > 0:
            self._await(address, peer)
        return peer

    def remove(self, address: Address) -> PeerQuality | None:
        """Forget the peer there. Who it was."""
        peer = self._peers.pop(address, None)
        if len(self._due) > 2 * len(self._peers) + 64:  # those of who is gone
            self._due = [due for due in self._due if self._peers.get(due[2]) is due[3]]
            heapify(self._due)
        return peer

    def expire(self, now: float) -> list[tuple[Address, PeerQuality]]:
        """Forget who has been silent for too long. Who that was."""
        gone: list[tuple[Address, PeerQuality]] = []
        while self._due and self._due[0][0] < now:
            _, _, address, peer = heappop(self._due)
            if self._peers.get(address) is not peer:
                continue
            if peer.timed_out(now):
                del self._peers[address]
                gone.append((address, peer))
            else:
                self._await(address, peer)
        return gone

    def look(self, now: float) -> None:
        """Take what came into everybody's averages."""
        for peer in self._peers.values():
            peer.look(now)

    def by_score(self) -> list[tuple[Address, PeerQuality]]:
        """All of them, the best link first; one that nothing is known of is in the middle."""
        return sorted(self._peers.items(), key=lambda item: _rank(item[1]))

    def _await(self, address: Address, peer: PeerQuality) -> None:
        self._added += 1
        heappush(self._due, (peer.last_receive + peer.timeout, self._added, address, peer))


def _rank(peer: PeerQuality) -> int:
    score = peer.score
    return WORST // 2 if score is None else score
