"""What the log says of certificates: see `net.certificates`."""

from __future__ import annotations

from .log import log


class CertificateLog:
    """For `Certificates`."""

    def expired(self, name: str) -> None:
        """The certificate for this name is over."""
        log.warning("the certificate for %s has expired: clients refuse it", name)

    def expires(self, name: str, days: float) -> None:
        """It soon will be."""
        log.warning("the certificate for %s expires in %.1f days", name, days)

    def kept(self, why: str) -> None:
        """What was read again cannot be used."""
        log.error("the certificates stay as they are: %s", why)
