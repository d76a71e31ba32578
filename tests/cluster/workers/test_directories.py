"""Each worker's part of the state directory, and of the settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voltlane.cluster.workers.directories import check_alone, directory_of, divide, workers_in
from voltlane.cluster.workers.share import count_of, share_of
from voltlane.config import Clients, Config, General, Limits
from voltlane.errors import ConfigError, StateError
from voltlane.store.directory import StateDirectory


def test_what_was_undivided_is_the_first_one_s(tmp_path: Path) -> None:
    (tmp_path / "sessions.journal").write_bytes(b"journal")
    (tmp_path / "backlogs").write_bytes(b"backlogs")
    directory = StateDirectory(str(tmp_path))
    assert divide(directory, 2)
    assert (tmp_path / "worker-0" / "sessions.journal").read_bytes() == b"journal"
    assert (tmp_path / "worker-0" / "backlogs").read_bytes() == b"backlogs"
    assert not (tmp_path / "sessions.journal").exists()
    assert divide(directory, 2), "again"
    directory.close()


def test_fewer_than_before(tmp_path: Path) -> None:
    check_alone(str(tmp_path)), check_alone(str(tmp_path / "none"))
    directory = StateDirectory(str(tmp_path))
    assert not divide(directory, 3)
    for index in range(3):
        (tmp_path / f"worker-{index}").mkdir()
    assert workers_in(str(tmp_path)) == 3 and directory_of(str(tmp_path), 2) == str(tmp_path / "worker-2")
    divide(directory, 4)
    with pytest.raises(StateError, match=r"the sessions of 3 workers, and general.workers is 2: .* remove .*worker-2$"):
        divide(directory, 2)
    with pytest.raises(StateError, match=r"general.workers is 1: .* remove .*worker-0 and those behind it"):
        check_alone(str(tmp_path))
    directory.close()


def test_shares() -> None:
    config = Config(
        general=General(node=7, workers=3, state_dir="/var/lib/x", stay=True),
        limits=Limits(accept_rate=5.0, memory_bytes=300 << 20),
        clients=Clients(max_stale_clients=100),
    )
    share = share_of(config, 2, 3, 300 << 20)
    assert (share.general.node, share.general.state_dir, share.general.workers) == (9, "/var/lib/x/worker-2", 1)
    assert share.limits.memory_bytes == 100 << 20 and share.clients.max_stale_clients == 34
    assert not share.admin.address and not share.limits.accept_rate
    with pytest.raises(ConfigError, match="for each of 3 workers"):
        share_of(config, 0, 3, 10 << 20)


def test_as_many_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voltlane.cluster.workers.share.cores", lambda: 6)
    assert count_of(Config()) == 1
    config = Config(general=General(workers=0))
    assert count_of(config) == 6
    with pytest.raises(ConfigError, match="needs nodes up to 256"):
        count_of(replace(config, general=General(workers=0, node=251)))
