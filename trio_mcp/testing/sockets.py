"""Simulated sockets: what a kernel does between two ends of a TCP connection, in memory and on trio's clock.

Theory of operation. A link has two directions. Bytes that one end sends are in flight until the network says that they
have arrived; then they wait in the other end's buffer until it reads. Both together are bounded by the direction's
capacity: who sends more waits, as for a peer that does not read. A close is a FIN behind the last byte; a close with
bytes unread, or with SO_LINGER 0, is a RST, which overtakes what is in flight; what has arrived can still be read, and
after it the error comes once. Bytes that arrive at a closed end are answered with a RST. These are the rules of Linux
(`tests/testing/test_sockets.py` runs the same scripts on both), and those that `http.byte_stream` and `http.hangup`
live by, so both run on it unchanged.

It refuses to choose how long anything takes: `network` does.
"""

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio


def _error(number: int) -> OSError:
    """As the system would raise it."""
    return OSError(number, os.strerror(number))


#: A piece in flight is bytes, or this: the sender sends no more.
_FIN: Final = None


class Carrier(Protocol):
    """Who says when what is sent arrives."""

    def carry(self, direction: "Direction", arrive: Callable[[], None], *, apart: bool = False) -> None:
        """Call `arrive` when a piece of that direction is there, after those before it; `apart`: some time after."""
        ...

    def split(self, direction: "Direction", size: int) -> list[int]:
        """The sizes of the segments that so many bytes travel in."""
        ...

    def told(self, what: str, end: "SimulatedSocket") -> None:
        """Something happened to a link."""
        ...

    def sent(self, direction: "Direction", data: bytes) -> int:
        """Bytes leave; the number of this sending."""
        ...

    def arrived(self, number: int, *, lost: bool = False) -> None:
        """They are there, or never will be."""
        ...


class Direction:
    """One direction of a link.

    Attributes:
        capacity: bytes that may be on the way and unread.
        unread: what has arrived and was not read.
        ended: the FIN has arrived.
        most: the most bytes that ever were on the way and unread.
    """

    __slots__ = ("capacity", "due", "ended", "flying", "held", "most", "name", "receiver", "sender", "unread")

    def __init__(self, name: str, sender: "SimulatedSocket", receiver: "SimulatedSocket", capacity: int) -> None:
        self.name = name
        self.sender = sender
        self.receiver = receiver
        self.capacity = capacity
        self.flying: deque[tuple[bytes | None, int]] = deque()
        self.held = 0
        self.due = 0.0
        self.unread = bytearray()
        self.ended = False
        self.most = 0

    @property
    def room(self) -> int:
        """Bytes that can be sent now."""
        return self.capacity - self.held


