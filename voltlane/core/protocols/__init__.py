"""What messages mean, a file a protocol.

handshake    what a protocol is to the rest of the server
v2           version 2
v3           version 3
open         no handshake, and every message is a packet
events       events over HTTP: the same, and a token to come back with
credentials  whose a session's credential is
secrets      version 3: by what a session is recognised
flow         version 3: the records of one connection, acks and credit
terms        version 3: what the server tells and allows
ends         version 3: what a client is told at the end
table        which of them a client, or a session, speaks
"""
