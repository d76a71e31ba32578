"""net + wire + core joined, a file a transport.

tcp       clients over TCP or a unix socket, protocol v2, once they have a session
greeting  before that: the handshake
quiet     reading those who say little, many at once
turns     whose turn it is to be read
sampler   how good each client's link is, as the kernel knows it
partial   the received part of a frame
meter     what clients may send a second, and how long they may say nothing
pressure  clients that do not read
shed      what goes when there is no memory left
master    the firehose: the connection to the master, and what outlives one
"""
