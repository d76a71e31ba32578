"""A server with workers, as the processes that it is, and a backend that takes a connection from each of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kit.process import Process, ServerProcess, environment
from kit.wait import wait_until

CLOCK_BITS = 45


def node_of(client_id: int) -> int:
    """Whose id it is."""
    return client_id >> CLOCK_BITS


class EchoBackend(Process):
    """`voltlane echo`: any number of connection servers at once."""

    def __init__(self) -> None:
        super().__init__(["-m", "voltlane", "echo", "--listen", "127.0.0.1:0"], environment({}))
        self.wait_for_log("connection servers connect to ")
        self.address = re.search(r"connect to (\S+);", self.log)[1]  # type: ignore[index]

    def __enter__(self) -> EchoBackend:
        return self


class WorkersProcess(ServerProcess):
    """`voltlane serve` with workers."""

    def __init__(
        self, master: str, settings: dict[str, object] | None = None, workers: int = 2, config: Path | None = None
    ) -> None:
        self.workers = workers
        super().__init__(master, {"general.workers": workers, **(settings or {})})

    def __enter__(self) -> WorkersProcess:
        return self

    def wait_for_workers(self, times: int = 1) -> None:
        """Until each worker has its connection to the master, and the parent knows that."""
        for index in range(self.workers):
            self.wait_for(index, times)

    def wait_for(self, index: int, times: int = 1) -> None:
        """The same of one, that has been started so often."""
        self.wait_for_log(f"worker {index} takes connections", times)

    def pid_of(self, index: int, start: int = 0) -> int:
        """A worker's process: of those that it had, the one that was started so often before; the last with -1."""
        self.wait_for_log(f"worker {index}: here as process ", max(start, 0) + 1)
        return self.pids_of(index)[start]

    def pids_of(self, index: int) -> list[int]:
        """All that it has had."""
        return [int(found) for found in re.findall(rf"worker {index}: here as process (\d+)", self.log)]

    @property
    def pids(self) -> list[int]:
        """The last process of each worker."""
        return [self.pids_of(index)[-1] for index in range(self.workers)]


def wait_for_end(pid: int) -> None:
    """Until there is no such process any more, or only its exit code."""

    def ended() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_until(ended, f"the end of process {pid}")


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    return os.path.exists(f"/proc/{pid}")
