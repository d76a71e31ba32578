"""Bytes ↔ values of the wire protocols, versions 2 and 3 (SPEC.txt). Pure: no sockets, no clock, no state beyond a
position in what is parsed, and the keys and counters of a channel.

framing  u32 length prefix + payload                      SPEC 2
v2       handshake packets (a bincode enum)               SPEC 3
crypto   keys, key agreement, sealed blobs                SPEC 4
curve    the arithmetic of secp256k1, in the fastest form this interpreter has
v3       version 3: hellos, records, what is in them       SPEC 10 to 18, 23
noise    version 3: its handshake and its ciphers         SPEC 12
datagram  version 3: sealed datagrams beside a stream   SPEC 22 to 28
aead     ChaCha20-Poly1305
tagged   client id + flag + data, on the firehose         SPEC 6
proxy    headers of the PROXY protocol
http1    requests and answers of HTTP/1.1, on h11
websocket  heads, closes and parts of messages         RFC 6455
event_stream  packets as events of an event stream     WHATWG HTML 9.2
batch    the per-packet loops of the data path, in the fastest form this interpreter has
"""
