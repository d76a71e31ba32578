"""The certificates of a server: which one a client gets, when files are read again, and what is said of bad ones."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from kit.process import ROOT
from kit.vectors import CERTIFICATES

from voltlane import config
from voltlane.config import Tls
from voltlane.errors import ConfigError, StartupError
from voltlane.net.certificates import LOOK_SECS, Certificates, TlsOptions
from voltlane.net.tls import Handshake

TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname = False
TRUSTING.verify_mode = ssl.CERT_NONE


def at(name: str) -> str:
    return str(CERTIFICATES / name)


def options(*names: str, **more: object) -> TlsOptions:
    pairs = tuple(at(f"{name}.pem") for name in names), tuple(at(f"{name}.key") for name in names)
    return TlsOptions(*pairs)._replace(**more)  # type: ignore[arg-type]


class Told:
    """What is to be logged."""

    def __init__(self) -> None:
        self.warned: list[tuple[str, float]] = []
        self.wrong: list[str] = []

    def expired(self, name: str) -> None:
        self.warned.append((name, 0.0))

    def expires(self, name: str, days: float) -> None:
        self.warned.append((name, round(days, 3)))

    def kept(self, why: str) -> None:
        self.wrong.append(why)


def made(chosen: TlsOptions, now: float = 1.8e9) -> tuple[Certificates, list[tuple[str, float]], list[str]]:
    told = Told()
    return Certificates(chosen, told, lambda: now), told.warned, told.wrong


def loaded(*names: str, **more: object) -> Certificates:
    certificates, _, wrong = made(options(*names, **more))
    certificates.load()
    assert not wrong
    return certificates


def talk(
    certificates: Certificates, client: ssl.SSLContext = TRUSTING, name: str | None = None
) -> tuple[Handshake, Handshake]:
    """A handshake; both ends."""
    server, other = Handshake(certificates.context(0.0)), Handshake(client, name, is_server=False)
    words = other.receive()
    for _ in range(4):
        words = server.receive(words)
        words = other.receive(words)
    assert server.done and other.done
    return server, other


def shown(certificates: Certificates, name: str | None) -> str:
    """The file of the certificate that a client gets which asks for that name."""
    _, client = talk(certificates, TRUSTING, name)
    der = client._tls.getpeercert(binary_form=True)
    assert der is not None
    pem = ssl.DER_cert_to_PEM_cert(der)
    (found,) = [path.stem for path in CERTIFICATES.glob("*.pem") if pem.split() == path.read_text().split()]
    return found


def refusal(chosen: TlsOptions) -> str:
    certificates, _, _ = made(chosen)
    with pytest.raises(StartupError) as caught:
        certificates.load()
    assert caught.value.exit_code == 2
    return str(caught.value)


# ---- by name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "server"),
        ("localhost", "server"),
        ("nobody.knows", "server"),
        ("a.other.test", "other"),
        ("A.OTHER.TEST", "other"),
        ("other.test", "other"),
        ("a.b.other.test", "server"),
    ],
)
def test_a_client_gets_the_one_for_its_name(name: str | None, expected: str):
    assert shown(loaded("server", "other"), name) == expected


def test_the_first_is_for_everybody_else():
    assert shown(loaded("other", "server"), "nobody.knows") == "other"
    assert shown(loaded("other"), "localhost") == "other"


# ---- what is offered


def test_versions():
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server, _ = talk(loaded("server"), old)
    assert server._tls.version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError) as caught:
        talk(loaded("server", minimum_version="1.3"), old)
    assert caught.value.reason == "UNSUPPORTED_PROTOCOL"


def test_no_renegotiation_no_compression_and_the_servers_choice_of_ciphers():
    flags = loaded("server").context(0.0).options
    assert flags & ssl.OP_NO_RENEGOTIATION and flags & ssl.OP_NO_COMPRESSION
    assert flags & ssl.OP_CIPHER_SERVER_PREFERENCE and not flags & ssl.OP_NO_TICKET


def test_a_protocol_is_agreed_on():
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "voltlane"])
    _, other = talk(loaded("server", alpn=("voltlane", "x")), client)
    assert other._tls.selected_alpn_protocol() == "voltlane"
    _, other = talk(loaded("server"), client)
    assert other._tls.selected_alpn_protocol() is None


def with_certificate(name: str) -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.load_cert_chain(at(f"{name}.pem"), at(f"{name}.key"))
    return client


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_whom_the_certificate_of_a_client_names(asked: str):
    certificates = loaded("server", client_certificates=asked, client_ca=at("ca.pem"))
    server, _ = talk(certificates, with_certificate("client"))
    assert server.subject() == "O=Makers,CN=alice"
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(certificates, with_certificate("other"))


def test_clients_without_a_certificate():
    server, _ = talk(loaded("server", client_certificates="optional", client_ca=at("ca.pem")))
    assert server.subject() == ""
    with pytest.raises(ssl.SSLError) as caught:
        talk(loaded("server", client_certificates="required", client_ca=at("ca.pem")))
    assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    server, _ = talk(loaded("server"), with_certificate("client"))
    assert server.subject() == "", "nobody asked"


# ---- read again


class Files:
    """A pair that changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put("server")
        self.options = TlsOptions((str(folder / "cert.pem"),), (str(folder / "key.pem"),))

    def put(self, certificate: str, key: str = "") -> None:
        for name, source in (("cert.pem", f"{certificate}.pem"), ("key.pem", f"{key or certificate}.key")):
            new = self.folder / "new"
            shutil.copy(CERTIFICATES / source, new)
            os.replace(new, self.folder / name)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_file_that_has_changed_is_found_by_a_handshake(files: Files):
    certificates, _, wrong = made(files.options)
    certificates.load()
    first = certificates.context(100.0)
    files.put("other")
    assert certificates.context(100.0 + LOOK_SECS / 2) is first, "looked at once a second"
    second = certificates.context(100.0 + LOOK_SECS)
    assert second is not first and certificates.context(1000.0) is second and not wrong
    assert shown(certificates, None) == "other"


