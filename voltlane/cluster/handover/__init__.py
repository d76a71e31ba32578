"""Handing everything over to another process of the same machine, without a cut: see docs/architecture.md.

notes       what the two say to each other
fields      what a note is made of
wire        the socket between them, and the descriptors that go over it
heritage    what the other process has to be
states      what is said of a connection
sessions    what is said of a session
datagrams   what is said of datagrams, beside a connection and in its place
arrivals    what is said of a connection in its handshake, which goes alone
nodes       what is said of a server as one of several
stores      what is said of the state directory
goods       all that there is, taken in from notes
offer       all that there is, as notes: a part of it ahead, the rest in the pause
ahead       of that, the sessions and their connections, and which of them have changed since
giver       the side that has it
taker       the side that gets it
"""
