"""A backend as a class."""

from __future__ import annotations

from ..address import Address
from ..wire.tagged import Flag
from .firehose import Firehose
from .link import Packet, ServerLink


class Handler:
    """A backend as a class: override what you need, then `serve(address)`.

    An exception that a method lets through ends `serve`, closing everything.
    """

    firehose: Firehose
    """The stream being served."""

    def on_data(self, packet: Packet) -> None:
        """A client sent `packet.data`."""

    def on_datagram(self, packet: Packet) -> None:
        """A client sent `packet.data` as a datagram: in no order with its other packets."""

    def on_failure(self, packet: Packet) -> None:
        """A client is gone for good, or never was: `packet.reason`. Or its link is lost, and it may come again."""

    def on_undelivered(self, packet: Packet) -> None:
        """A packet to a client was lost, since the client has moved to another server of several: it goes on there."""

    def on_reconnection(self, packet: Packet) -> None:
        """A client resumed its session, or was there before this link was."""

    def on_link(self, link: ServerLink) -> None:
        """A connection server has connected."""

    def on_link_lost(self, link: ServerLink) -> None:
        """A connection server is gone, and all of its clients have failed. When it comes back, on a new link, who is
        connected to it comes again as a reconnection; who is not, when it has resumed."""

    def serve(self, address: str | Address) -> None:
        """Listen and handle packets until `stop`. Raises as `Firehose`."""
        with Firehose(address) as firehose:
            self.run(firehose)

    def run(self, firehose: Firehose) -> None:
        """The same on a firehose made before (with limits of one's own, or to know its address)."""
        self.firehose = firehose
        firehose.on_link, firehose.on_link_lost = self.on_link, self.on_link_lost
        for packet in firehose:
            self.handle(packet)

    def handle(self, packet: Packet) -> None:
        """Give a packet to its method: for loops of one's own."""
        if packet.flag is Flag.DATA:
            self.on_data(packet)
        elif packet.flag is Flag.DATAGRAM:
            self.on_datagram(packet)
        elif packet.is_undelivered:
            self.on_undelivered(packet)
        elif packet.flag is Flag.FAILURE:
            self.on_failure(packet)
        elif packet.flag is Flag.RECONNECTION:
            self.on_reconnection(packet)

    def stop(self) -> None:
        """End `serve`. From any thread, and from signal handlers."""
        self.firehose.stop()
