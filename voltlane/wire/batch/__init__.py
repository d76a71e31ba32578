"""The per-packet loops of the data path, in the fastest form this interpreter has.

The same functions in every form (`plain` says exactly what they do, `loops` which form is taken):

    retag(buffer, start, stop, client_id, most)          client frames → one chunk of tagged frames for the firehose
    group(buffer, start, stop, most, wanted)             tagged frames → one chunk of client frames for each client
    unmask(buffer, start, stop, first, most)             a WebSocket client's messages → one chunk
    retag_masked(buffer, start, stop, client_id, most)   the same → tagged frames, as `retag` makes them of the chunk
    frame(chunk, first)                                  a chunk → frames as a WebSocket's server sends them
    mask(data, key)                                      one payload, masked or off its mask

Those with a buffer stop where the loop's simple case ends: at a frame that is not whole yet, at one of more than `most`
bytes, `group` also at a frame that is not plain data, `unmask` and `retag_masked` at one that is not a whole message.
What stands there is for the caller to look at, once a batch instead of once a packet.
`runs` and `plain` are two of the forms, `_native` is the third; `views` does in place what `group`
leaves of large packets.
"""

from __future__ import annotations

from .loops import BACKEND, frame, group, mask, retag, retag_masked, unmask

__all__ = ["BACKEND", "frame", "group", "mask", "retag", "retag_masked", "unmask"]
