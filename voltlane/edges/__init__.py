"""net + wire + core joined, a file a transport.

tcp       clients over TCP or a unix socket, protocol v2
master    the firehose: the connection to the master, and what outlives one
"""
