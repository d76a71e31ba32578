"""What messages mean, a file a protocol.

handshake  what a protocol is to the rest of the server
v2         version 2
table      which of them a client speaks
"""
