"""`voltlane serve --check-config`: whether a server would start with these settings, as far as they and the files of
certificates, keys and the cluster's secret can tell. Nothing is bound, and nobody is dialled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .. import config
from ..config import Cluster, Tls
from ..errors import ConfigError, StartupError
from .console import say, show
from .serve import DEFAULT_FILE, find_file


def check_config(flags: Mapping[str, str], file: str | None) -> int:
    """Say that the configuration is right. Raises ConfigError when it is not, with everything that is wrong: in the
    settings, and, where the section `tls`, or all of them, can be used, with the files that they name."""
    path = file or find_file()
    mistakes: tuple[str, ...] = ()
    tls: Tls | None
    cluster: Cluster | None = None
    try:
        settings = config.load(path, os.environ, flags)
        tls, cluster = settings.tls, settings.cluster
    except ConfigError as error:
        mistakes, tls = error.mistakes, config.load_section(Tls, path, os.environ, flags)
    if tls is not None and tls.certificate:
        mistakes += _wrong_certificates(tls)
    if cluster is not None and cluster.url:
        mistakes += _wrong_cluster(cluster)
    if mistakes:
        raise ConfigError(*mistakes)
    show(f"{path}: ok" if path else f"ok: no {DEFAULT_FILE} here, so the defaults hold")
    return 0


def _wrong_certificates(tls: Tls) -> tuple[str, ...]:
    """What is said when they are loaded, each by itself, as a server does at its start; also where no address asks for
    them, since a socket that is passed to it may. One that has expired, or soon will, does not keep a server from
    starting either, and is told."""
    from ..net.certificates import Certificates, TlsOptions

    options = TlsOptions.of(tls)
    wrong: list[str] = []
    for certificate, key in options.files:
        try:
            Certificates(options._replace(certificate=(certificate,), key=(key,)), _Aloud()).load()
        except StartupError as error:
            wrong.append(str(error))
    return tuple(dict.fromkeys(wrong))


def _wrong_cluster(cluster: Cluster) -> tuple[str, ...]:
    """What is said of the extra, of the secret's file, and of whom to trust, each by itself."""
    from ..cluster.keys.secret import read_secret
    from ..cluster.redis.options import options_of

    wrong: list[str] = []
    for look in (options_of, read_secret):
        try:
            look(cluster)
        except StartupError as error:
            wrong.append(str(error))
    return tuple(wrong)


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