@pytest.mark.parametrize("bad", ["mismatch", "gone", "nonsense", "of another kind", "gone when it is loaded"])
def test_a_bad_one_keeps_the_old_and_is_told_once(files: Files, bad: str, monkeypatch: pytest.MonkeyPatch):
    certificates, _, wrong = made(files.options)
    certificates.load()
    first = certificates.context(0.0)
    if bad == "mismatch":
        files.put("other", "server")
    elif bad == "gone":
        os.unlink(files.folder / "key.pem")
    elif bad == "of another kind":  # OpenSSL loads it, and the standard library cannot say what is in it
        text = (files.folder / "cert.pem").read_text()
        (files.folder / "cert.pem").write_text(text.replace(" CERTIFICATE--", " TRUSTED CERTIFICATE--"))
    elif bad == "nonsense":
        (files.folder / "cert.pem").write_text("nonsense")
    else:
        os.unlink(files.folder / "key.pem")
        monkeypatch.setattr("voltlane.net.certificates._check_readable", lambda path: None)
    assert certificates.context(10.0) is first and certificates.context(20.0) is first
    assert len(wrong) == 1 and wrong[0].startswith("no TLS: ")
    monkeypatch.undo()
    files.put("other")
    assert certificates.context(30.0) is not first and len(wrong) == 1


def test_a_reload_reads_them_whether_they_have_changed_or_not(files: Files):
    certificates, _, wrong = made(files.options)
    certificates.load()
    first = certificates.context(0.0)
    certificates.configure(files.options)
    second = certificates.context(0.0)
    assert second is not first
    files.put("other", "server")
    certificates.configure(files.options)
    assert certificates.context(0.0) is second and len(wrong) == 1
    with pytest.raises(StartupError):
        certificates.configure(TlsOptions(("/nowhere",), ()))
    assert certificates.context(0.0) is second


def test_without_tls_nothing_is_read():
    certificates, _, _ = made(TlsOptions())
    certificates.configure(TlsOptions(("/nowhere",), ()))
    assert not certificates.loaded


# ---- what is wrong


