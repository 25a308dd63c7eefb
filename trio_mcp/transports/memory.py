"""Memory: a client in the same process, over a pair of trio streams; for tests and for embedding."""

import trio

from trio_mcp.runtime.host import Host
from trio_mcp.runtime.pipe import Pipe
from trio_mcp.transports.lines import Lines

_CHUNK = 65536


async def serve_stream(host: Host, stream: trio.abc.Stream) -> None:
    """Serve one byte stream, a message a line, until the client closes its side; then close it.

    Any trio stream will do: a socket, a Unix socket, half of `trio.testing.memory_stream_pair()`.
    Cancellation: calls are cancelled and awaited, the stream is closed.
    """
    async with stream:
        await Pipe(host, stream.send_all).run(Lines(lambda: _receive(stream), host.server.settings.max_body))


async def _receive(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some(_CHUNK))
    except trio.BrokenResourceError:
        return b""
