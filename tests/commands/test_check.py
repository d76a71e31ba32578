"""`--check-config` reads certificates and keys as well, and says of them what a start would."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.vectors import CERTIFICATES

from voltlane import cli
from voltlane.config.document import HIDDEN
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
        ("server.key", "server.key", "{certificate} holds no certificate"),
    ],
)
def test_what_is_wrong_is_said(certificate: str, key: str, why: str, address: str, capsys: Said) -> None:
    configure(certificate, key, address)
    assert cli.main(["serve", "--check-config"]) == 2
    wanted = why.format(certificate=CERTIFICATES / certificate, key=CERTIFICATES / key)
    assert capsys.readouterr() == ("", f"voltlane: no TLS: {wanted}\n")


def test_it_is_said_beside_all_else_that_is_wrong(capsys: Said) -> None:
    files = [f'"{CERTIFICATES / name}"' for name in ("none.pem", "server.pem", "server.key", "other.key")]
    tls = f"[tls]\ncertificate = [{', '.join(files[:2])}]\nkey = [{', '.join(files[2:])}]\n"
    Path("connserver.toml").write_text(f"[clients]\nslow_secs = -1\n{tls}")
    assert cli.main(["--check-config"]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("voltlane: connserver.toml:2: clients.slow_secs: -1 was given")
    assert second.endswith("none.pem cannot be read: No such file or directory")
    assert "other.key is not that of the certificate in" in third


@pytest.mark.parametrize("tls", ["minimum_version = '1.1'", "client_certificates = 7"])
def test_certificates_are_not_looked_at_where_their_section_is_wrong(tls: str, capsys: Said) -> None:
    Path("connserver.toml").write_text(f"[tls]\n{tls}\ncertificate = '/nowhere'\n")
    assert cli.main(["--check-config"]) == 2
    assert "nowhere" not in capsys.readouterr().err


def test_more_mistakes_than_are_told(capsys: Said) -> None:
    lines = "".join([f"x{number} = 1\n" for number in range(60)])
    Path("connserver.toml").write_text(f"[tls]\ncertificate = '/nowhere'\n[clients]\n{lines}")
    assert cli.main(["--check-config"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 51


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


def test_what_a_cluster_needs_is_looked_at(tmp_path: Path, capsys: Said) -> None:
    pytest.importorskip("hiredis", reason="hiredis is not here: pip install hiredis")
    lines = ["[cluster]", 'url = "rediss://:hunter2@store"', 'secret_file = "secret"', 'ca_file = "ca.pem"']
    (tmp_path / "connserver.toml").write_text("\n".join(lines))
    assert cli.main(["--check-config"]) == 2
    said = capsys.readouterr().err
    assert "cluster.secret_file: secret cannot be read" in said and "cluster.ca_file: ca.pem cannot be used" in said
    assert "hunter2" not in said
    (tmp_path / "secret").write_text("s" * 32)
    (tmp_path / "connserver.toml").write_text("\n".join([lines[0], 'url = "redis://:hunter2@store"', lines[2]]))
    assert cli.main(["--check-config"]) == 0
    assert cli.main(["--print-config"]) == 0
    said = capsys.readouterr().out
    assert "hunter2" not in said and HIDDEN in said
