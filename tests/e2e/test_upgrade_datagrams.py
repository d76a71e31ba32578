"""Datagrams go on over an upgrade: no id changes, nobody asks anew, and none is lost or doubled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kit.datagram_parties import Plain, Talk, ask, sealed_client
from kit.process import HAS_PROC
from kit.raw_master import RawMaster
from kit.raw_records import RawRecordClient
from kit.upgrades import UpgradingServer

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")

ROUNDS = 2


def place_of(server: UpgradingServer) -> str:
    """Where it receives datagrams."""
    server.wait_for_log("clients connect to udp://")
    return re.findall(r"clients connect to (udp://[^\s\"]+)", server.log)[-1]


def upgrade(server: UpgradingServer, talk: Talk) -> None:
    """While they talk."""
    talk.some(20)
    server.ask()
    while not server.upgraded:
        assert not server.failures, server.log[-4000:]
        talk.some()
    talk.some(20)


def test_sealed_ones() -> None:
    settings = {"listener.address": "127.0.0.1:0, udp://127.0.0.1:0", "master.datagrams": "true"}
    with RawMaster() as master, UpgradingServer(master.address, settings) as server:
        master.accept()
        clients = [sealed_client(server.address) for _ in range(3)]
        talk = Talk(master, *(wire for _, wire in clients))
        for _ in range(ROUNDS):
            upgrade(server, talk)
        talk.finish()
        assert set(talk.came) == {client.client_id for client, _ in clients}
        for client, wire in clients:
            numbers = [got.number for got in wire.heard]
            assert len(numbers) == len(set(numbers)) and len(client.endpoint.offers) == 1
            client.fence()
        again = ask(clients[0][0])
        again.send(b"under other keys")
        assert master.recv_for(clients[0][0].client_id).data == b"under other keys"
        for client, wire in (*clients, (clients[0][0], again)):
            client.close()
            wire.close()


def test_clients_that_are_addresses() -> None:
    settings = {"listener.address": "udp://127.0.0.1:0", "udp.mode": "open"}
    with RawMaster() as master, UpgradingServer(master.address, settings) as server:
        master.accept()
        master.fence()  # who comes before there is a master is not let in
        place = place_of(server)
        clients = [Plain(place) for _ in range(3)]
        talk = Talk(master, *clients)
        for _ in range(ROUNDS):
            upgrade(server, talk)
        talk.finish()
        for client in clients:
            client.close()


def listed(*addresses: str, mode: str = "sessions", mtu: int = 1200) -> str:
    return f'[listener]\naddress = {list(addresses)}\n[udp]\nmode = "{mode}"\nmtu = {mtu}\n'


def test_addresses_come_and_go_with_the_settings(tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    stream = f"unix:{tmp_path}/clients"
    settings = {"listener.address": None, "master.datagrams": "true"}
    config.write_text(listed(stream, "udp://127.0.0.1:0"))
    with RawMaster() as master, UpgradingServer(master.address, settings, config=config) as server:
        master.accept()
        client, wire = sealed_client(stream)
        config.write_text(listed(stream, "udp://127.0.0.1:0", mode="open"))
        server.ask()
        server.wait_for_log("handing over has failed")
        assert "udp.mode is open, and was sessions: to change it, stop the server and start it again" in server.log
        config.write_text(listed(stream, "udp://127.0.0.1:0", mtu=1400))
        server.ask()
        server.wait_for_log("handing over has failed", 2)
        assert "udp.mtu is 1400, and was 1200: to change it, stop the server and start it again" in server.log
        config.write_text(listed(stream))
        server.upgrade(failures=2)
        server.wait_for_log("clients connect to udp://127.0.0.1:0 no more: it is not in listener.address")
        while len(client.endpoint.offers) == 1:
            assert client.step()
        assert client.endpoint.offers[-1][:2] == bytes(2), "it is told so"
        config.write_text(listed(stream, "udp://localhost:0"))
        server.upgrade(failures=2)
        again = ask(client)
        again.send(b"again")
        assert master.recv_for(client.client_id).data == b"again"
        for one in (client, wire, again):
            one.close()


def test_a_mode_of_its_own_where_there_were_none(tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    stream = f"unix:{tmp_path}/clients"
    config.write_text(listed(stream))
    with RawMaster() as master, UpgradingServer(master.address, {"listener.address": None}, config=config) as server:
        master.accept()
        client = RawRecordClient(stream).enter()
        config.write_text(listed(stream, "udp://127.0.0.1:0", mode="open"))
        server.upgrade()
        client.fence()
        client.close()
