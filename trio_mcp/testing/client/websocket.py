"""WebSocket for the test client: a message a text frame, both eras on one connection (docs/transports.md)."""

import math
from collections.abc import Mapping
from contextlib import suppress

from wsproto.events import CloseConnection

from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Fault
from trio_mcp.check.place import Place
from trio_mcp.check.websocket import UpgradeRefused, WebSocket
from trio_mcp.testing.client.conversation import Conversation
from trio_mcp.testing.client.duplex import DuplexLink
from trio_mcp.testing.client.link import Wires
from trio_mcp.testing.client.pending import ConnectionLostError, RefusedError


class SocketLink(DuplexLink):
    """Messages as text frames."""

    def __init__(self, talk: Conversation, wires: Wires, place: Place, headers: Mapping[str, str]) -> None:
        super().__init__(talk)
        self._web = Web(place, headers=headers, timeout=math.inf, dial=wires.dial, most=math.inf)
        self._path = place.path("ws")
        self._socket: WebSocket

    async def connect(self) -> None:
        """Dial, and shake the hands of RFC 6455."""
        try:
            self._socket = await WebSocket.open(self._web, self._path)
        except UpgradeRefused as refused:
            raise RefusedError(refused.status) from None
        except Fault as fault:
            raise ConnectionLostError(str(fault)) from None

    async def write(self, body: bytes) -> None:
        """One text frame."""
        try:
            await self._socket.send(body.decode("utf-8", "replace"))
        except Fault as fault:
            raise ConnectionLostError(str(fault)) from None

    async def read(self) -> bytes:
        """The next message."""
        try:
            data = await self._socket.receive()
        except Fault as fault:
            raise ConnectionLostError(str(fault)) from None
        if data is None:
            code, reason = self._socket.closed or (1005, "")
            raise ConnectionLostError(f"the server closed with {code} {reason}".rstrip())
        return data

    async def close(self) -> None:
        """Answer the server's close frame, if there was one, and close."""
        await self._socket.aclose(math.inf)

    async def farewell(self) -> None:
        """A close frame behind all that was begun, and wait for the server's."""
        with suppress(ConnectionLostError, Fault):
            await self._written(None)
            await self._socket.send_event(CloseConnection(1000))
        await self._wait_end()
