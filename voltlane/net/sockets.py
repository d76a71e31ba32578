"""Addresses ↔ sockets: listening, tuning, closing. For the server and for the two libraries."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from typing import NamedTuple

from ..address import Address, host_in_ascii
from ..errors import StartupError

try:
    import fcntl
    import termios
except ImportError:  # pragma: no cover (not a Unix)
    fcntl = None  # type: ignore[assignment]

try:
    import resource
except ImportError:  # pragma: no cover (not a Unix)
    resource = None  # type: ignore[assignment]

EXIT_CANNOT_LISTEN = 3
BACKLOG = 4096
"""Connections the kernel may hold for us; it takes its own limit (somaxconn) if that is less."""
EVERYWHERE = ("::", "0.0.0.0")
"""Where a socket for every interface is bound."""
NO_SIGNAL: int = getattr(socket, "MSG_NOSIGNAL", 0)
"""For send: a program that embeds us may have given SIGPIPE its deadly default back."""
_UNSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if sys.platform == "linux" else None)
"""Not every Python names it (PyPy)."""
# Python has no names for these, which are Linux's.
_MTU_DISCOVER: dict[int, tuple[int, int]] = (
    {socket.AF_INET: (socket.IPPROTO_IP, 10), socket.AF_INET6: (socket.IPPROTO_IPV6, 23)}
    if sys.platform == "linux"
    else {}
)
_DONT = 0
_DRAIN_READS = 64
_DEFERRED_SECS = 1
_NO_LINGER, _LINGER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
_DRAIN_BYTES = 1 << 16


_IN_USE = "is it running already? If not, choose another address"
_TCP_HINTS = {
    # A port that the system gives to outgoing connections (ip_local_port_range) may be one's own, for a minute.
    errno.EADDRINUSE: f"{_IN_USE}; or an outgoing connection has just used it: ss -tan",
    errno.EADDRNOTAVAIL: "this machine has no such address, or not yet; * is all that it has",
    errno.EACCES: "ports below 1024 are for root, and for who has the capability CAP_NET_BIND_SERVICE",
    errno.EAFNOSUPPORT: "this machine has no IPv6, or no IPv4",
    socket.EAI_NONAME: "nobody knows that name: is it spelled right, and does the resolver work?",
    socket.EAI_AGAIN: "the resolver does not answer; an IP address needs none",
}
_UNIX_HINTS = {
    errno.EADDRINUSE: _IN_USE,
    errno.EACCES: "this user may not make files in that directory",
    errno.ENOENT: "the directory has to be there already",
    errno.ENOTDIR: "what stands before the last / is no directory",
    errno.EROFS: "nothing can be written on that file system",
}


def resolve(address: Address) -> list[tuple[int, object]]:
    """(family, socket address) pairs to try in turn. Raises OSError when a name cannot be resolved."""
    if address.kind == "unix":
        return [(socket.AF_UNIX, address.path)]
    host = host_in_ascii(address.host)
    if address.host and not host:
        raise OSError(errno.EINVAL, "that is no host name")
    # As bytes: a text goes through Python's codec for IDNA, even an IP address, and a small system lacks its tables.
    found = socket.getaddrinfo(host.encode() or None, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, _, _, _, where in found]


def listening_socket(address: Address, mode: int | None = None) -> socket.socket:
    """A bound, non-blocking socket that listens. `*` means every interface, IPv6 and IPv4.

    A unix socket's file gets this mode, or what the umask leaves; one that nobody listens on any more is replaced.
    Raises StartupError, with the exit code.
    """
    try:
        if address.kind == "unix":
            _remove_abandoned(address.path)
            return _listen(socket.AF_UNIX, address.path, mode=mode)
        return _listen(*place_to_bind(address))
    except OSError as error:
        raise cannot_listen(address, error) from None


def place_to_bind(address: Address) -> tuple[int, object, bool]:
    """Family, socket address, and whether a socket there is to take IPv4, too: for TCP and UDP.

    Raises OSError when a name cannot be resolved.
    """
    if address.host:
        return *resolve(address)[0], False
    if socket.has_dualstack_ipv6():
        return socket.AF_INET6, (EVERYWHERE[0], address.port), True
    return socket.AF_INET, (EVERYWHERE[1], address.port), False


def cannot_listen(address: Address, error: OSError) -> StartupError:
    """What to say of that."""
    why = f"cannot listen on {address}: {error.strerror or error}"
    return StartupError(why, EXIT_CANNOT_LISTEN, _hint(address, error))


def _hint(address: Address, error: OSError) -> str:
    """What to look at, where that is known."""
    if address.scheme == "udp" and error.errno == errno.EADDRINUSE:
        return f"{_IN_USE}: ss -uanp says who has it"
    if address.kind == "tcp":
        return _TCP_HINTS.get(error.errno or 0, "")
    if error.errno == errno.EADDRINUSE and _is_other_file(address.path):
        return "a file of that name is there, and is no socket"
    return _UNIX_HINTS.get(error.errno or 0, "")


def _is_other_file(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _listen(family: int, where: object, dual_stack: bool = False, mode: int | None = None) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(where)  # type: ignore[arg-type]
        if mode is not None:
            os.chmod(str(where), mode)  # in time: nobody can connect before it listens
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        file = socket_file(sock)
        if file is not None:
            file.remove()
        sock.close()
        raise
    return sock


def _remove_abandoned(path: str) -> None:
    """Remove the file of a unix socket whose process is gone."""
    found = _file_at(path)
    try:
        if found is None or not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            found.remove()  # unless somebody else has just replaced it, too
        except BlockingIOError:
            pass  # its owner is busy, so it has one


def accept(listening: socket.socket, family: int) -> tuple[socket.socket, object]:
    """As socket.accept(), for a listening socket of this family.

    That asks the socket for its family and type, and makes enums of them, for each connection anew.
    """
    descriptor, address = listening._accept()  # type: ignore[attr-defined]
    return socket.socket(family, socket.SOCK_STREAM, 0, descriptor), address


def local_address(sock: socket.socket) -> Address:
    """Where a socket is bound. Of a unix socket with an abstract name the path is `@name`, as everybody shows it."""
    name = sock.getsockname()
    if sock.family != socket.AF_UNIX:
        return Address("tcp", name[0], name[1], "")
    return Address("unix", "", 0, _shown(name) if isinstance(name, bytes) else name)


def _shown(abstract: bytes) -> str:
    return abstract.replace(b"\0", b"@").decode("utf-8", "backslashreplace")


class SocketFile(NamedTuple):
    """The file of a unix socket, and which one it is: another server may have the name by now."""

    path: str
    device: int
    inode: int

    def remove(self) -> None:
        """Take it away if it is still this one; never a successor's, nor what else has got the name.

        Only while the socket is open: a closed one's inode may be given to the next file at once.
        """
        if _file_at(self.path) == self:
            try:
                os.unlink(self.path)
            except OSError:
                pass


def socket_file(sock: socket.socket) -> SocketFile | None:
    """The file that a unix socket was bound to just now; None without one: TCP, abstract names."""
    name = sock.getsockname()
    return _file_at(name) if sock.family == socket.AF_UNIX and isinstance(name, str) else None


def _file_at(path: str) -> SocketFile | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return SocketFile(path, status.st_dev, status.st_ino)


def set_low_delay(sock: socket.socket) -> None:
    """Send small packets at once. On Linux what a listening socket has set, its accepted sockets have too."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def set_keepalive(sock: socket.socket, seconds: int, user_timeout: int | None = None) -> None:
    """Find out within about twice `seconds` that a peer is gone that nothing is sent to; 0 leaves it to the system.

    `user_timeout` is for what is sent: the connection is lost when nobody acknowledges it, or when there is no room for
    it, for so many seconds; None: twice `seconds`, 0: as the system has it.
    """
    if sock.family == socket.AF_UNIX:
        return
    options = {}
    if seconds:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = {"TCP_KEEPIDLE": seconds, "TCP_KEEPINTVL": max(1, seconds // 4), "TCP_KEEPCNT": 4}
    timeout = 2 * seconds if user_timeout is None else user_timeout
    if timeout:
        options["TCP_USER_TIMEOUT"] = 1000 * timeout
    for name, value in options.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def send_in_fragments(sock: socket.socket, family: int) -> None:
    """Datagrams that are too large for the way to addresses of that family: better than not at all. Raises OSError."""
    if family in _MTU_DISCOVER:
        level, option = _MTU_DISCOVER[family]
        sock.setsockopt(level, option, _DONT)


class SocketOptions(NamedTuple):
    """How TCP is to treat connections; names, units and meanings are those of the configuration's section `socket`."""

    nodelay: bool = True
    ttl: int = 0
    linger_secs: int = -1
    receive_buffer: int = 0
    send_buffer: int = 0
    unsent_bytes: int = 0

    def apply(self, sock: socket.socket) -> None:
        """Set them, for TCP. On Linux what a listening socket has set, its accepted sockets have too."""
        if sock.family == socket.AF_UNIX:
            return
        if self.nodelay:
            set_low_delay(sock)
        if self.ttl:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, self.ttl)  # for IPv4 over an IPv6 socket, too
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, self.ttl)
        if self.linger_secs == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        elif self.linger_secs > 0 and hasattr(socket, "TCP_LINGER2"):
            # SO_LINGER with a time would make close() wait, and the whole loop with it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, self.linger_secs)
        if self.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_buffer)
        if self.unsent_bytes and _UNSENT_LOWAT is not None:
            try:
                sock.setsockopt(socket.IPPROTO_TCP, _UNSENT_LOWAT, self.unsent_bytes)
            except OSError:  # an old kernel, or something that plays one: more is lost there with a connection
                pass


