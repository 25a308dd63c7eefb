"""The worker: sockets, TLS and connections through hypercorn's trio machinery, and a shutdown in our order.

hypercorn's own worker tells the application of a shutdown only after every connection has ended, so that open
streams hold it up until they are cut. Here the order is: stop accepting, drain the host (streams end with their
terminator, calls finish), let connections close, cut what is left. `connection` is the seam for our own HTTP/1.1.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from trio_mcp.http.asgi import App
from trio_mcp.http.connection import Connection

Drain = Callable[[], Awaitable[None]]


def bind(host: str, port: int, *, certfile: str | None = None, keyfile: str | None = None) -> Config:
    """hypercorn's configuration for one address; port 0 lets the system choose.

    The access log stays off (it costs more than a call), and the limits are this project's own.
    """
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.certfile = certfile
    config.keyfile = keyfile
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    return config


async def serve_connections(
    app: App,
    config: Config,
    *,
    shutdown: trio.Event,
    drain: Drain,
    close_timeout: float,
    url_path: str = "",
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set; then stop accepting, `drain`, and close connections within `close_timeout` s.

    Reports the addresses it serves, as URLs with `url_path`, once it accepts.

    Cancellation: connections are cut at once; `drain` is not run.

    Raises:
        OSError: the address cannot be bound.
    """
    context = WorkerContext(None)
    listeners, urls = _listen(config)
    asgi: Any = app  # hypercorn spells each ASGI message out; ours are dicts
    handler = partial(Connection, ASGIWrapper(asgi), config, context, ConnectionState({}))
    async with trio.open_nursery() as worker_nursery:
        async with trio.open_nursery() as accept_nursery:
            accept_nursery.start_soon(
                partial(trio.serve_listeners, handler, listeners, handler_nursery=worker_nursery),
                name=f"accept connections on {', '.join(urls)}",
            )
            task_status.started([url + url_path for url in urls])
            await shutdown.wait()
            accept_nursery.cancel_scope.cancel("the server is shutting down")
        await drain()
        await context.terminated.set()  # idle connections close themselves on this
        worker_nursery.cancel_scope.deadline = trio.current_time() + close_timeout


def _listen(config: Config) -> tuple[list[Any], list[str]]:
    sockets = config.create_sockets()
    tls: Any = config.create_ssl_context()
    listeners: list[Any] = []
    urls: list[str] = []
    for scheme, group in (("https", sockets.secure_sockets), ("http", sockets.insecure_sockets)):
        for sock in group:
            sock.listen(config.backlog)
            listener: Any = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            if scheme == "https":
                listener = trio.SSLListener(listener, tls, https_compatible=True)
            listeners.append(listener)
            address, port = sock.getsockname()[:2]
            urls.append(f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}")
    return listeners, urls
