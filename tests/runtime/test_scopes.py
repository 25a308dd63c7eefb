"""Scopes and principals on pipes: an error where somebody is known, nothing at all where nobody is."""

import json
import math
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair

from tests.authoring.client import ERAS, connected
from tests.runtime.kit import decoded, enveloped, hosted, initialize, notification, tool_call
from trio_mcp import Context, Server
from trio_mcp.auth import AccessToken, StaticTokens
from trio_mcp.auth.resource import ProtectedResource
from trio_mcp.auth.tokens import Authorization
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.pipe import Pipe
from trio_mcp.transports.lines import Lines

READER = Authorization(AccessToken("reader", scopes="read"), math.inf)
WRITER = Authorization(AccessToken("writer", scopes="write"), math.inf)
PROTECTED = ProtectedResource(name="x", path="/mcp", url=None, authorization_servers=(), scopes=frozenset())


def scoped(**options: Any) -> Server:
    server = Server("scoped", **options)

    @server.tool(scopes=["write"])
    async def write(ctx: Context) -> str:
        return f"written by {ctx.principal}, {ctx.access_token}"

    return server


@pytest.mark.parametrize("era", ERAS)
async def test_on_a_pipe_without_a_principal_everything_may_be_called(era: str):
    """stdio: who starts the server is its user (basic/authorization: Protocol Requirements)."""
    async with connected(scoped(auth=StaticTokens({"a-token-that-nobody-asks-for": "x"})), era) as client:
        assert "written by None, None" in str(await client.call("write"))


@pytest.mark.parametrize(("who", "allowed"), [(READER, False), (WRITER, True)])
@pytest.mark.parametrize("first", ["initialize", "server/discover"])
async def test_on_a_pipe_with_a_principal_it_is_an_error(who: Authorization, allowed: bool, first: str, autojump_clock):
    async with hosted(scoped()) as host:
        host.protected = PROTECTED
        ours, theirs = memory_stream_pair()
        pipe = Pipe(host, ours.send_all, principal=who.access_token.subject, authorization=who)

        async def receive() -> bytes:
            return bytes(await ours.receive_some(65536))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipe.run, Lines(receive, 100_000))
            call = tool_call(7, "write")
            if first == "initialize":
                messages = [initialize(), notification("notifications/initialized"), call]
            else:
                messages = [enveloped(call)]
            await theirs.send_all(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
            data = b""
            while b'"id":7' not in data:
                data += await theirs.receive_some(65536)
            answer = json.loads(data.splitlines()[-1])
            if allowed:
                assert "written by writer" in str(answer["result"])
            else:
                assert answer["error"]["code"] == 403
                assert answer["error"]["data"] == {"requiredScopes": ["write"]}
            await theirs.aclose()


async def test_a_session_is_found_by_its_principal_only(autojump_clock):
    async with hosted(scoped()) as host:
        session = await host.open_session(principal="alice")
        nobodys = await host.open_session()
        assert host.find(session.key, "alice") is session
        assert host.find(session.key, "bob") is None
        assert host.find(session.key) is None
        assert host.find(nobodys.key) is nobodys
        assert host.find(nobodys.key, "alice") is None


async def test_a_refused_request_is_answered_once_and_its_id_is_free_again(autojump_clock):
    async with hosted(scoped()) as host:
        host.protected = PROTECTED
        session = await host.open_session(principal="reader")
        session.deliver(decoded(initialize()), Outlet(1))
        session.deliver(decoded(notification("notifications/initialized")), Outlet(1))
        for _ in range(2):
            outlet = session.open_stream()
            session.deliver(decoded(tool_call(1, "write")), outlet, authorization=READER)
            [frame] = outlet.take()
            assert json.loads(frame.data)["error"]["code"] == 403
            assert (outlet.closed, session.running) == (True, 0)
