"""Several sockets for one address, of which the kernel takes one for each datagram that comes (man 7 socket,
SO_REUSEPORT): one for each of several processes.

Without more the addresses and ports at both ends say which it is, so that a sender comes to the same one each time, as
long as the group is as it was. A program in the kernel may say it instead (SO_ATTACH_REUSEPORT_CBPF), by the first byte
of a datagram: then a sender may change its address.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from struct import Struct

from ...address import Address
from ...errors import StartupError
from ..sockets import EXIT_CANNOT_LISTEN, cannot_listen
from .sockets import bind, is_dual_stack, udp_socket

# Python has no name for this.
_ATTACH_CBPF = 51 if sys.platform == "linux" else 0
_INSTRUCTION = Struct("=HBBI")
_PROGRAM = Struct("@HP")
"""struct sock_fprog (linux/filter.h): how many instructions, and where they are."""
_LOAD_BYTE, _MODULO, _RETURN = 0x30, 0x94, 0x16
"""BPF_LD | BPF_B | BPF_ABS; BPF_ALU | BPF_MOD | BPF_K; BPF_RET | BPF_A."""


def socket_group(
    address: Address, count: int, by_first_byte: bool, first: socket.socket | None = None
) -> list[socket.socket]:
    """So many sockets as of `udp_socket`, in the order in which the kernel counts them. `by_first_byte`: of a datagram,
    modulo their count, which socket it comes to. `first`: one that is bound already, by this user. Raises StartupError.

    The order changes when one of them is closed: somebody has to keep them all open.
    """
    if not _ATTACH_CBPF:
        raise StartupError(_cannot(address, "that is for Linux only"), EXIT_CANNOT_LISTEN)
    group = [udp_socket(address) if first is None else first]
    try:
        # Only now, for a second server of this user is not to come into the group: the first one is bound without it.
        group[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(count - 1):
            group.append(_another(group[0]))
    except OSError as error:
        _close(group)
        raise cannot_listen(address, error) from None
    try:
        if by_first_byte:
            _steer(group[0], count)
    except OSError as error:
        _close(group)
        why = f"SO_ATTACH_REUSEPORT_CBPF is refused: {error.strerror}"
        raise StartupError(_cannot(address, why), EXIT_CANNOT_LISTEN) from None
    return group


def _another(first: socket.socket) -> socket.socket:
    return bind(first.family, first.getsockname(), is_dual_stack(first), joining=True)


def _steer(member: socket.socket, count: int) -> None:
    """The program is the whole group's. A datagram without a byte comes to the first of them."""
    program = ctypes.create_string_buffer(
        _INSTRUCTION.pack(_LOAD_BYTE, 0, 0, 0)
        + _INSTRUCTION.pack(_MODULO, 0, 0, count)
        + _INSTRUCTION.pack(_RETURN, 0, 0, 0)
    )
    member.setsockopt(socket.SOL_SOCKET, _ATTACH_CBPF, _PROGRAM.pack(3, ctypes.addressof(program)))


def _cannot(address: Address, why: str) -> str:
    return f"cannot listen on {address} with several workers ({why}): set general.workers = 1"


def _close(group: list[socket.socket]) -> None:
    for sock in group:
        sock.close()
