"""Bytes ↔ values of wire protocol v2 (SPEC.txt). Pure: no sockets, no clock, no state beyond a parse position.

framing     u32 length prefix + payload                      SPEC 2
packets     handshake packets (a bincode enum)               SPEC 3
crypto      keys, key agreement, sealed blobs                SPEC 4
tagged      client id + flag + data, on the firehose         SPEC 6
batch       the per-packet loops of the data path, in the fastest form this interpreter has
"""
