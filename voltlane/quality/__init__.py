"""How good the link to a peer is: for this server's clients, and for any other relay, since it needs nothing else here.

Nothing here reads a clock: `now` is seconds of any clock that does not go back, read once a turn of the caller's loop.
Nothing here touches a socket either, and nothing runs by itself. What there is, from the parts to the whole:

link        LinkQuality: one peer's timeout, bandwidth, latency, loss, jitter, and a score made of them
loss        LossTracker: the lost of a thousand · NumberLoss: the same from the highest number and how many came
numbers     Numbers: what came of numbers that go up by one: new, late, repeated
times       Jitter (RFC 3550) · RoundTrip, from times that come back
datagrams   DatagramQuality: a LinkQuality that is fed with totals of numbers · PeerQuality: one that counts them itself
peers       Peers: many of these by their addresses, and who has been silent for too long
addresses   validate_address: whether a peer can be there at all

A relay that numbers its datagrams has all of it in a few lines (examples/relay.py is a whole one):

    peers = Peers(timeout=30.0, most=1000)
    while True:
        data, address = sock.recvfrom(2048)
        now = monotonic()                               # once a turn
        peer = peers.get(address) or peers.add(address, now)
        if peer is not None:                            # None: there are too many
            peer.came(len(data), now, number=number_of(data))
        for other in peers.by_score():                  # the best link is served first
            ...
        for address, peer in peers.expire(now):
            ...                                         # silent for half a minute

Ideas and numbers of the averages are those of the crate udp-relay-core; README.md has a table of what is what.
"""

from __future__ import annotations

from .addresses import validate_address
from .datagrams import DatagramQuality, PeerQuality
from .link import (
    BANDWIDTH_WEIGHT,
    HALF_BANDWIDTH,
    JITTERS,
    LATENCY_WEIGHT,
    LOSS_WEIGHT,
    NEW_SHARE,
    OLD_SHARE,
    SAMPLE_INTERVAL,
    WORST,
    LinkQuality,
)
from .loss import LOSS_HISTORY, LossTracker, NumberLoss
from .numbers import Arrival, Numbers
from .peers import Peers
from .times import Jitter, RoundTrip

__all__ = [
    "BANDWIDTH_WEIGHT",
    "HALF_BANDWIDTH",
    "JITTERS",
    "LATENCY_WEIGHT",
    "LOSS_HISTORY",
    "LOSS_WEIGHT",
    "NEW_SHARE",
    "OLD_SHARE",
    "SAMPLE_INTERVAL",
    "WORST",
    "Arrival",
    "DatagramQuality",
    "Jitter",
    "LinkQuality",
    "LossTracker",
    "NumberLoss",
    "Numbers",
    "PeerQuality",
    "Peers",
    "RoundTrip",
    "validate_address",
]
