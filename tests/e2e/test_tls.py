"""Real servers with TLS: certificates that change, clients of both versions, and who does not do as he should."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import ROOT, EmbeddedServer, ServerProcess, environment
from kit.raw_client import RawClient
from kit.rig import Rig, running
from kit.vectors import CERTIFICATES
from kit.wait import wait_until

from voltlane.client import Connection
from voltlane.errors import ConfigError, ConnectionLost
from voltlane.reasons import CloseReason

CA = str(CERTIFICATES / "ca.pem")
PAIR = {"tls.certificate": CERTIFICATES / "server.pem", "tls.key": CERTIFICATES / "server.key"}
ON_TLS = {"listener.address": "tls://127.0.0.1:0", **PAIR}


def place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return host, int(port)


def shown(address: str, name: str = "localhost") -> bytes:
    """The certificate that the server shows, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(place(address), 10) as sock, context.wrap_socket(sock, server_hostname=name) as tls:
        found = tls.getpeercert(binary_form=True)
        assert found is not None
        return found


def der(name: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert((CERTIFICATES / f"{name}.pem").read_text())


@pytest.fixture(scope="module")
def _server() -> Iterator[Rig]:
    with running(ON_TLS, embedded=True) as rig:
        yield rig


@pytest.fixture
def rig(_server: Rig) -> Iterator[Rig]:
    yield _server
    _server.close_clients()


# ---- clients


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_library_over_tls(rig: Rig, protocol: int):
    """Up and down, small and large; lost, and back."""
    with Connection(rig.server.address, protocol=protocol, ca_file=CA) as client:
        assert str(client.address).startswith("tls://")
        payloads = [b"", b"x", os.urandom(300_000 if protocol == 2 else 5000), b"end"]
        for payload in payloads:
            client.send(payload)
        assert [rig.master.recv_for(client.client_id).data for _ in payloads] == payloads
        for payload in payloads:
            rig.master.send(client.client_id, payload)
        assert [client.recv(10) for _ in payloads] == payloads
        client.reconnect()
        rig.master.send(client.client_id, b"again")
        assert client.recv(10) == b"again"


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_session_belongs_to_no_lane(protocol: int):
    settings = {"listener.address": "127.0.0.1:0, tls://127.0.0.1:0", **PAIR}
    with running(settings) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("clients connect to ", 2)
        secure = "tls://" + rig.server.log.partition("clients connect to tls://")[2].split()[0]
        plain = "127.0.0.1" + rig.server.log.partition("clients connect to 127.0.0.1")[2].split()[0]
        if protocol == 3:
            first = Connection(plain)
            ids = {first.client_id}
            for address in (secure, plain, secure):
                state = first.state()
                first.close(goodbye=False)
                first = Connection.restore(state, address, ca_file=CA if address == secure else "")
                ids.add(first.client_id)
                rig.master.send(first.client_id, b"here")
                assert first.recv(10) == b"here"
            first.close()
            assert len(ids) == 1
        else:
            with Connection(secure, protocol=2, ca_file=CA) as client:
                session = client._session
                for address, trust in ((plain, None), (secure, session._trust), (plain, None)):  # type: ignore
                    session._address, session._trust = (
                        client.address.__class__(  # type: ignore
                            "tcp", *place(address), "", "tls" if trust else ""
                        ),
                        trust,
                    )
                    client.reconnect()
                    rig.master.send(client.client_id, b"here")
                    assert client.recv(10) == b"here"


def test_no_encryption_is_needed_within_it(rig: Rig):
    with Connection(rig.server.address, encrypted=False, ca_file=CA) as client:
        client.send(b"clear within")
        assert rig.master.recv_for(client.client_id).data == b"clear within"


def test_whom_a_client_does_not_trust(rig: Rig):
    with pytest.raises(ConnectionLost, match="the peer's certificate is not accepted"):
        Connection(rig.server.address)
    with pytest.raises(ConnectionLost, match="not accepted"):
        Connection(rig.server.address, protocol=2, ca_file=CA, server_name="other.test")
    with Connection(rig.server.address, ca_file=CA, server_name="localhost") as client:
        assert client.client_id


def test_arguments_that_do_not_go_together(rig: Rig, tmp_path: Path):
    for keywords in ({"ca_file": CA}, {"server_name": "x"}, {"tls_context": ssl.create_default_context()}):
        with pytest.raises(ConfigError, match="for tls://"):
            Connection("127.0.0.1:1", **keywords)
    with pytest.raises(ConfigError, match="cannot be used"):
        Connection(rig.server.address, ca_file=tmp_path / "nothing")
    for address, words in (
        ("udp://localhost:1", "there is no 'udp'"),
        ("http://h:1", "there is no 'http'"),
    ):
        with pytest.raises(ConfigError, match=words):
            Connection(address)


@pytest.fixture
def alone() -> Iterator[Rig]:
    with running(ON_TLS) as rig:
        yield rig


def test_the_command_line(alone: Rig):
    rig = alone
    process = subprocess.Popen(
        [sys.executable, "-m", "voltlane", "connect", rig.server.address, "--ca", CA, "--wait", "10"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment({}),
        cwd=ROOT,
    )
    assert process.stdin and process.stdout
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    client_id, data = next((packet.client_id, packet.data) for packet in iter(rig.master.recv, None) if packet.data)
    rig.master.send(client_id, data.upper())
    assert process.stdout.readline() == b"HELLO\n"
    process.communicate(timeout=20)
    assert process.returncode == 0


# ---- who does not do as he should


@pytest.mark.parametrize(
    ("words", "said"),
    [(b"GET / HTTP/1.1\r\n\r\n", "plain HTTP"), (b"\x06\x00\x00\x00\x01\x02\xff\xff" * 20, "no TLS")],
    ids=["http", "v2"],
)
def test_plain_bytes_on_a_tls_address(rig: Rig, words: bytes, said: str):
    assert isinstance(rig.server, EmbeddedServer)
    before = rig.server.counters.closed[CloseReason.TLS_FAILED]
    with socket.create_connection(place(rig.server.address), 10) as sock:
        sock.sendall(words)
        while sock.recv(100):
            pass
    wait_until(lambda: rig.server.counters.closed[CloseReason.TLS_FAILED] == before + 1, "it is counted")
    rig.server.wait_for_log(f"{CloseReason.TLS_FAILED.value}: {said}")


def test_tls_on_a_plain_address():
    with running(embedded=True) as rig:
        with pytest.raises(ConnectionLost):
            Connection(f"tls://{rig.server.address}", ca_file=CA)
        wait_until(lambda: bool(rig.server.counters.closed), "it is closed")  # type: ignore[union-attr]
        with RawClient.new(rig.server.address) as client:
            assert client.client_id


def test_no_cipher_in_common(rig: Rig):
    context = ssl.create_default_context(cafile=CA)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # and the server's key is no RSA
    with socket.create_connection(place(rig.server.address), 10) as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="localhost")
    rig.server.wait_for_log("TLS handshake failed: no cipher that both sides have")


def test_a_handshake_that_does_not_end_has_a_deadline():
    """Byte by byte, or none at all; beside it others are served."""
    with running({**ON_TLS, "clients.handshake_secs": 0.5}, embedded=True) as rig:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with pytest.raises(ssl.SSLWantReadError):
            ssl.create_default_context(cafile=CA).wrap_bio(
                incoming, outgoing, server_hostname="localhost"
            ).do_handshake()
        hello = outgoing.read()
        slow, silent = (socket.create_connection(place(rig.server.address), 10) for _ in range(2))
        with slow, silent:
            closed = rig.server.counters.closed  # type: ignore[union-attr]
            for byte in hello[:-1]:
                if closed[CloseReason.HANDSHAKE_TIMEOUT] == 2:
                    break
                slow.send(bytes([byte]))
            with Connection(rig.server.address, ca_file=CA) as client:
                assert client.client_id
            wait_until(lambda: closed[CloseReason.HANDSHAKE_TIMEOUT] == 2, "their time is over")
            rig.server.wait_for_log("waited for a TLS handshake")
            rig.server.wait_for_log("waited for the end of the TLS handshake")


# ---- certificates


def test_by_name():
    both = {
        "tls.certificate": f"{CERTIFICATES / 'server.pem'}, {CERTIFICATES / 'other.pem'}",
        "tls.key": f"{CERTIFICATES / 'server.key'}, {CERTIFICATES / 'other.key'}",
    }
    with running({**ON_TLS, **both}) as rig:
        assert shown(rig.server.address) == der("server")
        assert shown(rig.server.address, "a.other.test") == der("other")


def test_certificates_of_clients():
    settings = {**ON_TLS, "tls.client_certificates": "required", "tls.client_ca": CA}
    with running(settings) as rig:
        context = ssl.create_default_context(cafile=CA)
        context.load_cert_chain(CERTIFICATES / "client.pem", CERTIFICATES / "client.key")
        with Connection(rig.server.address, tls_context=context) as client:
            rig.server.wait_for_log(f"client {client.client_id} is here from ")
            rig.server.wait_for_log("with the certificate of O=Makers,CN=alice")
        with pytest.raises(ConnectionLost):
            Connection(rig.server.address, ca_file=CA)
        rig.server.wait_for_log("TLS handshake failed: the peer shows no certificate")


def put(folder: Path, certificate: str, key: str = "") -> None:
    for name, source in (("cert.pem", f"{certificate}.pem"), ("key.pem", f"{key or certificate}.key")):
        shutil.copy(CERTIFICATES / source, folder / "new")
        os.replace(folder / "new", folder / name)


@pytest.mark.parametrize("told", [True, False], ids=["SIGHUP", "by-itself"])
def test_a_new_certificate_takes_the_old_ones_place(tmp_path: Path, told: bool):
    put(tmp_path, "server")
    settings = {**ON_TLS, "tls.certificate": tmp_path / "cert.pem", "tls.key": tmp_path / "key.pem"}
    with running(settings) as rig:
        server = rig.server
        assert isinstance(server, ServerProcess)
        with Connection(server.address, ca_file=CA) as client:
            assert shown(server.address) == der("server")
            put(tmp_path, "other", "server")  # the key does not match
            if told:
                os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: shown(server.address) == der("server") and "certificates stay as" in server.log, "told")
            put(tmp_path, "other")
            if told:
                os.kill(server.pid, signal.SIGHUP)
            wait_until(lambda: shown(server.address) == der("other"), "the new certificate")
            client.send(b"nobody is touched")
            assert rig.master.recv_for(client.client_id).data == b"nobody is touched"


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"tls.certificate": "", "tls.key": ""}, 2, "needs a certificate: set tls.certificate"),
        ({"tls.certificate": "/nowhere"}, 2, "/nowhere cannot be read"),
        ({"tls.key": CERTIFICATES / "other.key"}, 2, "is not that of the certificate in"),
        ({"tls.key": CERTIFICATES / "encrypted.key"}, 2, "is encrypted"),
    ],
    ids=["none", "unreadable", "mismatch", "encrypted"],
)
def test_what_it_does_not_start_with(settings: dict[str, object], code: int, said: str):
    given = {name: value for name, value in {**ON_TLS, **settings}.items() if value}
    done = subprocess.run(
        [sys.executable, "-m", "voltlane", "serve"],
        env=environment(given),
        cwd=CERTIFICATES,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == code and said in done.stderr, done.stderr


def test_what_is_told_of_lanes(tmp_path: Path):
    addresses = f"tls://127.0.0.1:0, 127.0.0.1:0, unix:{tmp_path}/clients, tls://unix:{tmp_path}/secure"
    with running({"listener.address": addresses, **PAIR}, embedded=True) as rig:
        assert isinstance(rig.server, EmbeddedServer)
        lanes, secure = ("tls", "tcp", "unix", "tls"), {"ca_file": CA, "server_name": "localhost"}
        with ExitStack() as stack:
            clients = [
                stack.enter_context(Connection(str(address), **(secure if lane == "tls" else {})))
                for lane, address in zip(lanes, rig.server.server.listen_addresses)
            ]
            statistics = rig.server.server.statistics()
            counted = {name: lane for name, lane in statistics.lanes.items() if any(lane)}
            assert counted == {"tcp": (1, 1), "tls": (2, 2), "unix": (1, 1)}
            rows = {row.id: row.lane for row in rig.server.server.clients_page("id").rows}
            assert rows == {client.client_id: lane for client, lane in zip(clients, lanes)}


def test_a_certificate_to_try_it_with(tmp_path: Path):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not there")
    made = subprocess.run([ROOT / ".ci/cert"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert made.returncode == 0 and (tmp_path / "key.pem").stat().st_mode & 0o077 == 0, made.stderr
    before = (tmp_path / "cert.pem").read_bytes()
    again = subprocess.run([ROOT / ".ci/cert"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert again.returncode == 1 and "is there already" in again.stderr
    assert (tmp_path / "cert.pem").read_bytes() == before
    without = subprocess.run(
        ["/bin/sh", ROOT / ".ci/cert"],
        cwd=tmp_path,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert without.returncode == 1 and "openssl is needed" in without.stderr
    settings = {**ON_TLS, "tls.certificate": tmp_path / "cert.pem", "tls.key": tmp_path / "key.pem"}
    with running(settings) as rig, Connection(rig.server.address, ca_file=tmp_path / "cert.pem") as client:
        assert client.client_id


def test_a_server_name_that_is_none_is_a_handshake_that_failed():
    """The standard library raises an error of it where nobody can catch one, which Python writes to standard error."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="xxxxx.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read().replace(b"xxxxx.test", b"\xff\xfexxx.test")
    with running(ON_TLS) as rig:
        with socket.create_connection(place(rig.server.address), 10) as sock:
            sock.sendall(hello)
            assert sock.recv(100)[:1] == b"\x15", "an alert"
        rig.server.wait_for_log("TLS handshake failed: a server name that is none")
        assert "ignored" not in rig.server.log and "Error" not in rig.server.log
