"""`--check-config` reads certificates and keys as well, and says of them what a start would."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.vectors import CERTIFICATES

from voltlane import cli
from voltlane.net import certificates

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def configure(certificate: str, key: str, address: str = "tls://127.0.0.1:0") -> None:
    pair = f'certificate = "{CERTIFICATES / certificate}"\nkey = "{CERTIFICATES / key}"\n'
    Path("connserver.toml").write_text(f'[listener]\naddress = "{address}"\n[tls]\n{pair}')


@pytest.mark.parametrize("address", ["tls://127.0.0.1:0", "127.0.0.1:0"])
def test_what_is_right_is_ok(address: str, capsys: Said) -> None:
    configure("server.pem", "server.key", address)
    assert cli.main(["--check-config"]) == 0
    assert capsys.readouterr() == ("connserver.toml: ok\n", "")


@pytest.mark.parametrize("address", ["tls://127.0.0.1:0", "wss://127.0.0.1:0", "127.0.0.1:0"])
@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("server.pem", "other.key", "the key in {key} is not that of the certificate in {certificate}"),
        ("none.pem", "server.key", "{certificate} cannot be read: No such file or directory"),
        ("server.pem", "none.key", "{key} cannot be read: No such file or directory"),
        ("server.pem", "encrypted.key", "the key in {key} is encrypted; it has to be without a password"),
        ("server.key", "server.key", "{certificate} and {key} have to hold a certificate and its key, in PEM"),
    ],
)
def test_what_is_wrong_is_said(certificate: str, key: str, why: str, address: str, capsys: Said) -> None:
    configure(certificate, key, address)
    assert cli.main(["serve", "--check-config"]) == 2
    wanted = why.format(certificate=CERTIFICATES / certificate, key=CERTIFICATES / key)
    assert capsys.readouterr() == ("", f"voltlane: no TLS: {wanted}\n")


def test_one_that_has_expired_is_told_and_no_mistake(capsys: Said) -> None:
    configure("expired.pem", "expired.key")
    assert cli.main(["--check-config"]) == 0
    said = "voltlane: the certificate for localhost has expired: clients refuse it\n"
    assert capsys.readouterr() == ("connserver.toml: ok\n", said)


def test_one_that_soon_will_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(certificates, "SOON_SECS", 200 * 365 * 86400.0)
    configure("server.pem", "server.key")
    assert cli.main(["--check-config"]) == 0
    assert "voltlane: the certificate for localhost expires in " in capsys.readouterr().err


def test_without_tls_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(certificates, "ssl", None)  # as with python3-light of OpenWrt
    assert cli.main(["--check-config"]) == 0
    assert capsys.readouterr().err == ""
