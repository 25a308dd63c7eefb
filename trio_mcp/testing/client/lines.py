"""Memory and stdio for the test client: a message a line on one duplex stream (basic/transports/stdio)."""

from contextlib import suppress

import trio

from trio_mcp.testing.client.conversation import Conversation
from trio_mcp.testing.client.duplex import DuplexLink
from trio_mcp.testing.client.link import Wire, Wires
from trio_mcp.testing.client.pending import ConnectionLostError


class LineLink(DuplexLink):
    """Messages as lines."""

    def __init__(self, talk: Conversation, wires: Wires) -> None:
        super().__init__(talk)
        self._wires = wires
        self._wire: Wire
        self._rest = bytearray()

    async def connect(self) -> None:
        """Dial."""
        self._wire = await self._wires.dial()

    async def write(self, body: bytes) -> None:
        """One line."""
        try:
            await self._wire.send_all(body + b"\n")
        except trio.BrokenResourceError as error:
            raise ConnectionLostError(f"the connection broke: {error}") from None

    async def read(self) -> bytes:
        """The next line that is not empty."""
        while True:
            end = self._rest.find(b"\n")
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                if line.strip():
                    return line
                continue
            try:
                piece = await self._wire.receive_some(65536)
            except trio.BrokenResourceError as error:
                raise ConnectionLostError(f"the connection broke: {error}") from None
            if not piece:
                raise ConnectionLostError("the server closed the connection")
            self._rest += piece

    async def close(self) -> None:
        """Close."""
        await self._wire.aclose()

    async def farewell(self) -> None:
        """End our side, and wait for the server's end."""
        with suppress(ConnectionLostError):
            await self._written(None)
            self._wire.stream.half_close()
        await self._wait_end()
