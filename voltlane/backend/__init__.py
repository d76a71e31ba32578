"""The backend library: the master's side of the firehose.

firehose    `Firehose`: listens for connection servers, and is what all of them say, as one stream
handler     `Handler`: a backend as a class, with a method for each kind of packet
link        one connection server's link: packets in, packets out

It stands on `wire` and on the sockets of `net`, beside the server, and needs no cryptography.
"""

from ..wire.tagged import Flag
from .firehose import PACKET_LIMIT, Firehose
from .handler import Handler
from .link import CLIENT_MOVED, LINK_LOST, Packet, ServerLink

__all__ = ["CLIENT_MOVED", "LINK_LOST", "PACKET_LIMIT", "Firehose", "Flag", "Handler", "Packet", "ServerLink"]