class SimulatedSocket:
    """One end of a link, with the methods of a non-blocking `socket.socket` that a server uses.

    Attributes:
        name: for people.
        closed: by this end.
        was_reset: by the other end, or by a network that gave up.
        watch: told of hang-ups: of a half close with False, when nothing can be read or written any more with True.
        wrote_late: somebody wrote after closing.
    """

    family: Final = socket.AF_INET

    def __init__(
        self, name: str, number: int, address: tuple[str, int], peer_address: tuple[str, int], carrier: Carrier
    ) -> None:
        self.name = name
        self._number = number
        self.closed = False
        self.was_reset = False
        self.wrote_late = False
        self.watch: Callable[[bool], None] | None = None
        self.frozen = False
        self._error: int | None = None  # of a reset, until somebody was told
        self._address = address
        self._peer_address = peer_address
        self._carrier = carrier
        self._shut = False
        self._linger_zero = False
        self._incoming: Direction
        self._outgoing: Direction
        self._reader: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()
        self._writer: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()

    def join(self, incoming: Direction, outgoing: Direction) -> None:
        """Become the end of a link."""
        self._incoming, self._outgoing = incoming, outgoing

    @property
    def incoming(self) -> Direction:
        """What comes to this end."""
        return self._incoming

    @property
    def outgoing(self) -> Direction:
        """What leaves this end."""
        return self._outgoing

    @property
    def is_open(self) -> bool:
        """Whether this end can still do anything."""
        return not (self.closed or self.was_reset or self.frozen)

    @property
    def peer(self) -> "SimulatedSocket":
        """The other end."""
        return self._incoming.sender

    @property
    def half_closed(self) -> bool:
        """Whether this end has said that it sends no more."""
        return self._shut

    # The interface of a socket

    def fileno(self) -> int:
        """No descriptor, but a number as one has: -1 when closed."""
        return -1 if self.closed else self._number

    def getpeername(self) -> tuple[str, int]:
        """The other end's address.

        Raises:
            OSError: this end is closed, or was reset.
        """
        self._check_open()
        if self.was_reset:
            raise _error(errno.ENOTCONN)
        return self._peer_address

    def getsockname(self) -> tuple[str, int]:
        """This end's address.

        Raises:
            OSError: this end is closed.
        """
        self._check_open()
        return self._address

    def _check_open(self) -> None:
        if self.closed:
            raise _error(errno.EBADF)

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Of all options, SO_LINGER with 0 seconds means something here: the close is a reset.

        Raises:
            OSError: this end is closed.
        """
        self._check_open()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER) and isinstance(value, bytes):
            self._linger_zero = struct.unpack("ii", value) == (1, 0)

    def send(self, data: bytes | memoryview) -> int:
        """Send what there is room for; how much that was.

        Raises:
            BlockingIOError: there is none.
            OSError: this end is closed, or the other one is gone.
        """
        if self.closed:
            self.wrote_late = True
            raise _error(errno.EBADF)
        if self.was_reset or self._shut:
            raise _error(self._take_error() or errno.EPIPE)
        direction = self._outgoing
        size = min(direction.room, len(data))
        if not len(data):
            return 0
        if size <= 0:
            raise _error(errno.EAGAIN)
        taken = bytes(data[:size])
        start = 0
        for piece in self._carrier.split(direction, size):
            self._launch(taken[start : start + piece], apart=start > 0)
            start += piece
        return size

    def recv(self, most: int) -> bytes:
        """What has arrived, empty at the end.

        Raises:
            BlockingIOError: nothing has.
            OSError: this end is closed, or was reset, which is told once.
        """
        self._check_open()
        direction = self._incoming
        if direction.unread:
            data = bytes(direction.unread[:most])
            del direction.unread[:most]
            direction.held -= len(data)
            direction.sender._writer.unpark_all()
            return data
        if direction.ended:
            return b""
        if error := self._take_error():
            raise _error(error)
        if self.was_reset:
            return b""
        raise _error(errno.EAGAIN)

    def _take_error(self) -> int | None:
        error, self._error = self._error, None
        return error

    def shutdown(self, how: int) -> None:
        """Send no more; the only way that is simulated is SHUT_WR.

        Raises:
            OSError: this end is closed, or was reset.
        """
        self._check_open()
        if how != socket.SHUT_WR:
            raise NotImplementedError("of a simulated socket only the sending half can be shut")
        if self.was_reset:
            raise _error(errno.ENOTCONN)
        if not self._shut:
            self._shut = True
            self._carrier.told("half closed", self)
            self._launch(_FIN)
            self._look_for_hangup()

    def close(self) -> None:
        """Close: a FIN, or a reset where something is unread or SO_LINGER says so. Wakes whoever waits here."""
        if self.closed:
            return
        reset = self._linger_zero or bool(self._incoming.unread)
        self.closed = True
        if self.was_reset:
            pass
        elif reset:
            self._carrier.told("reset", self)
            self._launch_reset()
        else:
            self._carrier.told("closed", self)
            if not self._shut:
                self._shut = True
                self._launch(_FIN)
        self._incoming.unread.clear()
        self._wake()

    # Waiting

    async def wait_readable(self) -> None:
        """Until `recv` does not raise BlockingIOError. Always a checkpoint. Cancellation: nothing happened.

        Raises:
            trio.ClosedResourceError: this end was closed.
        """
        await trio.lowlevel.checkpoint()
        while not (self._incoming.unread or self._incoming.ended or self.was_reset or self.frozen):
            if self.closed:
                raise trio.ClosedResourceError("the socket was closed here")
            await self._reader.park()
        if self.closed:
            raise trio.ClosedResourceError("the socket was closed here")

    async def wait_writable(self) -> None:
        """Until `send` does not raise BlockingIOError; as `wait_readable`."""
        await trio.lowlevel.checkpoint()
        while self._outgoing.room <= 0 and not (self.was_reset or self.frozen):
            if self.closed:
                raise trio.ClosedResourceError("the socket was closed here")
            await self._writer.park()
        if self.closed:
            raise trio.ClosedResourceError("the socket was closed here")

    def notify_closing(self) -> None:
        """Let whoever waits here find out; `close` follows."""
        self._wake()

    def _wake(self) -> None:
        self._reader.unpark_all()
        self._writer.unpark_all()

    # What goes

    def _launch(self, piece: bytes | None, *, apart: bool = False) -> None:
        direction = self._outgoing
        number = 0
        if piece is not None:
            direction.held += len(piece)
            direction.most = max(direction.most, direction.held)
            number = self._carrier.sent(direction, piece)
        direction.flying.append((piece, number))
        self._carrier.carry(direction, direction.receiver._arrive, apart=apart)

    def _launch_reset(self) -> None:
        """A reset overtakes what is in flight: that never arrives."""
        direction = self._outgoing
        for piece, number in direction.flying:
            if piece is not None:
                self._carrier.arrived(number, lost=True)
        direction.flying.clear()
        self._carrier.carry(direction, direction.receiver._arrive_reset)

    # What comes

    def _arrive(self) -> None:
        direction = self._incoming
        if not direction.flying:  # a reset has taken it away
            return
        piece, number = direction.flying.popleft()
        if piece is not None:
            self._carrier.arrived(number, lost=self.closed)
        if self.was_reset:
            return
        if self.closed:
            if piece is not None and not direction.sender.was_reset:
                self._launch_reset()
            return
        if piece is None:
            direction.ended = True
            self._look_for_hangup()
        else:
            direction.unread += piece
        self._reader.unpark_all()

    def _arrive_reset(self) -> None:
        if self.was_reset:
            return
        self.was_reset = True
        self._error = errno.EPIPE if self._incoming.ended else errno.ECONNRESET
        self._wake()
        self._look_for_hangup()

    @property
    def hung_up(self) -> bool | None:
        """What is known of the other end: True: it neither sends nor reads; False: it sends no more; None: neither."""
        if self.was_reset or (self._incoming.ended and self._shut):
            return True
        return False if self._incoming.ended else None

    def _look_for_hangup(self) -> None:
        told = self.hung_up
        if self.watch is not None and told is not None and not self.closed:
            self.watch(told)

    # What only a simulation can do

    def reset(self) -> None:
        """Close with a reset, whatever is unread."""
        self._linger_zero = True
        self.close()

    def break_off(self) -> None:
        """Be as reset by the other end: the network between them broke."""
        for piece, number in self._incoming.flying:
            if piece is not None:
                self._carrier.arrived(number, lost=True)
        self._incoming.flying.clear()
        self._arrive_reset()

    def freeze(self) -> None:
        """Vanish without a word: this side finds the connection broken, the other a peer that does nothing."""
        if not (self.frozen or self.closed):
            self.frozen = True
            self._carrier.told("frozen", self)
            self._wake()
