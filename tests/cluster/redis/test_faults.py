"""A store that dies, hangs, is cut off, is full, or says no: whoever asked is told, and it is there again by itself."""

from __future__ import annotations

import logging
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.proxies import make_certificate
from kit.redis_server import RedisServer, unused_port
from kit.store_world import StoreWorld

from voltlane.cluster.redis.options import options_of
from voltlane.cluster.redis.resp import Kind, Trouble
from voltlane.config import Cluster
from voltlane.errors import StartupError
from voltlane.reasons import StoreEnd


def kind_of(answer: object) -> Kind:
    assert isinstance(answer, Trouble), answer
    return answer.kind


def ends(world: StoreWorld) -> Counter[StoreEnd]:
    return world.link.ends


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def through(proxy: FaultProxy) -> str:
    return f"redis://{proxy.address}"


def test_killed_and_started_again(caplog: pytest.LogCaptureFixture):
    with RedisServer() as server, StoreWorld(server.url) as world:
        world.until_up()
        got = [world.later("INCR", "n") for _ in range(3)]
        assert [world.answer_of(one) for one in got] == [1, 2, 3]
        server.kill()
        world.until_down()
        assert kind_of(world.ask("INCR", "n")) is Kind.UNSENT
        assert "is gone: closed by the store" in world.link.text or "refused" in world.link.text
        server.start()
        assert world.until_up().ask("INCR", "n") == 1
        assert world.changes == [True, False, True] and ends(world) == {StoreEnd.CLOSED: 1}
        assert world.link.figures().connections == 2
    assert len(warnings(caplog)) == 1, "it is said once"


def test_frozen(caplog: pytest.LogCaptureFixture):
    """The system still takes bytes for it: only the time tells."""
    with RedisServer() as server, StoreWorld(server.url, fake=True) as world:
        world.until_up()
        server.pause()
        first, second = world.later("INCR", "n"), world.later("INCR", "n")
        world.loop.pass_(1.9)
        assert not first and world.link.figures().lag_secs > 1.5
        world.loop.pass_(0.3)
        assert kind_of(first[0]) is Kind.UNKNOWN and kind_of(second[0]) is Kind.UNKNOWN
        assert ends(world) == {StoreEnd.SILENT: 1} and not world.link.up
        world.loop.pass_(60.0)  # it is dialled all the while, and greets nobody
        assert ends(world)[StoreEnd.SILENT] > 2 and world.changes == [True, False]
        server.go_on()
        world.until_back()
        assert world.ask("GET", "n") == b"2", "what was under way was done after all"
    assert len(warnings(caplog)) == 1


def test_an_idle_link_notices_a_dead_store_when_it_asks():
    with RedisServer() as server, StoreWorld(server.url, fake=True) as world:
        world.until_up()
        server.pause()
        world.loop.pass_(100.0, 1.0)
        assert world.link.up, "nobody has asked for anything"
        got = world.later("PING")
        world.loop.pass_(2.2)
        assert kind_of(got[0]) is Kind.UNKNOWN and not world.link.up
        server.go_on()


def test_each_batch_has_its_time_and_not_the_time_of_those_before():
    with RedisServer() as server, StoreWorld(server.url, fake=True) as world:
        world.until_up()
        for _ in range(5):
            got = world.later("PING")
            world.loop.pass_(1.5)
            world.until(lambda got=got: got, "the answer")
        assert world.link.up and not ends(world)


def test_a_batch_that_is_late_is_noticed_behind_one_that_was_not():
    with RedisServer() as server, StoreWorld(server.url, fake=True) as world:
        world.until_up()
        first = world.later("BLPOP", "first", 0)
        world.loop.pass_(1.0)
        second = world.later("BLPOP", "second", 0)
        world.loop.pass_(0.5)
        server.ask("LPUSH", "first", "x")
        assert world.answer_of(first) == [b"first", b"x"]
        world.loop.pass_(1.3)
        assert not second and world.link.up
        world.loop.pass_(0.5)
        assert kind_of(second[0]) is Kind.UNKNOWN


@pytest.mark.parametrize("by", [End.CLOSE, End.RESET])
def test_cut(by: End):
    with RedisServer() as server, FaultProxy(server.address) as proxy, StoreWorld(through(proxy)) as world:
        world.until_up()
        server.pause()
        got = world.later("INCR", "n")
        world.until(lambda: world.link.figures().pending and world.link._batches, "it to be written")
        proxy.links[0].cut(by)
        assert kind_of(world.answer_of(got)) is Kind.UNKNOWN
        # What the proxy has not passed on makes a reset of its close.
        assert list(ends(world).values()) == [1] and set(ends(world)) <= {StoreEnd.CLOSED, StoreEnd.LOST}
        server.go_on()
        world.until_up()