def test_what_is_said_of_files_that_cannot_be_used(tmp_path: Path):
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    key, server = at("server.key"), at("server.pem")
    assert f"the key in {at('other.key')} is not that of the certificate in {server}" in refusal(
        TlsOptions((server,), (at("other.key"),))
    )
    assert "/nowhere cannot be read: No such file or directory" in refusal(TlsOptions(("/nowhere",), (key,)))
    assert "/nowhere cannot be read: No such file or directory" in refusal(TlsOptions((server,), ("/nowhere",)))
    assert f"the key in {at('encrypted.key')} is encrypted" in refusal(TlsOptions((server,), (at("encrypted.key"),)))
    damaged = tmp_path / "damaged.pem"
    damaged.write_text((CERTIFICATES / "server.pem").read_text().replace("M", "!", 3))
    damaged_key = tmp_path / "damaged.key"
    damaged_key.write_text((CERTIFICATES / "server.key").read_text().replace("M", "!", 3))
    for certificate, chosen_key, why in (
        (nonsense, key, f"no TLS: {nonsense} is no file in PEM"),
        (server, nonsense, f"no TLS: {nonsense} is no file in PEM"),
        (nonsense, "", f"no TLS: {nonsense} is no file in PEM"),
        (key, key, f"no TLS: {key} holds no certificate"),
        (key, server, f"no TLS: {key} holds no certificate; {server} holds no key"),
        (server, "", f"no TLS: {server} holds no key; the file of the key is set by tls.key"),
        (damaged, key, f"no TLS: the certificate in {damaged} is damaged, or of a kind that cannot be used"),
        (server, damaged_key, f"no TLS: the key in {damaged_key} is damaged, or a certificate behind the first one"),
    ):
        options_of_it = TlsOptions((str(certificate),), (str(chosen_key),) if chosen_key else ())
        assert refusal(options_of_it).startswith(why)
    wrong = options("server", client_certificates="required", client_ca=str(nonsense))
    assert f"{nonsense} holds no certificates" in refusal(wrong)
    assert "there is no certificate" in refusal(TlsOptions())


def test_a_certificate_that_has_expired_or_soon_will_is_warned_of():
    certificates, warned, wrong = made(options("server", "expired"))
    certificates.load()
    assert warned == [("localhost", 0.0)] and not wrong
    until = certificates._all[0].until
    for left, words in ((8, []), (6, [("localhost", 6.0)])):
        certificates, warned, _ = made(options("server"), until - left * 86400)
        certificates.load()
        assert warned == words


# ---- settings


def test_settings_that_do_not_go_together():
    def said(**settings: object) -> str:
        with pytest.raises(ConfigError) as caught:
            config.load(None, {}, {name.replace("__", "."): value for name, value in settings.items()})
        return str(caught.value)

    assert "listener.address has tls://127.0.0.1:1, which needs a certificate" in said(
        listener__address="127.0.0.1:1, tls://127.0.0.1:1"
    )
    assert "tls.certificate has 2 files and tls.key 1" in said(tls__certificate="/a, /b", tls__key="/a")
    assert "needs tls.client_ca" in said(tls__certificate="/a", tls__client_certificates="required")
    assert "tls.minimum_version" in said(tls__minimum_version="1.1")
    assert "tls.alpn" in said(tls__alpn="two words")


def test_options_are_those_of_the_section():
    section = Tls(("/a",), ("/b",), "1.3", ("x",), "optional", "/c")
    assert TlsOptions.of(section) == TlsOptions(("/a",), ("/b",), "1.3", ("x",), "optional", "/c")
    assert TlsOptions(("/a", "/b")).files == [("/a", "/a"), ("/b", "/b")], "keys in the certificates' files"


def test_a_python_without_ssl_goes_on_without_tls():
    """Some small systems have it as a package of its own."""
    program = """
import sys
sys.modules["ssl"] = None
from voltlane import config
from voltlane.client import Connection
from voltlane.errors import ConfigError, StartupError
from voltlane.server import Server
server = Server(config.defaults())
for what in (server.certificates.load, lambda: Connection("tls://127.0.0.1:1")):
    try:
        what()
    except (ConfigError, StartupError) as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.stderr == "" and done.stdout.count("this Python has no module ssl") == 2


# ---- what is told of them


def test_the_figures_are_those_of_what_is_in_use(tmp_path: Path):
    """Of the files as they were read last, by the clock of now."""
    for kind in ("pem", "key"):
        shutil.copy(at(f"server.{kind}"), tmp_path / f"own.{kind}")
    chosen = TlsOptions((str(tmp_path / "own.pem"), at("other.pem")), (str(tmp_path / "own.key"), at("other.key")))
    now = 1.8e9
    certificates = Certificates(chosen, Told(), lambda: now)
    assert certificates.summary() == ()
    certificates.load()
    first, second = certificates.summary()
    assert "localhost" in first.names and first.names != second.names
    assert first.days_left == (first.expires - now) / 86400 > 0
    now += 86400 * 10
    assert certificates.summary()[0].days_left == pytest.approx(first.days_left - 10)
    for kind in ("pem", "key"):
        shutil.copy(at(f"expired.{kind}"), tmp_path / f"own.{kind}")
    assert certificates.summary()[0].expires == first.expires
    certificates.reload()
    assert certificates.summary()[0].days_left < 0
