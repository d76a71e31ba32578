"""The client library: be a client of a connection server.

connection  `Connection`: a session, and the connection that carries it at present
link        one connection: connecting, sending and receiving with deadlines

It stands on `wire` and on the sockets of `net`, beside the server; it needs neither the server's parts nor its loop.
"""

from .connection import PACKET_LIMIT, Connection

__all__ = ["PACKET_LIMIT", "Connection"]
