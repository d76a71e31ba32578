"""The client library: be a client of a connection server.

connection  `Connection`: what programs use
session_v2  a session of version 2 of the protocol, over
link        one connection of it: connecting, sending and receiving with deadlines

session_v3  a session of version 3, by
driver      who waits for what: the lock, the line, reconnecting; with
line        one connection as a socket that never blocks
datagram_socket  the socket for datagrams, which outlives connections and addresses
backoff     when to try again

approach    what comes before the protocol's first byte, by the scheme of the address
openings    how that is gone through; it is
secure      TLS: whom to trust, and the handshake
websocket   a WebSocket: its upgrade, and what is a socket behind it

endpoint    version 3 as a state machine, bytes in and bytes out: no socket and no clock in it and below
handshake   the two hellos
pinning     which keys of the server are accepted
memory      a session, whatever becomes of its connections:
retention   what was sent and is not known to be safe
inbox       what was received and the application does not have yet
state       a memory ↔ bytes
options     what programs may choose

datagrams   version 3's datagrams as a state machine, as endpoint is for the stream, with
datagram_keys  numbers, window and times under one pair of keys
datagram_link  how good their way is, as programs are told it

It stands on `wire` and on the sockets of `net`, beside the server; it needs neither the server's parts nor its loop.
"""

from ..errors import (
    ConnectionLost,
    Gap,
    NoDatagrams,
    Refused,
    ServerKeyChanged,
    SessionLost,
    Told,
    Uncertain,
    Unproven,
)
from .connection import CLOSE_SECS, Connection
from .datagram_link import DatagramLink
from .options import PACKET_LIMIT

__all__ = [
    "CLOSE_SECS",
    "PACKET_LIMIT",
    "Connection",
    "ConnectionLost",
    "DatagramLink",
    "Gap",
    "NoDatagrams",
    "Refused",
    "ServerKeyChanged",
    "SessionLost",
    "Told",
    "Uncertain",
    "Unproven",
]