def test_cut_off_and_back():
    """Nothing gets through in either direction, and no end is told."""
    with RedisServer() as server, FaultProxy(server.address) as proxy, StoreWorld(through(proxy), fake=True) as world:
        world.until_up()
        proxy.links[0].stall()
        proxy.refusing = True
        got = world.later("PING")
        world.loop.pass_(2.2)
        assert kind_of(got[0]) is Kind.UNKNOWN and ends(world)[StoreEnd.SILENT] == 1
        proxy.refusing = False
        world.until_back()


def test_answers_that_come_a_byte_at_a_time():
    script = [Link(up=Faults(piece=1), down=Faults(piece=1))]
    with RedisServer() as server, FaultProxy(server.address, script) as proxy, StoreWorld(through(proxy)) as world:
        world.until_up()
        assert world.ask("SET", "a", b"x" * 500) == b"OK" and world.ask("GET", "a") == b"x" * 500


@pytest.mark.parametrize("at", range(0, 75, 5))
def test_cut_at_every_place_of_what_it_says(at: int):
    """Of each command it is known whether it was done, or that it is not known; and the next connection is there."""
    script = [Link(down=Faults(cut_at=at)), Link()]
    with RedisServer() as server, FaultProxy(server.address, script) as proxy, StoreWorld(through(proxy)) as world:
        got = []
        for _ in range(200):
            got.append(world.later("INCR", "n"))
            world.loop.turn(0.002)
            if len(proxy.links) > 1 and world.link.up:
                break
        world.until_up()
        world.until(lambda: all(got), "all answers")
        done = int(server.ask("GET", "n") or 0)  # type: ignore[call-overload]
        certain = [answer for (answer,) in got if isinstance(answer, int)]
        unknown = [answer for (answer,) in got if isinstance(answer, Trouble) and answer.kind is Kind.UNKNOWN]
        assert len(certain) <= done <= len(certain) + len(unknown)
        assert certain == sorted(certain)


def test_full():
    with RedisServer(maxmemory_policy="noeviction") as server, StoreWorld(server.url) as world:
        world.until_up()
        assert world.ask("SET", "a", 1) == b"OK"
        server.ask("CONFIG", "SET", "maxmemory", "1")
        answer = world.ask("SET", "a", 2)
        assert kind_of(answer) is Kind.UNABLE and answer.code == "OOM"  # type: ignore[union-attr]
        assert not world.link.up and world.link.open and "OOM" in world.link.text
        assert world.ask("GET", "a") == b"1", "what it can it does"
        server.ask("CONFIG", "SET", "maxmemory", "0")
        world.until_up()
        assert world.ask("SET", "a", 2) == b"OK"
        assert world.changes == [True, False, True] and not ends(world)


def test_one_that_is_full_from_the_beginning(caplog: pytest.LogCaptureFixture):
    with RedisServer(maxmemory=1) as server, StoreWorld(server.url) as world:
        world.until(lambda: world.link.open and "OOM" in world.link.text, "it to say so")
        assert not world.link.up and "is of no use: OOM" in caplog.text
        server.ask("CONFIG", "SET", "maxmemory", "0")
        world.until_up()


def test_a_replica():
    with RedisServer() as primary, RedisServer() as server, StoreWorld(server.url) as world:
        world.until_up()
        server.ask("REPLICAOF", "127.0.0.1", primary.port)
        answer = world.ask("SET", "a", 1)
        assert kind_of(answer) is Kind.UNABLE and answer.code == "READONLY"  # type: ignore[union-attr]
        world.until(lambda: ends(world)[StoreEnd.READ_ONLY] > 1, "another connection, which is no better")
        assert world.changes == [True, False]
        server.ask("REPLICAOF", "NO", "ONE")
        world.until_up()


def test_loading():
    """Slowly, out of a file: it says so to everything but the greeting."""
    with RedisServer(rdbcompression="no") as server:
        for number in range(60):
            server.ask("SET", f"k{number}", "x" * 1000)
        server.ask("SAVE")
        server.options["key-load-delay"] = 20_000  # microseconds a key
        server.options["loading-process-events-interval-bytes"] = 1024
        server.kill()
        server.start(answers=False)
        with StoreWorld(server.url) as world:
            world.until(lambda: "LOADING" in world.link.text, "it to say so")
            assert world.link.open and not world.link.up
            answer = world.ask("GET", "k1")
            assert kind_of(answer) is Kind.UNABLE or answer == b"x" * 1000
            world.until_up()
            assert world.ask("GET", "k1") == b"x" * 1000 and world.changes == [True]