def unconfirmed(sock: socket.socket) -> int:
    """Bytes written to a socket that the other side's system has not acknowledged: at the end, what may be lost.

    What was acknowledged may be lost, too, in a peer that did not come to read it. For a unix socket the system counts
    what is not read, and some memory of its own with it. 0 where it does not tell.
    """
    if fcntl is not None:
        try:
            return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            pass
    return 0


def half_close(sock: socket.socket) -> int:
    """Say that we send no more, and throw away what a non-blocking socket has received. How many bytes that were.

    A socket that is closed with bytes unread resets the connection, and the reset overtakes what the peer has not read.
    """
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return 0
    return throw_away(sock)


def throw_away(sock: socket.socket) -> int:
    """Throw away what a non-blocking socket has received. How many bytes that were."""
    thrown_away = 0
    try:
        for _ in range(_DRAIN_READS):
            received = len(sock.recv(_DRAIN_BYTES))
            if not received:
                break
            thrown_away += received
    except OSError:
        pass
    return thrown_away


def reset_on_close(sock: socket.socket, reset: bool = True) -> None:
    """Let closing it throw everything away, at both ends: no buffer and no TIME_WAIT remains. False takes that back.

    It holds for a process that is killed as well. A unix socket knows no reset: its peer sees an end.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER if reset else _LINGER)
    except OSError:
        pass


def defer_accept(listening: socket.socket) -> None:
    """Let the kernel keep connections that say nothing, for a while; of TCP on Linux, elsewhere nothing."""
    if listening.family != socket.AF_UNIX and hasattr(socket, "TCP_DEFER_ACCEPT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFERRED_SECS)


def close_gently(sock: socket.socket) -> None:
    """Close a non-blocking socket so that what was sent still arrives."""
    half_close(sock)
    sock.close()


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as the system lets it have: each client needs one.

    How many that are; 0 where there is no limit.
    """
    soft = 0
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (OSError, ValueError):
            pass
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            soft = 0
    return soft


def next_descriptor() -> int:
    """The number that the next descriptor will get: all below it are in use, since the lowest is given out first."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.fileno()
    except OSError:
        return sys.maxsize
