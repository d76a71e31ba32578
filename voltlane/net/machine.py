"""What the machine says of itself: how much memory there is for this process (of the machine, of its control groups, of
its own limits), and whether it was started again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Callable, Optional

try:
    import resource
except ImportError:  # pragma: no cover (not a Unix)
    resource = None  # type: ignore[assignment]

UNKNOWN = 1 << 30
"""What is assumed where nothing can be found out."""

Read = Callable[[str], Optional[str]]
"""A file's text by its path, or None where it cannot be read."""


def available_memory() -> int:
    """Bytes that this process may use, of what is known."""
    return memory_of(_read, _address_space())


def memory_of(read: Read, address_space: int | None = None) -> int:
    """The least of all limits that the files of Linux tell of, and of `address_space`.

    Those are the machine's memory, and the limits of the control group the process is in and of those around it, in
    version 2 or version 1. In a container the group's own path may not be there; its limits stand in the root then.
    """
    limits = [*_machine(read), *_groups(read)]
    if address_space is not None:
        limits.append(address_space)
    return min(limits, default=UNKNOWN)


def boot_id(read: Read | None = None) -> bytes:
    """16 bytes that are the same until the machine is started again; others each time where that cannot be known."""
    text = (read or _read)("/proc/sys/kernel/random/boot_id") or ""
    digits = text.strip().replace("-", "")
    return bytes.fromhex(digits) if re.fullmatch("[0-9a-f]{32}", digits) else os.urandom(16)


def _machine(read: Read) -> Iterator[int]:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", read("/proc/meminfo") or "", re.MULTILINE)
    if found:
        yield 1024 * int(found.group(1))


def _groups(read: Read) -> Iterator[int]:
    paths = {"": "/", "memory": "/"}  # by controller: version 2 has the empty name
    for line in (read("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            if controller in paths:
                paths[controller] = path
    for root, name, path in (
        ("/sys/fs/cgroup", "memory.max", paths[""]),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", paths["memory"]),
    ):
        group = [part for part in path.split("/") if part] if path.startswith("/") else []
        for depth in range(len(group), -1, -1):
            text = (read("/".join([root, *group[:depth], name])) or "").strip()
            if text.isdigit():  # "max" is none
                yield int(text)


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return None


def _address_space() -> int | None:
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            return limit
    return None
