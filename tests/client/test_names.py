"""What programs catch stands beside what raises it."""

from __future__ import annotations

import pytest

from voltlane import client, errors


@pytest.mark.parametrize("name", [name for name in client.__all__ if hasattr(errors, name)])
def test_it_is_the_same_class(name: str) -> None:
    assert getattr(client, name) is getattr(errors, name)


def test_everything_that_recv_raises_is_there() -> None:
    wanted = {"ConnectionLost", "Gap", "Refused", "ServerKeyChanged", "SessionLost", "Told", "Uncertain", "Unproven"}
    assert wanted <= set(client.__all__)
