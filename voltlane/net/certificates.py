"""The certificates that a server shows, each with its key in an `ssl.SSLContext`, chosen by the name that the client
asks for (SNI, RFC 6066 section 3), and read again when their files have changed.
"""

from __future__ import annotations

import os
import time
from dataclasses import astuple
from typing import Any, Callable, NamedTuple, Protocol

from ..config import Tls
from ..errors import StartupError
from ..statistics import CertificateFigures
from .openssl import MISSING, ssl

EXIT_NO_CERTIFICATE = 2
DAY = 86400.0
SOON_SECS = 7 * DAY
"""A certificate that expires within this time is warned of."""
LOOK_SECS = 1.0
"""How often the files are looked at, at most."""
_MOST_BYTES = 1 << 20
"""Looked through for what is missing in a file."""


class Watcher(Protocol):
    """Whoever is told how they are."""

    def expired(self, name: str) -> None:
        """The certificate for this name is over."""

    def expires(self, name: str, days: float) -> None:
        """It soon will be."""

    def kept(self, why: str) -> None:
        """What was read again cannot be used, and what was there before stays."""


class TlsOptions(NamedTuple):
    """What a server offers; names and meanings are those of the configuration's section `tls`."""

    certificate: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    minimum_version: str = "1.2"
    alpn: tuple[str, ...] = ()
    client_certificates: str = "off"
    client_ca: str = ""

    @staticmethod
    def of(section: Tls) -> TlsOptions:
        """Those of the configuration."""
        return TlsOptions(*astuple(section))

    @property
    def files(self) -> list[tuple[str, str]]:
        """(certificate, key)."""
        return list(zip(self.certificate, self.key or self.certificate))


class Certificate(NamedTuple):
    """One of them, loaded."""

    context: ssl.SSLContext
    names: tuple[str, ...]
    """Names in lower case that it is for, `*.name` among them; the first is what to call it."""
    until: float
    """When it expires, in seconds since 1970."""