def test_one_that_cannot_write_its_file():
    """MISCONF: it stops taking writes when saving has failed."""
    with RedisServer() as server, StoreWorld(server.url) as world:
        world.until_up()
        server.ask("CONFIG", "SET", "save", "3600 1")
        (server.directory / "dump.rdb").mkdir()
        server.ask("SET", "a", 1)
        server.ask("BGSAVE")
        world.until(lambda: b"rdb_last_bgsave_status:err" in server.ask("INFO", "persistence"), "it to fail")  # type: ignore[operator]
        assert world.ask("SET", "a", 2).code == "MISCONF" and not world.link.up  # type: ignore[union-attr]
        server.ask("CONFIG", "SET", "save", "")
        world.until_up()


def test_a_wrong_password(caplog: pytest.LogCaptureFixture):
    with RedisServer(password="hunter2") as server:
        with StoreWorld(server.url.replace("hunter2", "letmein")) as world:
            world.until(lambda: ends(world)[StoreEnd.REFUSED] > 1, "it to be refused, and tried again")
            assert "WRONGPASS" in world.link.text and not world.link.open
            assert "letmein" not in caplog.text and "letmein" not in world.link.text
            server.ask("CONFIG", "SET", "requirepass", "letmein")
            server.password = "letmein"
            world.until_up()
        with StoreWorld(server.url.replace(":hunter2@", "")) as world:
            world.until(lambda: ends(world)[StoreEnd.REFUSED], "it to be refused")
            assert "NOAUTH" in world.link.text


def test_a_database_that_is_not_there():
    with RedisServer() as server, StoreWorld(f"{server.url}/99") as world:
        world.until(lambda: ends(world)[StoreEnd.REFUSED], "it to be refused")
        assert "out of range" in world.link.text


def test_too_many_clients():
    with RedisServer(maxclients=1) as server, StoreWorld(server.url) as first, StoreWorld(server.url) as world:
        first.until_up()
        world.until(lambda: ends(world)[StoreEnd.REFUSED], "it to be refused")
        assert "max number of clients" in world.link.text


def test_something_else_listens_there():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        with StoreWorld(f"redis://127.0.0.1:{port}") as world:
            world.until(lambda: ends(world)[StoreEnd.GARBLED], "it to be noticed")
        thread.join(10)


def test_thrown_out():
    with RedisServer() as server, StoreWorld(server.url) as world:
        world.until_up()
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        world.until(lambda: world.link.figures().connections == 2, "another connection")
        world.until_up()
        assert ends(world) == {StoreEnd.CLOSED: 1}


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def secure(certificate: tuple[Path, Path]) -> RedisServer:
    file, key = certificate
    return RedisServer(tls_port=unused_port(), tls_cert_file=file, tls_key_file=key, tls_auth_clients="no")


def url_of(server: RedisServer, host: str = "localhost") -> str:
    return f"rediss://{host}:{server.options['tls-port']}"


def test_tls(certificate: tuple[Path, Path]):
    with secure(certificate) as server, StoreWorld(url_of(server), ca_file=str(certificate[0])) as world:
        world.until_up()
        large = bytes(range(256)) * 8192
        assert world.ask("SET", "a", large) == b"OK" and world.ask("GET", "a") == large
        server.restart()
        world.until_down()
        world.until_up()


def test_a_certificate_that_nobody_trusts(certificate: tuple[Path, Path]):
    with secure(certificate) as server, StoreWorld(url_of(server)) as world:
        world.until(lambda: ends(world)[StoreEnd.UNTRUSTED], "it to be refused")
        assert "the peer's certificate is not accepted" in world.link.text and not world.link.open


def test_no_tls_there(certificate: tuple[Path, Path]):
    ca_file = str(certificate[0])
    with RedisServer() as server, StoreWorld(f"rediss://localhost:{server.port}", ca_file=ca_file, fake=True) as world:
        world.until(lambda: world.link._line._attempt, "a connection")
        world.loop.pass_(2.1)
        world.until(lambda: ends(world), "it to be noticed")
        assert not world.link.open


def test_a_file_of_those_who_sign_that_is_none(tmp_path: Path):
    for file, why in ((tmp_path / "none", "No such file"), (tmp_path / "empty", "no certificates")):
        (tmp_path / "empty").write_text("")
        with pytest.raises(StartupError, match=why):
            options_of(Cluster(url="rediss://host", secret="s" * 32, ca_file=str(file)))
