"""The whole application as `trio_mcp.serve` puts it together, for tests of what stands at its edge."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.http.client import Web, served
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from trio_mcp.serve import http_app


@asynccontextmanager
async def edge(*, lane: bool = True, loopback: bool | None = True, **settings: Any) -> AsyncIterator[Web]:
    """A server behind all its wrappers, in memory."""
    server = small_server(**settings)
    async with served(server, lane=lane, wrap=lambda app, host: http_app(host, loopback=loopback)) as web:
        yield web


async def echoed(web: Web, client: str | None = "127.0.0.1", **headers: str) -> Fetch:
    """One call, from an address."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def prepare(fetch: Fetch) -> None:
        scope: dict[str, Any] = {"client": client and (client, 40_000), "scheme": named.pop("scheme", "http")}
        fetch.scope.update(scope)

    return await web.ask(
        "tools/call", {"name": "echo", "arguments": {"message": "hi"}}, headers=named, prepare=prepare
    ).done()
