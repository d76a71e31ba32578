"""A pair of sockets in the place of one connection."""

from __future__ import annotations

import os
import resource

from voltlane.net.joint import joint
from voltlane.net.sockets import reset_on_close


def test_a_word_is_one_without_a_descriptor_left_for_it() -> None:
    """Else its byte would be one of the connection's."""
    inner, outer = joint(False)
    with inner, outer:
        outer.send(b"before")
        reset_on_close(outer)
        outer.send(b"behind")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            received = inner.recv(100)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert inner.resets
        while len(received) < 12:
            received += inner.recv(100)
        assert received == b"beforebehind"
