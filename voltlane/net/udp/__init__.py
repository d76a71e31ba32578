"""Datagrams by the batch: what came to a socket as tagged frames, and frames out to many addresses.

loops    the form that is fastest here
native   the same in C, where that was built
plain    peers, which are addresses, in plain Python: the reference
sealed   channels of sealed datagrams, the same
table    what tables of both have in common
rates    what each may send
drops    what was dropped
results  what the loops give back
names    what an address is called
sockets  binding
groups   several sockets for one address
"""
