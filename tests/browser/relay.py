"""A network between a browser and a server that can be cut: a relay of TCP connections in a thread of its own.

A thread, because Playwright's sync API has the main one to itself.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import trio

RESET = struct.pack("ii", 1, 0)
GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Relay:
    """Carries connections to a server; `origin` is what the browser is told."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname or "", parts.port or 0
        self._whole = True
        self._scopes: set[trio.CancelScope] = set()
        self._server_notices = True
        self._listening = threading.Event()
        self._ending = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self.origin = ""

    async def run(self) -> None:
        """Carry until `end`."""
        self._token = trio.lowlevel.current_trio_token()
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.origin = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._carry, [listener])
            self._listening.set()
            await self._ending.wait()
            nursery.cancel_scope.cancel()

    async def _carry(self, client: trio.SocketStream) -> None:
        async with client:
            if not self._whole:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            with suppress(*GONE):
                server = await trio.open_tcp_stream(*self._target)
                async with server, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pass_on, server, client)
                    with trio.CancelScope() as scope:
                        self._scopes.add(scope)
                        nursery.start_soon(self._pass_back, client, server, nursery.cancel_scope)
                        await trio.sleep_forever()
                    self._scopes.discard(scope)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    client.socket.close()
                    if self._server_notices:
                        nursery.cancel_scope.cancel()

    async def _pass_on(self, server: trio.SocketStream, client: trio.SocketStream) -> None:
        """Server to client; what comes after a cut is lost."""
        with suppress(*GONE):
            while piece := await server.receive_some():
                with suppress(*GONE):
                    await client.send_all(piece)
        with suppress(*GONE):
            await client.send_eof()

    async def _pass_back(self, client: trio.SocketStream, server: trio.SocketStream, both: trio.CancelScope) -> None:
        """Client to server; a client that leaves by itself ends the connection."""
        with suppress(*GONE):
            while piece := await client.receive_some():
                await server.send_all(piece)
        if client.socket.fileno() != -1:
            both.cancel()

    def start(self) -> None:
        """Once connections are taken."""
        assert self._listening.wait(10)

    def cut(self, *, server_notices: bool = True) -> None:
        """Reset every connection, and whatever is opened from now on; the server may be left to believe in them."""
        trio.from_thread.run_sync(self._cut, server_notices, trio_token=self._token)

    def _cut(self, server_notices: bool) -> None:
        self._whole, self._server_notices = False, server_notices
        for scope in self._scopes:
            scope.cancel()

    def mend(self) -> None:
        """Carry new connections again."""
        self._whole = True

    def end(self) -> None:
        """Carry no more."""
        trio.from_thread.run_sync(self._ending.set, trio_token=self._token)


@contextmanager
def relayed(target: str) -> Iterator[Relay]:
    """A relay to `target`, an origin."""
    relay = Relay(target)
    thread = threading.Thread(target=trio.run, args=(relay.run,), name="relay")
    thread.start()
    try:
        relay.start()
        yield relay
    finally:
        relay.end()
        thread.join(10)
        assert not thread.is_alive()
