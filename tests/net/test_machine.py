"""What memory there is, and which start of the machine this is, from the texts of the files that Linux tells it in."""

from __future__ import annotations

import pytest

from voltlane.net.machine import UNKNOWN, available_memory, boot_id, memory_of

MEMINFO = {"/proc/meminfo": "MemTotal:        8000000 kB\nMemFree:           10 kB\nSwapTotal:       99 kB\n"}
MACHINE = 8_000_000 * 1024
SERVICE = {"/proc/self/cgroup": "0::/system.slice/voltlane.server.service\n"}
V1 = {"/proc/self/cgroup": "9:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/x\n"}
IN_V1 = "/sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, UNKNOWN),
        ({"/proc/meminfo": "nonsense"}, UNKNOWN),
        (MEMINFO, MACHINE),
        ({**MEMINFO, "/sys/fs/cgroup/memory.max": "max\n"}, MACHINE),
        ({**MEMINFO, "/sys/fs/cgroup/memory.max": "1000000\n"}, 1_000_000),
        ({**MEMINFO, **SERVICE, "/sys/fs/cgroup/system.slice/voltlane.server.service/memory.max": "5000\n"}, 5000),
        ({**MEMINFO, **SERVICE, "/sys/fs/cgroup/system.slice/memory.max": "7000\n"}, 7000),
        (
            {
                **MEMINFO,
                **SERVICE,
                "/sys/fs/cgroup/system.slice/voltlane.server.service/memory.max": "max\n",
                "/sys/fs/cgroup/system.slice/memory.max": "7000\n",
                "/sys/fs/cgroup/memory.max": "6000\n",
            },
            6000,
        ),
        ({**MEMINFO, **V1, f"{IN_V1}/docker/abc/memory.limit_in_bytes": "4000\n"}, 4000),
        ({**MEMINFO, **V1, f"{IN_V1}/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ({**MEMINFO, **V1, f"{IN_V1}/memory.limit_in_bytes": "3000\n"}, 3000),
        ({**MEMINFO, "/proc/self/cgroup": "\n:\n0\n0::\n1:memory\n"}, MACHINE),
    ],
)
def test_the_least_limit_counts(files: dict[str, str], wanted: int):
    assert memory_of(files.get) == wanted


def test_the_address_space_is_one_of_the_limits():
    assert memory_of(MEMINFO.get, 10**6) == 10**6
    assert memory_of(MEMINFO.get, 10**15) == MACHINE


def test_this_process_has_some():
    assert available_memory() > 1 << 24


def test_a_start_of_the_machine_has_its_name() -> None:
    file = {"/proc/sys/kernel/random/boot_id": "0a1b2c3d-0000-4000-8000-00000000000f\n"}
    assert boot_id(file.get) == bytes.fromhex("0a1b2c3d00004000800000000000000f")


@pytest.mark.parametrize("text", [None, "", "0a1b2c3d", "0a1b2c3d-0000-4000-8000-0000000000zz"])
def test_one_that_cannot_be_known_is_another_each_time(text: str | None) -> None:
    names = {boot_id(lambda path: text) for _ in range(10)}
    assert len(names) == 10 and {len(name) for name in names} == {16}
