"""The game of examples/: positions by datagram, events by the stream, through a real server."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

from kit.process import Process, ServerProcess, environment

EXAMPLES = Path(__file__).parents[2] / "examples"
DATAGRAMS = {"listener.address": "127.0.0.1:0,udp://127.0.0.1:0", "master.datagrams": True}


def started(stack: ExitStack, name: str, *arguments: str) -> Process:
    return stack.enter_context(Process([str(EXAMPLES / name), *arguments], environment({})))


def test_positions_go_by_datagrams_and_how_good_their_way_is_is_shown(tmp_path: Path) -> None:
    hose = f"unix:{tmp_path}/master"
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(hose, DATAGRAMS))
        started(stack, "game_backend.py", hose)
        ada = started(stack, "game.py", server.address, "--name", "Ada")
        ada.wait_for_log("Ada has the coin; ")  # it moved onto it, and the backend has seen that
        eve = started(stack, "game.py", server.address, "--name", "Eve", "--seconds", "3")
        ada.wait_for_log("Eve has come")
        ada.wait_for_log(" % out")  # of what it sends: the server has counted that
        assert eve.wait() == 0
        ada.wait_for_log("Eve has gone")
        ada.process.send_signal(signal.SIGINT)
        assert ada.wait() == 0
        for player in (ada, eve):
            assert "round trip " in player.log and " ms, lost 0.0 % in" in player.log
            assert "Traceback" not in player.log, player.log


def test_without_datagrams_it_says_so(tmp_path: Path) -> None:
    hose = f"unix:{tmp_path}/master"
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(hose))
        started(stack, "game_backend.py", hose)
        player = started(stack, "game.py", server.address)
        assert player.wait() == 1
        assert "the server has no datagrams" in player.log and "Traceback" not in player.log
