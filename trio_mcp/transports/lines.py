"""Bytes to lines: the framing of stdio (basic/transports/stdio: one message a line), bounded."""

from collections.abc import AsyncIterator, Awaitable, Callable

from trio_mcp.wire.jsonrpc import INVALID_REQUEST, WireError

Read = Callable[[], Awaitable[bytes]]


class Lines:
    """An async iterator over the lines of a byte stream; the last line needs no newline.

    A line longer than `max_line` bytes comes as a `WireError`, and reading goes on behind it.
    """

    def __init__(self, read: Read, max_line: int) -> None:
        self._read = read
        self._max_line = max_line
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False
        self._ended = False

    def __aiter__(self) -> AsyncIterator[bytes | WireError]:
        return self

    async def __anext__(self) -> bytes | WireError:
        """The next line. Cancellation: nothing is lost, the next call goes on."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if self._skipping:
                    self._skipping = False
                    continue
                if len(line) > self._max_line:
                    return self._too_long()
                return line
            self._searched = len(self._buffer)
            if self._ended:
                if not self._buffer or self._skipping:
                    raise StopAsyncIteration
                line = bytes(self._buffer)
                self._buffer.clear()
                self._searched = 0
                return line
            if len(self._buffer) > self._max_line:
                self._buffer.clear()
                self._searched = 0
                if not self._skipping:
                    self._skipping = True
                    return self._too_long()
            piece = await self._read()
            self._buffer += piece
            self._ended = not piece

    def _too_long(self) -> WireError:
        return WireError(INVALID_REQUEST, f"Invalid Request: a message is longer than {self._max_line} bytes")
