"""What Linux tells about processes and the machine."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


def group(leader: int) -> list[int]:
    """The processes of a process group that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _read(stat).rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads. 0 when it is gone."""
    try:
        total = sum(int(_read(task / "schedstat").split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
        if total:
            return total / 1e9
    except (OSError, IndexError, ValueError):
        pass  # a kernel without schedstat counts in ticks only
    try:
        fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process. 0 when it is gone."""
    try:
        lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def slabs() -> dict[str, tuple[int, int]]:
    """The kernel's caches of objects: name → (objects in use, bytes of each). Empty for who may not read that."""
    try:
        rows = [line.split() for line in _read(Path("/proc/slabinfo")).splitlines()[2:]]
    except OSError:
        return {}
    return {row[0]: (int(row[1]), int(row[3])) for row in rows}


def kernel_bytes(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]], count: int) -> int:
    """What so many connections, both of whose ends are here, have added to the caches that grew by about as many
    objects; all others grow and shrink with everything else."""
    grown = [(after[name][0] - in_use, size) for name, (in_use, size) in before.items() if name in after]
    return sum([more * size for more, size in grown if more > count // 2])


def cores() -> int:
    """How many this process may use, as far as the interpreter can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """The machine, for people who read the figures elsewhere."""
    return {
        "cpu": _cpu_model(),
        "cores": cores(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": os.getloadavg()[0],
    }


def raise_descriptor_limit() -> int:
    """As many descriptors as are allowed, for us and our children. How many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


def _cpu_model() -> str:
    try:
        lines = _read(Path("/proc/cpuinfo")).splitlines()
    except OSError:
        return "unknown"
    for key in ("model name", "Model", "Hardware", "cpu model"):
        for line in lines:
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return platform.machine()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
