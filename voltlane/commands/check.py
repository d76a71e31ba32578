"""`voltlane serve --check-config`: whether a server would start with these settings, as far as they and the files of
certificates and keys can tell. Nothing is bound, and nobody is dialled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .. import config
from ..address import ENCRYPTED, parse_listener
from ..config import Config
from .console import say, show
from .serve import DEFAULT_FILE, find_file


def check_config(flags: Mapping[str, str], file: str | None) -> int:
    """Say that the configuration is right. Raises ConfigError when it is not, StartupError where it is a certificate or
    key that is wrong."""
    path = file or find_file()
    settings = config.load(path, os.environ, flags)
    _check_certificates(settings)
    show(f"{path}: ok" if path else f"ok: no {DEFAULT_FILE} here, so the defaults hold")
    return 0


def _check_certificates(settings: Config) -> None:
    """Load them as a server does at its start; also where no address asks for them, since a socket that is passed to it
    may. One that has expired, or soon will, does not keep a server from starting either, and is told."""
    encrypted = any(parse_listener(text).scheme in ENCRYPTED for text in settings.listener.address)
    if encrypted or settings.tls.certificate:
        from ..net.certificates import Certificates, TlsOptions

        Certificates(TlsOptions.of(settings.tls), _Aloud()).load()


class _Aloud:
    """See `net.certificates.Watcher`: it goes to the terminal."""

    def expired(self, name: str) -> None:
        """The certificate for this name is over."""
        say(f"the certificate for {name} has expired: clients refuse it")

    def expires(self, name: str, days: float) -> None:
        """It soon will be."""
        say(f"the certificate for {name} expires in {days:.1f} days")

    def kept(self, why: str) -> None:
        """Not here: nothing was there before."""
