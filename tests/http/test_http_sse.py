"""HTTP+SSE of 2024-11-05: the GET is the session, POST speaks into it, and what comes of it goes out on the stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.http.client import (
    MODERN,
    SESSION_REVISIONS,
    V2024,
    V2025_03,
    V2025_11,
    Web,
    notification,
    request,
    served,
)
from tests.http.fetch import Event, Fetch
from tests.http.servers import Diary, small_server
from trio_mcp import Server
from trio_mcp.serve import mcp_app

INFO = {"name": "tests", "version": "1"}


@asynccontextmanager
async def serving(server: Server | None = None, *, lane: bool = False) -> AsyncIterator[Web]:
    async with served(server or small_server(), lane=lane, wrap=lambda app, host: mcp_app(host)) as web:
        yield web


class Client:
    """A client that has opened the stream."""

    def __init__(self, web: Web, stream: Fetch) -> None:
        self.web = web
        self.stream = stream
        self.uri = stream.events[0].data

    @classmethod
    async def of(cls, web: Web, **options: Any) -> "Client":
        stream = await web.open("GET", path="/sse", **options).answered()
        while not stream.events:
            await trio.lowlevel.checkpoint()
        return cls(web, stream)

    async def initialize(self, revision: str = V2024) -> Any:
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": INFO}
        answer = await self.ask("initialize", params, id="init")
        await self.post(notification("notifications/initialized"))
        return answer["result"]

    async def post(self, body: Any, **options: Any) -> Fetch:
        return await self.web.fetch(body=body, path=self.uri, **options)

    async def ask(self, method: str, params: Any = None, *, id: Any = 1) -> Any:
        """The answer that comes on the stream."""
        heard = len(self.messages)
        assert (await self.post(request(id, method, params))).status == 202
        while len(self.messages) == heard:
            await trio.testing.wait_all_tasks_blocked()
        assert self.messages[-1]["id"] == id
        return self.messages[-1]

    async def call(self, tool: str, id: Any = 1, **arguments: Any) -> Fetch:
        return await self.post(request(id, "tools/call", {"name": tool, "arguments": arguments}))

    @property
    def messages(self) -> list[Any]:
        return [event.message for event in self.stream.events if event.name == "message"]


def named(events: list[Event]) -> list[str | None]:
    return [event.name for event in events]


# The stream


async def test_the_first_event_is_the_relative_uri_to_post_to(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        stream = await web.open("GET", path="/sse").answered()
        await trio.testing.wait_all_tasks_blocked()
        [event] = stream.events
        assert event.name == "endpoint"
        [session] = web.host.sessions
        assert event.data == f"/messages?session_id={session}"
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"


async def test_below_a_mount_point_the_uri_begins_with_it(autojump_clock):
    async with serving() as web:
        client = await Client.of(web, prepare=lambda f: f.scope.update(root_path="/tools", path="/tools/sse"))
        assert client.uri.startswith("/tools/messages?session_id=")
        fetch = web.open(path=client.uri, body=request(1, "ping"), prepare=lambda f: f.scope.update(root_path="/tools"))
        assert (await fetch.done()).status == 202


async def test_answers_arrive_on_the_stream_as_message_events_and_the_post_says_accepted(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        await client.initialize()
        fetch = await client.call("echo", id=7, message="hi")
        assert (fetch.status, fetch.body) == (202, b"Accepted")
        await trio.testing.wait_all_tasks_blocked()
        assert client.messages[-1]["id"] == 7
        assert client.messages[-1]["result"]["content"] == [{"type": "text", "text": "hi"}]
        assert set(named(client.stream.events[1:])) == {"message"}
        assert all(event.id is None for event in client.stream.events)


@pytest.mark.parametrize("revision", SESSION_REVISIONS)
async def test_every_revision_with_a_handshake_can_be_negotiated(revision: str, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert (await client.initialize(revision))["protocolVersion"] == revision
        result = (await client.ask("tools/call", {"name": "echo", "arguments": {"message": "x"}}))["result"]
        assert ("structuredContent" in result) is (revision not in (V2024, V2025_03))


async def test_what_a_call_tells_comes_before_its_answer(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.initialize()
        await client.call("talk", id="t")
        await trio.sleep(10)
        assert [message.get("method", "answer") for message in client.messages[1:]] == [
            "notifications/message",
            "notifications/message",
            "answer",
        ]


async def test_a_question_goes_out_on_the_stream_and_its_answer_is_posted(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        params = {"protocolVersion": V2025_11, "capabilities": {"elicitation": {}}, "clientInfo": INFO}
        await client.ask("initialize", params)
        await client.call("ask", id="asking")
        await trio.testing.wait_all_tasks_blocked()
        question = client.messages[-1]
        assert question["method"] == "elicitation/create"
        answer = {"action": "accept", "content": {"name": "Ada"}}
        assert (await client.post({"jsonrpc": "2.0", "id": question["id"], "result": answer})).status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert client.messages[-1]["result"]["content"][0]["text"] == "accept Ada"


async def test_changes_come_on_the_stream(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.initialize()
        await client.call("change")
        await trio.testing.wait_all_tasks_blocked()
        assert "notifications/tools/list_changed" in [message.get("method") for message in client.messages]


async def test_a_batch_is_answered_as_one_array_where_the_revision_has_batches(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.initialize(V2025_03)
        fetch = await client.post([request(1, "ping"), notification("notifications/x"), request(2, "tools/list")])
        assert fetch.status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(message["id"] for message in client.messages[-1]) == [1, 2]


@pytest.mark.parametrize("revision", [V2024, V2025_11])
async def test_elsewhere_a_batch_is_400(revision: str, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.initialize(revision)
        assert (await client.post([request(1, "ping")])).status == 400


# Keepalives


async def test_silence_is_broken_by_a_comment_every_thirty_seconds(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        began = trio.current_time()
        await trio.sleep(95)
        assert [at - began for at in client.stream.comments] == [30, 60, 90]
        assert named(client.stream.events) == ["endpoint"]


async def test_as_events_they_are_heartbeats_after_a_connected(autojump_clock):
    async with serving(small_server(sse_heartbeat="event", sse_keepalive=10)) as web:
        client = await Client.of(web)
        await trio.sleep(25)
        assert named(client.stream.events) == ["endpoint", "connected", "heartbeat", "heartbeat"]
        assert {event.data for event in client.stream.events[1:]} == {'{"status":"connected"}'}
        assert not client.stream.comments


# The stream's end is the session's


async def test_the_stream_going_away_ends_the_session_and_cancels_and_awaits_its_calls(lane: bool, autojump_clock):
    diary = Diary()
    async with serving(small_server(diary), lane=lane) as web:
        client = await Client.of(web)
        await client.initialize()
        await client.call("wait", id=1, seconds=1000)
        await client.call("stubborn", id=2, seconds=3)
        await diary.reads("wait began")
        left = trio.current_time()
        client.stream.drop()
        assert await diary.reads("wait ended") == left
        assert (await client.post(request(9, "ping"))).status == 404
        await client.stream.done()
        assert "stubborn ended" in diary
        assert trio.current_time() == left + 3
        assert not web.host.sessions
        assert not web.host.calls


async def test_a_read_stream_keeps_the_session_however_long_it_is_silent(autojump_clock):
    async with serving(small_server(session_idle=60)) as web:
        client = await Client.of(web)
        await trio.sleep(10_000)
        assert (await client.ask("ping"))["result"] == {}


async def test_a_client_that_does_not_read_makes_its_posts_wait_and_is_gone_in_the_end(lane: bool, autojump_clock):
    async with serving(small_server(stream_buffer=4, write_timeout=30, sse_keepalive=1000), lane=lane) as web:
        client = await Client.of(web)
        client.stream.stall()
        pings = []
        for number in range(12):
            pings.append(web.open(path=client.uri, body=request(number, "ping")))
            await trio.testing.wait_all_tasks_blocked()
        assert len([ping for ping in pings if ping.returned]) <= 6
        await trio.sleep(31)
        assert not web.host.sessions
        for ping in pings:
            await ping.done()
        assert pings[-1].status == 404


async def test_at_the_drain_calls_are_answered_before_the_stream_ends_with_its_terminator(lane: bool, autojump_clock):
    async with serving(small_server(shutdown_grace=10), lane=lane) as web:
        idle, busy = await Client.of(web), await Client.of(web)
        await busy.initialize()
        await busy.call("wait", id="slow", seconds=4)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await idle.stream.done()
            assert trio.current_time() == began
            await busy.stream.done()
        assert idle.stream.complete
        assert busy.stream.complete
        assert trio.current_time() == began + 4
        assert busy.messages[-1]["result"]["content"][0]["text"] == "waited 4"


async def test_a_server_that_drains_opens_no_stream_and_takes_no_request(autojump_clock):
    async with serving(small_server(shutdown_grace=100)) as web:
        client = await Client.of(web)
        await client.initialize()
        await client.call("wait", seconds=50)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.testing.wait_all_tasks_blocked()
            assert (await web.fetch("GET", path="/sse")).status == 503
            assert (await client.post(request(5, "ping"))).status == 503
            assert (await client.post(notification("notifications/cancelled", {"requestId": 1}))).status == 202


# What is refused


async def test_a_missing_session_id_is_400_and_an_unknown_one_404_and_both_say_what_to_do(autojump_clock):
    async with serving() as web:
        for path, status in (("/messages", 400), ("/messages?session_id=", 400), ("/messages?session_id=x", 404)):
            fetch = await web.fetch(path=path, body=request("mine", "ping"))
            assert (fetch.status, fetch.json["id"]) == (status, "mine")
            assert "GET /sse" in fetch.error["message"]


async def test_sessions_of_other_transports_are_unknown_here_and_ours_are_there(autojump_clock):
    async with serving() as web:
        client, session = await Client.of(web), await web.initialize()
        assert (await web.fetch(path=f"/messages?session_id={session.id}", body=request(1, "ping"))).status == 404
        key = client.uri.partition("=")[2]
        assert (await web.fetch(body=request(1, "ping"), headers={"mcp-session-id": key})).status == 404
        assert (await web.fetch(path=f"/mcp?session_id={key}", body=request(1, "ping"))).status == 404


async def test_what_is_no_message_is_refused_and_the_session_goes_on(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.initialize()
        for body in (b"{", b'{"jsonrpc": "2.0", "id": 1}', b'"\xff"', b"[" * 100):
            assert (await client.post(body)).status == 400
        assert (await client.post(b"{}", headers={"content-type": "text/plain"})).status == 415
        assert (await client.post(request(1, "ping"), headers={"mcp-protocol-version": "1999-01-01"})).status == 400
        assert (await client.ask("ping"))["result"] == {}


async def test_errors_of_the_protocol_come_on_the_stream(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert (await client.ask("tools/list"))["error"]["code"] == -32600  # before initialize
        await client.initialize()
        assert (await client.ask("no/such"))["error"]["code"] == -32601


@pytest.mark.parametrize(("method", "path", "allow"), [("POST", "/sse", "GET"), ("GET", "/messages", "POST")])
async def test_other_methods_are_405_and_say_which_there_is(method: str, path: str, allow: str, autojump_clock):
    async with serving() as web:
        fetch = await web.fetch(method, path=path, body=b"")
        assert (fetch.status, fetch.headers["allow"]) == (405, allow)


async def test_who_does_not_take_events_gets_406_and_no_session(autojump_clock):
    async with serving() as web:
        assert (await web.fetch("GET", path="/sse", headers={"accept": "application/json"})).status == 406
        assert not web.host.sessions


async def test_beyond_the_limit_of_sessions_it_is_503(autojump_clock):
    async with serving(small_server(max_sessions=1)) as web:
        client = await Client.of(web)
        assert (await web.fetch("GET", path="/sse")).status == 503
        client.stream.drop()
        await client.stream.done()
        await Client.of(web)


async def test_a_client_of_the_per_request_era_gets_the_newest_with_a_handshake(autojump_clock):
    async with serving() as web:
        assert (await (await Client.of(web)).initialize(MODERN))["protocolVersion"] == V2025_11
