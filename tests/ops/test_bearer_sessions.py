"""What belongs to a principal, and what a token's end does to streams and calls. Time is virtual."""

from functools import partial
from typing import Any

import pytest
import trio

from tests.auth.issuer import EPOCH, now
from tests.http.client import request
from tests.http.fetch import Fetch
from tests.http.servers import small_server
from tests.ops.guard import ALICE, BOB, Verifier, bearing, challenge, guarded, handshake, initialized
from trio_mcp import Host
from trio_mcp.auth import AccessToken
from trio_mcp.ops.bearer import Bearer

# Streams that outlive a token


def expiring(seconds: float) -> Verifier:
    return Verifier({ALICE: AccessToken("alice", expires_at=EPOCH + seconds), BOB: AccessToken("alice")})


async def test_a_standing_stream_ends_with_its_token_and_the_session_goes_on_with_another(autojump_clock):
    async with guarded(expiring(100)) as web:
        session = await initialized(web, ALICE)
        stream = session.listen(headers=bearing(ALICE))
        await stream.done()
        assert trio.current_time() == 100
        assert stream.complete  # with its terminator
        refused = await session.listen(headers=bearing(ALICE)).done()
        assert (refused.status, challenge(refused)["error"]) == (401, "invalid_token")
        back = session.listen(headers=bearing(BOB))
        await back.answered()
        assert back.status == 200
        web.host.server.changed("tools")
        await back.hears(1)


async def test_a_subscription_ends_with_its_token_and_says_so(autojump_clock):
    async with guarded(expiring(100)) as web:
        params = {"notifications": {"toolsListChanged": True}}
        fetch = await web.ask("subscriptions/listen", params, headers=bearing(ALICE)).done()
        assert trio.current_time() == 100
        assert fetch.complete
        assert fetch.result["resultType"] == "complete"


@pytest.mark.parametrize("era", ["session", "per request"])
async def test_a_call_that_began_with_a_valid_token_may_finish(era: str, autojump_clock):
    async with guarded(expiring(100)) as web:
        if era == "session":
            session = await initialized(web, ALICE)
            body = request(5, "tools/call", {"name": "wait", "arguments": {"seconds": 500}})
            fetch = session.open(body=body, headers=bearing(ALICE))
        else:
            fetch = web.ask("tools/call", {"name": "wait", "arguments": {"seconds": 500}}, headers=bearing(ALICE))
        await fetch.done()
        assert trio.current_time() == 500
        assert fetch.result["content"][0]["text"] == "waited 500"


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_does_not_end_by_itself_is_cut_a_little_later(kind: str, autojump_clock):
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    bearer = Bearer(app, Host(small_server(cleanup_timeout=5)), expiring(100), now=now)
    if kind == "websocket":
        await handshake(bearer, ALICE, extension=True)
    else:
        fetch = Fetch("GET", "/standing", [(b"authorization", f"Bearer {ALICE}".encode())], [b""])
        await bearer(fetch.scope, fetch.receive, fetch.send)
    assert ended == [105]
    with trio.move_on_after(1000):
        await handshake(bearer, BOB, extension=True)  # one that does not expire
    assert ended == [105, 1105]


# Sessions


async def test_a_session_belongs_to_who_opened_it_and_is_404_for_anybody_else(autojump_clock):
    async with guarded(Verifier()) as web:
        session = await initialized(web, ALICE)
        stream = session.listen(headers=bearing(ALICE))
        await stream.answered()
        web.host.server.changed("tools")
        await stream.hears(1)
        event_id = stream.events[-1].id
        body = request(7, "tools/call", {"name": "echo", "arguments": {"message": "hi"}})
        attempts = [
            session.open(body=body, headers=bearing(BOB)),
            session.open(body={"jsonrpc": "2.0", "id": 1, "result": {}}, headers=bearing(BOB)),
            session.open(body={"jsonrpc": "2.0", "method": "notifications/cancelled"}, headers=bearing(BOB)),
            session.open("GET", headers=bearing(BOB)),
            session.open("GET", headers={**bearing(BOB), "last-event-id": event_id}),
            session.open("DELETE", headers=bearing(BOB)),
        ]
        for attempt in attempts:
            assert (await attempt.done()).status == 404
        unknown = await web.fetch("DELETE", headers={**bearing(BOB), "mcp-session-id": "never-was"})
        assert unknown.body == attempts[-1].body  # nothing tells that it exists
        still = await session.open(body=body, headers=bearing(ALICE)).done()
        assert still.result["content"][0]["text"] == "hi"
        assert not stream.returned
        assert (await session.open("DELETE", headers=bearing(ALICE)).done()).status == 204


async def test_a_state_belongs_to_who_was_asked(autojump_clock):
    capable: Any = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}}}
    async with guarded(Verifier()) as web:
        ask = partial(web.ask, "tools/call", meta=capable)
        asked_for = await ask({"name": "ask", "arguments": {}}, headers=bearing(ALICE)).done()
        state = asked_for.result["requestState"]
        answers = {"who": {"action": "accept", "content": {"name": "Ada"}}}
        params = {"name": "ask", "arguments": {}, "requestState": state, "inputResponses": answers}
        assert (await ask(params, headers=bearing(BOB)).done()).error["code"] == -32602
        assert "Ada" in str((await ask(params, headers=bearing(ALICE)).done()).result)
