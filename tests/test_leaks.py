"""The guard that conftest.py puts around every test does catch what it is there for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from kit.leaks import Leak, descriptors, no_leaks

pytestmark = pytest.mark.skipif(not descriptors(), reason="needs /proc")


def test_nothing_is_said_of_what_was_there_before_or_is_gone_again():
    with socket.socket(), no_leaks(grace=0), socket.socket():
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)


def test_a_socket_that_stays_open_is_a_leak():
    with pytest.raises(Leak, match="socket:"), no_leaks(grace=0):
        left = socket.socket()
    left.close()


def test_a_socket_that_took_an_old_number_is_a_leak():
    old = socket.socket()
    number = old.fileno()
    with pytest.raises(Leak, match=f"descriptor {number}: socket:"), no_leaks(grace=0):
        old.close()
        left = socket.socket()
        assert left.fileno() == number
    left.close()


def test_a_child_that_still_runs_is_a_leak():
    with pytest.raises(Leak, match="running"), no_leaks(grace=0):
        reader, writer = os.pipe()
        child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=reader)
        os.close(reader)
    os.close(writer)
    child.wait(timeout=10)


def test_a_child_that_was_not_waited_for_is_a_leak():
    with pytest.raises(Leak, match="not waited for"), no_leaks(grace=0):
        child = subprocess.Popen([sys.executable, "-S", "-c", ""], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.read()  # its end
        child.stdout.close()
        # Its descriptors are closed a moment before it is a zombie.
        _wait_for_zombie(child.pid)
    child.wait(timeout=10)


def _wait_for_zombie(pid: int) -> None:
    from kit.wait import wait_until

    def ended() -> bool:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"

    wait_until(ended, "the child to end")
