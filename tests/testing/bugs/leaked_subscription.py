"""A leaked subscription: who listens is put on the list, and taken off it only when all goes well.

What is wrong. `subscriptions/listen` adds a listener, waits for the end of the subscription, and removes the listener.
When the client leaves, the wait is cancelled, and what stands behind it never runs.

How it gets written. Add, wait, remove, one below the other; there is no `finally`, because "wait until it ends" reads
as if there were no other way out. In a language without cancellation there is none.

What the kit sees. Without a cut the server ends the subscription in its shutdown, and all is well. With one the list
still holds a listener when everybody has gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, Server, Settings
from trio_mcp.runtime.per_request import PerRequestCall, _Listener
from trio_mcp.runtime.subscriptions import CHANGED
from trio_mcp.testing import ConnectionLostError, serving
from trio_mcp.wire.base import SUBSCRIPTION_ID_KEY
from trio_mcp.wire.jsonrpc import encode_notification
from trio_mcp.wire.subscriptions import AcknowledgedParams, ListenResult


async def _listen(call: Any) -> ListenResult:
    """`PerRequestCall._listen` as it would be written at first."""
    tag, wanted = {SUBSCRIPTION_ID_KEY: call.id}, call.params.notifications
    acknowledged = AcknowledgedParams(notifications=wanted, meta=tag)
    call.outlet.put(encode_notification("notifications/subscriptions/acknowledged", acknowledged))
    call.listener = _Listener(call.outlet, wanted, tag)
    call.host.subscriptions.add(call.listener)
    await call.listener.ended.wait()
    call.host.subscriptions.remove(call.listener)
    return ListenResult(meta=tag)


@contextmanager
def mistake(faulty: bool) -> Iterator[None]:
    """The method without its `finally`, for the time of the block."""
    if not faulty:
        yield
        return
    with patch.dict(PerRequestCall.own_methods, {"subscriptions/listen": _listen}):
        yield


def news_stand() -> Server:
    """`print_more` changes what there is."""
    server = Server("news stand", settings=Settings(session_idle=60, idle_timeout=20))

    @server.tool(thread=False)
    def print_more(ctx: Context) -> str:
        ctx.notify_tools_changed()
        return "printed"

    return server


async def run(faulty: bool) -> None:
    with mistake(faulty):
        async with (
            serving(news_stand()) as server,
            server.connect(revision="2026-07-28") as client,
            client.listen() as listening,
        ):
            await client.call_tool("print_more")
            assert (await listening.receive())["method"] == CHANGED["tools"]
            await trio.sleep(1)
            server.begin_shutdown()
            with suppress(ConnectionLostError):  # that is how the end of a subscription is told
                await listening.receive()


BUG = Bug(
    name="leaked subscription",
    sentence="a listener is taken off the list only when its subscription ends well",
    way="cut_everywhere",
    run=run,
    says="subscriptions",
    begins="subscriptions/listen 2  [on",
    ends="the server is shutting down",
    patience=3 * 3600,
)
