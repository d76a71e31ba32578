"""A running connection server.

server      `Server`: its life, its settings, and what it is asked
tallies     what was counted
ways        how good the way to a client is that has two
whole       all processes as an operator sees them
reports     what a worker tells its parent for that
supervisor  the parent of several processes that are one server
worker      one of them
listening   opening the addresses at which clients connect
introduction  the first words in the log
farewell    how one that was asked to stop ends
drain       how one is emptied that lives on
drain_all   the same of several processes
minute      a line in the log for each minute
upgrade     how it is followed by another program in place
reload      reading the settings again while it runs
service     what a service manager is told
parts       what it consists of, and how these are joined
gauges      what there is at the moment
pulse       takes what the last quarter of an hour is made of, once a second
observer    looking at it: fills the values of `statistics`
state       the same as a few lines for the log
oversight   what the admin endpoint is given
pages       whether a page can be served
"""

from .parts import EXIT_NO_MASTER, EXIT_NOT_KEPT
from .server import Server

__all__ = ["EXIT_NOT_KEPT", "EXIT_NO_MASTER", "Server"]
