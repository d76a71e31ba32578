"""Several listening addresses at once, of every kind; and several addresses of the master."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path

from kit.process import ServerProcess
from kit.raw_client import RawClient
from kit.raw_master import RawMaster
from kit.rig import running


def addresses(server: ServerProcess, count: int) -> list[str]:
    server.wait_for_log("clients connect to ", count)
    return re.findall(r"clients connect to (\S+)", server.log)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_ipv4_ipv6_and_a_unix_socket_at_once(tmp_path: Path) -> None:
    path = tmp_path / "door"
    wanted = ["127.0.0.1:0", "127.0.0.1:0", f"unix:{path}", *(["[::1]:0"] if has_ipv6() else [])]
    settings = {"listener.address": ",".join(wanted), "listener.unix_mode": "0640"}
    with RawMaster() as master, ServerProcess(master.address, settings) as server:
        listening = addresses(server, len(wanted))
        assert [address.rpartition(":")[0] for address in listening] == [a.rpartition(":")[0] for a in wanted]
        master.accept()
        clients = [RawClient.new(address) for address in listening * 2]
        for number, client in enumerate(clients):
            client.send(b"%d" % number)
            assert master.recv_for(client.client_id).data == b"%d" % number
        clients[0].address = f"unix:{path}"
        again = clients[0].come_back()
        again.send(b"in by another door")
        assert master.recv_for(clients[0].client_id).flag == 3
        assert master.recv_for(clients[0].client_id).data == b"in by another door"
        mode = os.stat(path).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o640
        assert server.stop() == 0
        for client in (*clients, again):
            client.close()
    assert not path.exists()


def test_one_that_cannot_be_listened_on_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "door"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with ServerProcess("127.0.0.1:1", {"listener.address": f"unix:{path},{address}"}) as server:
            assert server.wait() == 3
            assert f"cannot listen on {address}: Address already in use" in server.log
            assert "clients connect to" not in server.log
    assert not path.exists()


def test_clients_have_the_socket_options_that_were_asked_for() -> None:
    """Above all those by which a dead network is noticed."""
    settings = {
        "clients.keepalive_secs": 7,
        "clients.user_timeout_secs": 11,
        "socket.nodelay": "false",
        "socket.ttl": 33,
        "socket.send_buffer": 20_000,
    }
    with running(settings, embedded=True) as rig:
        rig.new()
        (connection,) = rig.server.server.clients.connections
        tcp, sock = socket.IPPROTO_TCP, connection.sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 7
        assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 11_000
        assert not sock.getsockopt(tcp, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 33
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 40_000