class Certificates:
    """One server's. `watcher` is told what is to be logged."""

    def __init__(self, options: TlsOptions, watcher: Watcher, wall: Callable[[], float] = time.time) -> None:
        """Loads nothing yet: see `load`."""
        self._options = options
        self._watcher, self._wall = watcher, wall
        self._all: list[Certificate] = []
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._seen: list[tuple[int, ...]] = []
        self._looked = float("-inf")

    @property
    def loaded(self) -> bool:
        """Whether there are any."""
        return bool(self._all)

    def load(self, options: TlsOptions | None = None) -> None:
        """Read all files, and go by them. Raises StartupError, and goes by what was there before."""
        options = options or self._options
        if ssl is None:
            raise _wrong(MISSING)
        if not options.certificate:
            raise _wrong("there is no certificate: set tls.certificate (and tls.key)")
        seen = _look_at(options)
        loaded = [_load(options, certificate, key) for certificate, key in options.files]
        by_name: dict[str, ssl.SSLContext] = {}
        for certificate in loaded:
            for name in certificate.names:
                by_name.setdefault(name, certificate.context)
        for certificate in loaded:
            certificate.context.sni_callback = self._on_name
        self._options, self._all, self._by_name, self._seen = options, loaded, by_name, seen
        self._look_at_the_dates()

    def context(self, now: float) -> ssl.SSLContext:
        """What a handshake begins with. The files are looked at, if that was not done for a while: `now` is the
        reactor's."""
        if now - self._looked >= LOOK_SECS:
            self._looked = now
            if _look_at(self._options) != self._seen:
                self.reload()
        return self._all[0].context

    def configure(self, options: TlsOptions) -> None:
        """Go by these, and read the files again, if any were read. Raises StartupError where other options cannot be
        gone by; of files that are the same ones as before, it is told as an error."""
        if not self._all:
            self._options = options
        elif options != self._options:
            self.load(options)
        else:
            self.reload()

    def reload(self) -> None:
        """Read the files again. What cannot be used is told as an error, and what was there before stays."""
        try:
            self.load()
        except StartupError as error:
            self._seen = _look_at(self._options)  # once is enough, until they change again
            self._watcher.kept(str(error))

    def summary(self) -> tuple[CertificateFigures, ...]:
        """Those in use, for whoever shows them, in the order in which they were configured. Reads no file."""
        now = self._wall()
        return tuple([CertificateFigures(each.names, each.until, (each.until - now) / DAY) for each in self._all])

    def find(self, name: str) -> ssl.SSLContext:
        """That of a server name: its own, else one with a `*` for its first part, else the first of all."""
        name = name.rstrip(".").lower()
        parent = name.partition(".")[2]
        return self._by_name.get(name) or self._by_name.get(f"*.{parent}") or self._all[0].context

    def _on_name(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name and len(self._all) > 1:
            tls.context = self.find(name)

    def _look_at_the_dates(self) -> None:
        now = self._wall()
        for certificate in self._all:
            name, left = certificate.names[0], certificate.until - now
            if left <= 0:
                self._watcher.expired(name)
            elif left < SOON_SECS:
                self._watcher.expires(name, left / DAY)


def _look_at(options: TlsOptions) -> list[tuple[int, ...]]:
    """Which files these are, and how they were written last."""
    paths = [path for pair in options.files for path in pair] + [options.client_ca] * bool(options.client_ca)
    return [_status(path) for path in paths]


def _status(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _load(options: TlsOptions, certificate: str, key: str) -> Certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    context.minimum_version = versions[options.minimum_version]
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)  # not every Python names it
    if options.alpn:
        context.set_alpn_protocols(list(options.alpn))
    for path in dict.fromkeys((certificate, key)):
        _check_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
        found = _decode(certificate)  # which does not take all that the line before does
    except _Encrypted:
        raise _wrong(f"the key in {key} is encrypted; it has to be without a password") from None
    except OSError as error:  # ssl.SSLError among them
        raise _wrong(_why(error, certificate, key)) from None
    if options.client_ca and options.client_certificates != "off":
        _check_readable(options.client_ca)
        try:
            context.load_verify_locations(options.client_ca)
        except OSError as error:
            why = getattr(error, "reason", None) or error
            raise _wrong(f"{options.client_ca} holds no certificates: {why}") from None
        required = options.client_certificates == "required"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return Certificate(context, _names(found) or (certificate,), ssl.cert_time_to_seconds(found["notAfter"]))


class _Encrypted(Exception):
    """A password was asked for."""


def _refuse_password() -> str:
    raise _Encrypted


def _check_readable(path: str) -> None:
    _read(path, 0)


def _read(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from None


def _why(error: OSError, certificate: str, key: str) -> str:
    if not isinstance(error, ssl.SSLError):  # it was there a moment ago: somebody is putting others in their place
        return f"{certificate} and {key} cannot be read: {error.strerror}"
    reason = getattr(error, "reason", None)  # not each has one
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key} is not that of the certificate in {certificate}"
    if reason in ("NO_START_LINE", "PEM_LIB", None) or "PEM" in (error.library or ""):
        return _why_not_pem(certificate, key)
    return f"{certificate} cannot be used: {reason.replace('_', ' ').lower()}"


def _why_not_pem(certificate: str, key: str) -> str:
    """Which of the two it is: OpenSSL does not say."""
    flaws = []
    for path, label, wanted in ((certificate, b"CERTIFICATE-----", "certificate"), (key, b"PRIVATE KEY-----", "key")):
        data = _read(path, _MOST_BYTES)
        if b"-----BEGIN " not in data:
            flaws.append(f"{path} is no file in PEM")
        elif label not in data:
            flaws.append(f"{path} holds no {wanted}")
    if key == certificate and flaws == [f"{key} holds no key"]:
        flaws.append("the file of the key is set by tls.key")
    if flaws:
        return "; ".join(dict.fromkeys(flaws))
    try:
        _decode(certificate)
    except OSError:
        return f"the certificate in {certificate} is damaged, or of a kind that cannot be used"
    return f"the key in {key} is damaged, or a certificate behind the first one in {certificate}"


def _wrong(why: str) -> StartupError:
    return StartupError(f"no TLS: {why}", EXIT_NO_CERTIFICATE)


def _decode(path: str) -> dict[str, Any]:
    """The fields of the first certificate of a file. The standard library shows them of a peer's, or of a file."""
    found: dict[str, Any] = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]
    return found


def _names(found: dict[str, Any]) -> tuple[str, ...]:
    names = [value for kind, value in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    if not names:  # as it was done until 2000 (RFC 2818)
        names = [value for part in found.get("subject", ()) for key, value in part if key == "commonName"]
    return tuple(dict.fromkeys(name.lower() for name in names))
