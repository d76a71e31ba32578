"""A running connection server.

server      `Server`: the composition root, its life and its settings
farewell    how one that was asked to stop ends
reload      reading the settings again while it runs
service     what a service manager is told
observer    looking at it: fills the values of `statistics`
state       the same as a few lines for the log
oversight   what the admin endpoint is given
"""

from .server import EXIT_NO_MASTER, Server

__all__ = ["EXIT_NO_MASTER", "Server"]
