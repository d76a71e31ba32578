"""net + wire + core joined, a file a transport.

tcp       clients over TCP or a unix socket, protocol v2
turns     whose turn it is to be read
sampler   how good each client's link is, as the kernel knows it
large     frames larger than one read
master    the firehose: the connection to the master, and what outlives one
"""
