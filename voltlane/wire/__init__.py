"""Bytes ↔ values of wire protocol v2 (SPEC.txt). Pure: no sockets, no clock, no state beyond a parse position.

framing  u32 length prefix + payload                      SPEC 2
v2       handshake packets (a bincode enum)               SPEC 3
crypto   keys, key agreement, sealed blobs                SPEC 4
curve    the arithmetic of secp256k1, in the fastest form this interpreter has
tagged   client id + flag + data, on the firehose         SPEC 6
proxy    headers of the PROXY protocol
batch    the per-packet loops of the data path, in the fastest form this interpreter has
"""
