"""What a link needs to know of the settings, and what is said where it cannot be had."""

from __future__ import annotations

import pytest

from voltlane.cluster.redis import options as options_module
from voltlane.cluster.redis.connection import greeting
from voltlane.cluster.redis.options import options_of
from voltlane.config import Cluster
from voltlane.errors import StartupError

SECRET = "s" * 32


def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(options_module, "AVAILABLE", False)
    with pytest.raises(
        StartupError, match=r"^cluster\.url is set, which needs hiredis: pip install hiredis$"
    ) as caught:
        options_of(Cluster(url="redis://host", secret=SECRET))
    assert caught.value.exit_code == 2


def test_tls_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(options_module, "AVAILABLE", True)
    monkeypatch.setattr(options_module, "ssl", None)
    with pytest.raises(StartupError, match="this Python has no module ssl"):
        options_of(Cluster(url="rediss://host", secret=SECRET))


@pytest.mark.parametrize("lease, answer", [(15.0, 2.0), (8.0, 2.0), (4.0, 1.0), (1.0, 0.25)])
def test_answers_are_awaited_for_less_than_a_lease(monkeypatch: pytest.MonkeyPatch, lease: float, answer: float):
    monkeypatch.setattr(options_module, "AVAILABLE", True)
    made = options_of(Cluster(url="redis://host", secret=SECRET, lease_secs=lease))
    assert made.answer_secs == answer and made.context is None


@pytest.mark.parametrize(
    "url, said",
    [
        ("redis://host/3", [("SELECT", 3)]),
        ("redis://:p@host", [("AUTH", "p"), ("SELECT", 0)]),
        ("redis://u:p@host", [("AUTH", "u", "p"), ("SELECT", 0)]),
    ],
)
def test_the_greeting(monkeypatch: pytest.MonkeyPatch, url: str, said: list[tuple[object, ...]]):
    monkeypatch.setattr(options_module, "AVAILABLE", True)
    assert greeting(options_of(Cluster(url=url, secret=SECRET))) == said
