"""Memory: a client in the same process, over a pair of trio streams; for tests and for embedding."""

import trio

from trio_mcp.runtime.host import Host
from trio_mcp.runtime.pipe import Pipe
from trio_mcp.transports.lines import Lines

_CHUNK = 65536


async def serve_stream(
    host: Host, stream: trio.abc.Stream, *, principal: str = "", stop: trio.Event | None = None
) -> None:
    """Serve one byte stream, a message a line, until the client closes its side or `stop` is set; then close it.

    Any trio stream will do: a socket, a Unix socket, half of `trio.testing.memory_stream_pair()`.
    Cancellation: calls are cancelled and awaited, the stream is closed.

    Args:
        principal: who is at the other end, where that is known.
        stop: take nothing more in once it is set, and give calls `Settings.eof_grace`.
    """
    async with stream:
        pipe = Pipe(host, stream.send_all, principal=principal)
        await pipe.run(Lines(lambda: _receive(stream), host.server.settings.max_body), stop=stop)


async def _receive(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some(_CHUNK))
    except trio.BrokenResourceError:
        return b""
