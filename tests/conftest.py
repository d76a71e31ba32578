"""What holds for every test: it leaves no descriptor or child process behind, it does not hang, it is repeatable."""

from __future__ import annotations

import compileall
import faulthandler
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.leaks import no_leaks

ROOT = Path(__file__).parent.parent
TEST_DEADLINE_SECS = 120.0
"""A test that takes longer than this hangs: the run ends with every thread's traceback."""

_STDERR: pytest.StashKey[int] = pytest.StashKey()

try:
    from hypothesis import settings
except ImportError:
    pass
else:
    # The same examples in every run: a failure is the code's doing. `HYPOTHESIS_PROFILE=search` looks for new ones.
    settings.register_profile("suite", derandomize=True, max_examples=60, deadline=None, database=None)
    settings.register_profile("search", max_examples=5000, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real standard error, which pytest later replaces, for the traceback of a test that hangs. And compile
    once what each of a thousand servers would compile for itself, where PYTHONDONTWRITEBYTECODE is set."""
    config.stash[_STDERR] = os.dup(2)
    if not hasattr(config, "workerinput"):  # xdist's workers come behind this
        for part in ("voltlane", "bench", "tests/kit"):
            compileall.compile_dir(str(ROOT / part), quiet=2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo `pytest_configure`."""
    os.close(config.stash[_STDERR])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much of the table of promises (lanes/test_promises.py) is kept, and why the rest is none."""
    cells = {
        outcome: [report for report in terminalreporter.getreports(outcome) if "test_promises.py" in report.nodeid]
        for outcome in ("passed", "skipped")
    }
    if not cells["passed"]:
        return
    why = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in cells["skipped"])
    terminalreporter.write_line(f"lane × protocol × promise: {len(cells['passed'])} kept, {sum(why.values())} not made")
    for reason, count in why.most_common():
        terminalreporter.write_line(f"  {count}: {reason}")


@pytest.fixture(autouse=True)
def _deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    faulthandler.dump_traceback_later(TEST_DEADLINE_SECS, exit=True, file=request.config.stash[_STDERR])
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _no_leaks(_deadline: None) -> Iterator[None]:
    with no_leaks():
        yield
