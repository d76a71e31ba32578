"""The state directory of a server with workers: its keys are in the directory itself, and each worker's sessions in
one of its own below that.
"""

from __future__ import annotations

import os
import re

from ...errors import StateError
from ...store.backlogs import FILE as BACKLOGS
from ...store.directory import StateDirectory
from ...store.journal import FILE as JOURNAL

_NAME = re.compile(r"worker-(\d+)")


def directory_of(state_dir: str, index: int) -> str:
    """That of one worker."""
    return os.path.join(state_dir, f"worker-{index}")


def workers_in(state_dir: str) -> int:
    """Of how many workers there are directories: one more than the highest index."""
    try:
        names = os.listdir(state_dir)
    except OSError:
        return 0
    return max([int(found[1]) + 1 for name in names if (found := _NAME.fullmatch(name))], default=0)


def check_alone(state_dir: str) -> None:
    """For a server without workers. Raises StateError where there are sessions of workers."""
    before = workers_in(state_dir)
    if before:
        raise _refusal(state_dir, before, 1, 0)


def divide(directory: StateDirectory, workers: int) -> bool:
    """Prepare it for so many workers; whether there are sessions in it. What a server without workers has left there
    is the first one's from now on. Raises StateError where there are more workers' sessions than workers."""
    before = workers_in(directory.path)
    if before > workers:
        raise _refusal(directory.path, before, workers, workers)
    for file in (JOURNAL, BACKLOGS):
        if directory.has(file):
            with directory.refusing(directory.name(file)):
                first = directory_of(directory.path, 0)
                os.makedirs(first, 0o700, exist_ok=True)
                os.replace(directory.name(file), os.path.join(first, file))
                directory.sync()
    return any(
        os.path.lexists(os.path.join(directory_of(directory.path, index), file))
        for index in range(workers)
        for file in (JOURNAL, BACKLOGS)
    )


def _refusal(state_dir: str, before: int, workers: int, first: int) -> StateError:
    return StateError(
        f"{state_dir} has the sessions of {before} workers, and general.workers is {workers}: start with {before} or "
        f"more; or, to give up the sessions of those that are too many, remove {directory_of(state_dir, first)}"
        + (" and those behind it" if first < before - 1 else "")
    )
