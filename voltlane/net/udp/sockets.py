"""Addresses → sockets for datagrams."""

from __future__ import annotations

import socket
import sys

from ...address import Address
from ..sockets import cannot_listen, place_to_bind, send_in_fragments

BUFFER = 4 << 20
"""Bytes that the system is asked to hold for us, each way: what comes during one turn of the loop."""
_LINUX = sys.platform == "linux"
# Python has no names for these.
_FORCED = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32} if _LINUX else {}
_JOINED = 104
"""UDP_GRO."""


def udp_socket(address: Address) -> socket.socket:
    """A bound, non-blocking socket. `*` means every interface, IPv6 and IPv4, which then have names of IPv6.

    Its buffers are as large as the system lets them be, up to 4 MiB. A datagram that is too large for the way is sent
    in fragments: nobody here would hear of the system's refusal. Raises StartupError, with the exit code.
    """
    try:
        return bind(*place_to_bind(address))
    except OSError as error:
        raise cannot_listen(address, error) from None


def is_of_this_machine(host: str) -> bool:
    """Whether this IP address is one of the machine's own: only to those can a socket be bound."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((host, 0))
    except OSError:
        return False
    return True


def receive_joined(sock: socket.socket, joined: bool) -> None:
    """Whether what one address sends at once may be received in one piece from now on, where the system can do it; only
    the loops in C can take that apart. What has come already stays as it is."""
    if _LINUX:
        try:
            sock.setsockopt(socket.IPPROTO_UDP, _JOINED, int(joined))
        except (OSError, AttributeError):  # an old kernel; no socket for UDP
            pass


def is_readable(sock: socket.socket) -> bool:
    """Whether a datagram is there."""
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def bind(family: int, where: object, dual_stack: bool = False, joining: bool = False) -> socket.socket:
    """The same at a socket's address. `joining`: beside others that are there already. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        if joining:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        equip(sock)
        sock.bind(where)  # type: ignore[arg-type]
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def equip(sock: socket.socket) -> None:
    """Give a socket, bound or not, the options that are said of `udp_socket`. Raises OSError."""
    for family in {sock.family, socket.AF_INET} if is_dual_stack(sock) else {sock.family}:
        send_in_fragments(sock, family)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        _enlarge(sock, buffer)


def is_dual_stack(sock: socket.socket) -> bool:
    """Whether it takes IPv6 and IPv4."""
    return sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _enlarge(sock: socket.socket, buffer: int) -> None:
    """Past the system's limit where this process may (CAP_NET_ADMIN), else up to it; never less than it was."""
    if sock.getsockopt(socket.SOL_SOCKET, buffer) >= BUFFER:
        return
    for option in (_FORCED.get(buffer), buffer):
        if option is not None:
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
                return
            except OSError:
                pass
