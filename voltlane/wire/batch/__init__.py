"""The per-packet loops of the data path, in the fastest form this interpreter has.

Two functions, the same in every form (`plain` says exactly what they do, `loops` which form is taken):

    retag(buffer, start, stop, client_id, most)   client frames → one chunk of tagged frames for the firehose
    group(buffer, start, stop, most)              tagged frames → one chunk of client frames for each client

Both stop where the loop's simple case ends: at a frame that is not whole yet, at one of more than `most` bytes, and
`group` also at a frame that is not plain data. What stands there is for the caller to look at, once a batch instead of
once a packet. `runs` and `plain` are two of the forms, `_native` is the third; `views` does in place what `group`
leaves of large packets.
"""

from __future__ import annotations

from .loops import BACKEND, group, retag

__all__ = ["BACKEND", "group", "retag"]
