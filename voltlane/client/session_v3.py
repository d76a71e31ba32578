"""A session of version 3: what its application does with it, in terms of an endpoint and what moves it."""

from __future__ import annotations

import struct
import time
from typing import Callable, cast

from ..address import Address
from ..errors import (
    BadState,
    ConfigError,
    ConnectionLost,
    Gap,
    NoDatagrams,
    ProtocolError,
    Refused,
    ServerKeyChanged,
    SessionLost,
    Uncertain,
)
from ..net.deadlines import deadline_after, remaining
from ..wire.v3 import Code, Suite
from .datagram_link import DatagramLink
from .datagrams import Stage
from .driver import FAREWELL_SECS, Driver
from .endpoint import Endpoint, Phase
from .inbox import Item
from .memory import Memory
from .options import Options
from .secure import Trust
from .state import decode, encode

OPENINGS = 5
"""How often a session is opened, with the same handle, until a welcome comes."""


class SessionV3:
    """What `Connection` is with version 3; there the methods are explained."""

    def __init__(
        self,
        address: Address,
        memory: Memory,
        options: Options,
        packet_limit: int,
        timeout: float | None,
        trust: Trust | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        if memory.suite == Suite.CLEAR and not address.is_private:
            raise ConfigError(
                f"encrypted: others can listen on the way to {address}, so version 3 has to encrypt there; without it "
                "there are unix sockets, this machine, and wss://"
            )
        self._address = address
        self._memory = memory
        self._options = options
        self._timeout = timeout
        self._packet_limit = packet_limit
        self._endpoint = Endpoint(memory, options)
        self._datagrams = self._endpoint.datagrams
        self._driver = Driver(self._endpoint, address, timeout, self._keep, trust, on_reached)
        self._lock = self._driver.lock
        self._begin()
        self._driver.heals = options.reconnect == "auto"

    def _begin(self) -> None:
        """The first connection. Who got no welcome asks again in the same words, as the server may have opened the
        session already."""
        deadline = deadline_after(self._timeout)
        with self._lock:
            for attempt in range(1, OPENINGS + 1):
                try:
                    self._driver.connect(deadline)
                    self._driver.until(self._is_live, None, self._why_offline)
                    return
                except (SessionLost, ServerKeyChanged, Refused):
                    raise
                except ConnectionLost:
                    left = remaining(deadline)
                    if not self._endpoint.asked or attempt == OPENINGS or left == 0.0:
                        raise
                except BaseException:
                    self._driver.hang_up(Code.AWAY)
                    raise
                pause = self._driver.pause
                self._lock.wait(pause if left is None else min(pause, left))

    def _keep(self) -> None:
        if self._options.on_state is not None:
            self._options.on_state(self.state())

    @property
    def client_id(self) -> int:
        """That of the session."""
        assert self._memory.client_id is not None
        return self._memory.client_id

    @property
    def server_key(self) -> bytes:
        """The one that the server had last; empty without encryption."""
        return self._memory.pins.met

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._driver.closed

    def fileno(self) -> int:
        """The descriptor, or -1."""
        return self._driver.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits for room in the network."""
        return self._driver.wants_write

    # ---- sending

    def send(self, packet: bytes, timeout: float | None) -> int:
        """Queue it; its number."""
        if len(packet) > self._packet_limit:
            raise ValueError(f"a packet of {len(packet)} bytes, at most {self._packet_limit} are allowed")
        deadline = deadline_after(timeout)
        retention, driver = self._memory.retention, self._driver
        with self._lock:
            driver.refuse_lost()
            if retention.full(len(packet)):

                def has_room() -> bool | None:
                    driver.refuse_lost()
                    return None if retention.full(len(packet)) else True

                driver.until(has_room, deadline, lambda: f"no room: {retention.full(len(packet))}{self._why_not()}")
            number = self._endpoint.send(packet)
            driver.write_out(deadline)
        return number

    def flush(self, timeout: float | None) -> None:
        """Until everything sent is safe, or told as uncertain."""
        with self._lock:
            self._driver.until(self._is_settled, deadline_after(timeout), self._why_unsafe)

    def _is_settled(self) -> bool | None:
        if not len(self._memory.retention):
            return True
        self._driver.refuse_lost()
        return None

    def _why_unsafe(self) -> str:
        return f"{len(self._memory.retention)} packets are not known to be safe{self._why_not()}"

    def _why_not(self) -> str:
        if not self._driver.connected:
            return f"; {self._driver.loss or 'not connected'}"
        return "; the server takes no more at present" if self._endpoint.stuck else ""

    # ---- receiving

    def recv(self, timeout: float | None) -> Item:
        """The next packet. Raises Gap and Uncertain, unless these are to be returned."""
        with self._lock:
            item = self._take()
            if item is None:
                item = cast(Item, self._driver.until(self._take, deadline_after(timeout), self._why_nothing))
            elif self._endpoint.output:
                self._driver.write_out(time.monotonic())
        if isinstance(item, (Gap, Uncertain)) and self._options.gaps == "raise":
            raise item
        return item

    def _take(self) -> Item | None:
        if self.closed:
            self._driver.refuse_lost()
        item = self._endpoint.take(time.monotonic())
        if item is None:
            self._driver.refuse_lost()
        return item

    def _why_nothing(self) -> str:
        return f"nothing whole was received in time{'' if self._driver.connected else self._why_not()}"

    def ack(self) -> None:
        """All that was received is safe with the application."""
        with self._lock:
            self._endpoint.acknowledge(time.monotonic())
            self._driver.write_out(time.monotonic())

    def ping(self, timeout: float | None) -> float:
        """Seconds to the server and back."""
        deadline = deadline_after(timeout)
        with self._lock:
            self._driver.until(self._is_live, deadline, self._why_offline)
            began = time.monotonic()
            number = self._endpoint.ping(began)

            def answered() -> float | None:
                if self._endpoint.ponged >= number:
                    return time.monotonic() - began
                self._driver.refuse_lost()
                if self._endpoint.phase is not Phase.LIVE:
                    raise ConnectionLost("the connection was lost before the pong")
                return None

            return self._driver.until(answered, deadline, lambda: f"no pong came in time{self._why_not()}")

    # ---- datagrams

    @property
    def datagram_link(self) -> DatagramLink:
        """How good their way is."""
        return self._datagrams.link

    def datagram_fileno(self) -> int:
        """Their descriptor, or -1."""
        return self._driver.datagram_fileno()

    def datagram(self, packet: bytes, timeout: float | None) -> bool:
        """Send one; whether it is on its way. The first waits until there is one."""
        with self._lock:
            self._want_datagrams()
            if not self._datagrams.began:
                deadline = deadline_after(self._timeout if timeout is None else timeout)
                self._driver.until(self._is_working, deadline, self._why_no_datagrams)
            return self._driver.send_datagram(packet)

    def recv_datagram(self, timeout: float | None) -> bytes:
        """The next one."""
        with self._lock:
            self._want_datagrams()
            self._datagrams.awaited += 1
            try:
                return self._driver.until(self._take_datagram, deadline_after(timeout), self._why_no_datagram)
            finally:
                self._datagrams.awaited -= 1

    def _want_datagrams(self) -> None:
        """They need no connection once there are keys."""
        if self.closed or self._driver.over is not None:
            self._driver.refuse_lost()
        self._datagrams.want(time.monotonic())

    def _is_working(self) -> bool | None:
        if self._datagrams.stage is Stage.REFUSED:
            raise NoDatagrams("the server has no datagrams for clients")
        if not self._datagrams.began:
            self._driver.refuse_lost()
            return None
        return True

    def _take_datagram(self) -> bytes | None:
        if self._datagrams.inbox:
            return self._datagrams.inbox.popleft()
        if self.closed or self._driver.over is not None:
            self._driver.refuse_lost()
        if not self._datagrams.began:
            self._is_working()
        elif self._datagrams.stage is Stage.REFUSED:  # it may have some again
            self._datagrams.want(time.monotonic())
            self._endpoint.pump(time.monotonic())
        return None

    def _why_no_datagrams(self) -> str:
        if self._datagrams.stage is not Stage.KEYED:
            return f"the server has not answered in time whether there are datagrams{self._why_not()}"
        return "no datagram has come through in time: something on the way may let none pass"

    def _why_no_datagram(self) -> str:
        return "no datagram came in time" if self._datagrams.began else self._why_no_datagrams()

    # ---- connections

    def reconnect(self, timeout: float | None) -> None:
        """Resume on a new connection."""
        deadline = deadline_after(self._timeout if timeout is None else timeout)
        driver = self._driver
        with self._lock:
            if self.closed:
                raise SessionLost("the connection was closed by this side")
            if driver.over is not None:
                raise driver.over.with_traceback(None)
            driver.hang_up(Code.AWAY)
            heals, driver.heals = driver.heals, False
            try:
                driver.connect(deadline)
                driver.until(self._is_live, None, self._why_offline)
            except ConnectionLost as error:
                if driver.closed:
                    raise SessionLost("the connection was closed by this side") from None
                if driver.loss is None:
                    driver.lose(error)
                raise
            finally:
                driver.heals = heals

    def _is_live(self) -> bool | None:
        self._driver.refuse_lost()
        return True if self._endpoint.phase is Phase.LIVE else None

    def _why_offline(self) -> str:
        return f"no connection in time{self._why_not()}"

    def close(self, goodbye: bool, timeout: float | None) -> None:
        """For good, when all is safe; if that does not come to be in time, the session stays, and what is raised says
        why."""
        failure: TimeoutError | ConnectionLost | ProtocolError | None = None
        with self._lock:
            if self.closed:
                return
            if goodbye:
                try:
                    self._driver.until(self._is_settled, deadline_after(timeout), self._why_unsafe)
                except (TimeoutError, ConnectionLost, ProtocolError) as error:
                    failure = error
            if self._driver.closed:  # by another thread, meanwhile
                return
            self._driver.closed = True
            code = Code.LEFT if goodbye and failure is None else Code.AWAY
            self._driver.hang_up(code, FAREWELL_SECS)
            self._driver.end_datagrams()
        if failure is not None and self._driver.over is None:
            raise failure

    def state(self) -> bytes:
        """All that a later program needs to go on."""
        with self._lock:
            return encode(self._memory, str(self._address))


def restore(kept: bytes, options: Options, packet_limit: int) -> tuple[Memory, str]:
    """What a state says: the memory and the address. Raises BadState."""
    try:
        return decode(kept, options, packet_limit, time.time_ns() // 1000)
    except BadState:
        raise
    except (ValueError, IndexError, ArithmeticError, ProtocolError, struct.error) as error:
        raise BadState(f"the state cannot be read: {error}") from None
