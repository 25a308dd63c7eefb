"""The notifications dialect: GET /notifications listens, POST /mcp?session_id= speaks, every connection hears."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from tests.http.client import MODERN, V2025_03, V2025_11, Web, notification, request, served
from tests.http.fetch import Fetch
from tests.http.servers import Diary, small_server
from trio_mcp import Server, ToolResult
from trio_mcp.serve import mcp_app

INFO = {"name": "tests", "version": "1"}
SNAKE = {"protocol_version": V2025_03, "client_info": {"name": "curl-test"}}


def dialect_server(diary: Diary | None = None, **settings: Any) -> Server:
    """The small server, and tools whose results, failures and names differ."""
    server = small_server(diary, **settings)

    @server.tool(thread=False)
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool(thread=False)
    def point(x: int) -> dict[str, int]:
        return {"x": x}

    @server.tool(output_schema=False, thread=False)
    def plain() -> str:
        return "words"

    @server.tool(name="ping", thread=False)
    def shadowed() -> str:
        return "the tool"

    @server.tool(thread=False)
    def refuse() -> ToolResult:
        return ToolResult(content="No.", is_error=True)

    @server.tool
    async def hasty() -> str:
        with trio.fail_after(0):
            await trio.sleep(100)
        return "never"

    @server.tool(timeout=2)
    async def patient() -> str:
        await trio.sleep(100)
        return "never"

    return server


@asynccontextmanager
async def serving(server: Server | None = None, *, lane: bool = False) -> AsyncIterator[Web]:
    async with served(server or dialect_server(), lane=lane, wrap=lambda app, host: mcp_app(host)) as web:
        yield web


class Client:
    """One connection of a session, which may have others."""

    def __init__(self, web: Web, stream: Fetch) -> None:
        self.web = web
        self.stream = stream
        self.id = stream.events[0].data.removeprefix("Connected to session ")

    @classmethod
    async def of(cls, web: Web, *, path: str = "/notifications", **options: Any) -> "Client":
        stream = web.open("GET", path=path, **options)
        await trio.testing.wait_all_tasks_blocked()
        assert stream.status == 200, (stream.status, stream.body)
        return cls(web, stream)

    async def again(self, **options: Any) -> "Client":
        """One more connection of the same session."""
        return await Client.of(self.web, path=f"/notifications?session_id={self.id}", **options)

    async def post(self, body: Any, **options: Any) -> Fetch:
        return await self.web.fetch(body=body, **{"path": f"/mcp?session_id={self.id}", **options})

    async def ask(self, method: str, params: Any = None, *, id: Any = 1) -> Any:
        """What comes on the stream by the time that nothing else happens."""
        assert (await self.post(request(id, method, params))).status == 202
        await trio.testing.wait_all_tasks_blocked()
        return self.messages[-1]

    @property
    def messages(self) -> list[Any]:
        """What came after the greeting."""
        return [event.message for event in self.stream.events[1:]]

    async def leave(self) -> None:
        self.stream.drop()
        await self.stream.done()

    @property
    def last_event_id(self) -> str:
        return self.stream.events[-1].id or ""


# The stream


async def test_the_stream_begins_by_saying_the_session_which_is_a_uuid(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        assert client.stream.body.startswith(f"data: Connected to session {client.id}\n".encode())
        assert str(UUID(client.id)) == client.id
        assert UUID(client.id).version == 4
        assert list(web.host.sessions) == [client.id]


async def test_results_arrive_as_unnamed_events_and_the_post_says_accepted(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        fetch = await client.post(request("1", "echo", {"message": "Hello World!"}))
        assert (fetch.status, fetch.body) == (202, b"Accepted")
        await trio.testing.wait_all_tasks_blocked()
        assert client.messages == [{"jsonrpc": "2.0", "id": "1", "result": {"result": "Hello World!"}}]
        assert {event.name for event in client.stream.events} == {None}


async def test_the_session_may_be_named_by_a_header(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        fetch = await web.fetch(body=request(1, "add", {"a": 42, "b": 27}), headers={"x-session-id": client.id})
        assert fetch.status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert client.messages == [{"jsonrpc": "2.0", "id": 1, "result": {"result": 69}}]


async def test_that_header_takes_nothing_from_the_standard_transport(autojump_clock):
    async with serving() as web:
        session = await web.initialize()
        for headers in ({"mcp-session-id": session.id}, {"mcp-protocol-version": MODERN}):
            fetch = await web.fetch(body=request(1, "ping"), headers={"x-session-id": "a balancer's", **headers})
            assert "Session not found" not in str(fetch.json)


async def test_every_connection_of_a_session_gets_every_message(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        first = await Client.of(web)
        second = await first.again()
        third = await Client.of(web, headers={"x-session-id": first.id})
        assert first.id == second.id == third.id
        await first.ask("initialize", SNAKE)
        await second.ask("talk", {"times": 1}, id=2)
        await trio.sleep(5)
        assert len(first.messages) == 3
        assert first.messages == second.messages == third.messages
        assert len(web.host.sessions) == 1


async def test_another_session_hears_nothing_of_it(autojump_clock):
    async with serving() as web:
        client, other = await Client.of(web), await Client.of(web)
        await client.ask("add", {"a": 1, "b": 2})
        assert other.messages == []
        assert client.id != other.id


async def test_a_slow_reader_stalls_neither_the_call_nor_the_others_and_loses_nothing(lane: bool, autojump_clock):
    async with serving(dialect_server(stream_buffer=20, sse_keepalive=1000), lane=lane) as web:
        quick = await Client.of(web)
        slow = await quick.again()
        await quick.ask("initialize", {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": INFO})
        slow.stream.stall()
        began = trio.current_time()
        await quick.ask("flood", {"times": 200}, id="flooded")
        assert trio.current_time() == began
        assert quick.messages[-1]["id"] == "flooded"
        assert len(quick.messages) == 202
        slow.stream.go_on()
        await slow.stream.done()
        assert slow.stream.complete  # ended in an orderly way, after what it had
        assert 20 <= len(slow.messages) < 100
        back = await slow.again(headers={"last-event-id": slow.last_event_id})
        assert slow.messages + back.messages == quick.messages


async def test_silence_is_broken_by_a_comment_every_thirty_seconds(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        began = trio.current_time()
        await trio.sleep(95)
        assert [at - began for at in client.stream.comments] == [30, 60, 90]


# Coming back


async def test_a_client_that_left_does_not_cancel_and_gets_what_it_missed_when_it_comes_back(
    lane: bool, autojump_clock
):
    diary = Diary()
    async with serving(dialect_server(diary), lane=lane) as web:
        client = await Client.of(web)
        await client.post(request("w", "wait", {"seconds": 60}))
        await diary.reads("wait began")
        await client.leave()
        await diary.reads("wait ended")
        back = await client.again()
        assert back.messages == [{"jsonrpc": "2.0", "id": "w", "result": {"result": "waited 60"}}]
        assert (await back.again()).messages == []


async def test_an_event_source_that_reconnects_by_itself_names_only_its_last_event(lane: bool, autojump_clock):
    async with serving(lane=lane) as web:
        client = await Client.of(web)
        other = await client.again()
        await client.ask("add", {"a": 1, "b": 1}, id="seen")
        await client.leave()
        await other.ask("add", {"a": 2, "b": 2}, id="missed")
        back = await Client.of(web, headers={"last-event-id": client.last_event_id})
        assert back.id == client.id
        assert [message["id"] for message in back.messages] == ["missed"]
        await back.ask("add", {"a": 3, "b": 3}, id="new")
        assert [message["id"] for message in back.messages] == ["missed", "new"]


async def test_one_that_saw_the_greeting_only_comes_back_with_that(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.leave()
        await client.post(request("missed", "add", {"a": 1, "b": 1}))
        await trio.testing.wait_all_tasks_blocked()
        back = await Client.of(web, headers={"last-event-id": client.stream.events[0].id})
        assert [message["id"] for message in back.messages] == ["missed"]


async def test_the_greeting_of_a_replay_does_not_hide_what_is_still_to_come(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        for id in "ab":
            await client.ask("add", {"a": 1, "b": 1}, id=id)
        back = await Client.of(web, headers={"last-event-id": client.stream.events[1].id})
        assert back.stream.events[0].id == client.stream.events[1].id
        assert [event.id for event in back.stream.events[1:]] == [client.last_event_id]


async def test_a_session_without_connections_ends_after_thirty_minutes_and_not_before(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.leave()
        await trio.sleep(1799)
        back = await client.again()
        await trio.sleep(10_000)  # somebody listens
        assert (await back.ask("ping"))["result"] == {}
        await back.leave()
        await trio.sleep(1801)
        assert not web.host.sessions
        fetch = await web.fetch("GET", path=f"/notifications?session_id={client.id}")
        assert fetch.status == 404


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/notifications?session_id=d8a41c6f-e89a-4a32-b6c5-7dcd9f3abcde", {}),
        ("/notifications", {"x-session-id": "unknown"}),
        ("/notifications", {"last-event-id": "d8a41c6f-e89a-4a32-b6c5-7dcd9f3abcde:0-1"}),
    ],
)
async def test_an_unknown_session_is_404_and_says_how_to_get_one(path: str, headers: Any, autojump_clock):
    async with serving() as web:
        fetch = await web.fetch("GET", path=path, headers=headers)
        assert fetch.status == 404
        assert "GET /notifications" in fetch.error["message"]
        assert not web.host.sessions


@pytest.mark.parametrize("event_id", ["{id}:0-1", "{id}:1-1", "{id}:nonsense", "{other}:0-1", "nonsense"])
async def test_an_event_that_the_session_never_sent_is_400(event_id: str, autojump_clock):
    async with serving() as web:
        client, other = await Client.of(web), await Client.of(web)
        last = event_id.format(id=client.id, other=other.id)
        path = f"/notifications?session_id={client.id}"
        fetch = await web.fetch("GET", path=path, headers={"last-event-id": last})
        assert fetch.status == 400
        assert "Cannot resume" in fetch.error["message"]
        await client.ask("add", {"a": 1, "b": 1})
        assert len(client.messages) == 1


# Posting


async def test_a_missing_session_id_is_400_and_an_unknown_one_404(autojump_clock):
    async with serving() as web:
        for path, headers, status in (
            ("/mcp?session_id=", {}, 400),
            ("/mcp?session_id=x", {}, 404),
            ("/mcp", {"x-session-id": "x"}, 404),
        ):
            fetch = await web.fetch(path=path, body=request("mine", "echo"), headers=headers)
            assert (fetch.status, fetch.json["id"]) == (status, "mine")
            assert "GET /notifications" in fetch.error["message"]


async def test_sessions_of_the_standard_transport_are_unknown_here_and_ours_are_there(autojump_clock):
    async with serving() as web:
        client, session = await Client.of(web), await web.initialize()
        assert (await web.fetch(path=f"/mcp?session_id={session.id}", body=request(1, "ping"))).status == 404
        assert (await web.fetch("GET", path=f"/notifications?session_id={session.id}")).status == 404
        assert (await web.fetch(body=request(1, "ping"), headers={"mcp-session-id": client.id})).status == 404
        assert (await web.fetch("DELETE", headers={"mcp-session-id": client.id})).status == 404


async def test_what_is_no_message_is_refused_and_the_session_goes_on(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        for body in (b"{", b"[]", b'{"jsonrpc": "2.0", "id": 1}', b'"\xff"', b'{"method": "echo", "id": 1}'):
            assert (await client.post(body)).status == 400
        assert (await client.post(b"{}", headers={"content-type": "text/plain"})).status == 415
        assert (await client.post(b" " * 5_000_000)).status == 413
        assert "result" in await client.ask("add", {"a": 1, "b": 1})


async def test_notifications_and_answers_are_accepted_and_a_call_can_be_cancelled(autojump_clock):
    diary = Diary()
    async with serving(dialect_server(diary)) as web:
        client = await Client.of(web)
        await client.post(request("w", "wait", {"seconds": 60}))
        await diary.reads("wait began")
        began = trio.current_time()
        cancelled = notification("notifications/cancelled", {"requestId": "w", "reason": "enough"})
        assert (await client.post(cancelled)).status == 202
        assert await diary.reads("wait ended") == began
        assert client.messages == []


# initialize


async def test_initialize_in_snake_case_is_answered_as_the_document_shows(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert await client.ask("initialize", SNAKE, id="init-1") == {
            "jsonrpc": "2.0",
            "id": "init-1",
            "result": {
                "capabilities": {"tools": True, "async": True},
                "server_info": {"name": "small", "version": "1.0"},
            },
        }
        # the revision it names is the one that is spoken: no structuredContent in this one
        answer = await client.ask("tools/call", {"name": "echo", "arguments": {"message": "x"}}, id=2)
        assert set(answer["result"]) == {"content"}


async def test_initialize_in_camel_case_gets_the_standard_result(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        params = {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": INFO}
        result = (await client.ask("initialize", params))["result"]
        assert result["protocolVersion"] == V2025_11
        assert result["serverInfo"]["name"] == "small"
        answer = await client.ask("tools/call", {"name": "echo", "arguments": {"message": "x"}}, id=2)
        assert answer["result"]["structuredContent"] == {"result": "x"}


@pytest.mark.parametrize("params", [None, {}, {"client_info": {}}, {"protocol_version": "2099-01-01"}])
async def test_an_initialize_that_leaves_things_out_is_one_of_this_dialect(params: Any, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert "server_info" in (await client.ask("initialize", params))["result"]
        assert "tools" in (await client.ask("tools/list", id=2))["result"]


@pytest.mark.parametrize("params", [{"protocol_version": 5}, {"client_info": []}, {"protocolVersion": 5}])
async def test_an_initialize_of_wrong_types_is_an_error_and_may_be_tried_again(params: Any, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        answer = await client.ask("initialize", params, id="i")
        assert (answer["id"], answer["error"]["code"]) == ("i", -32602)
        assert "result" in await client.ask("initialize", SNAKE, id="i")


async def test_a_second_initialize_is_refused(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.ask("initialize", SNAKE)
        assert (await client.ask("initialize", SNAKE, id=2))["error"]["code"] == -32600


async def test_methods_of_mcp_need_the_handshake_and_tools_by_name_do_not(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        answer = await client.ask("tools/list")
        assert answer["error"]["code"] == -32600
        assert "initialize" in answer["error"]["message"]
        assert (await client.ask("add", {"a": 1, "b": 1}))["result"] == {"result": 2}
        assert (await client.ask("ping"))["result"] == {}
        await client.ask("initialize", SNAKE)
        assert "tools" in (await client.ask("tools/list"))["result"]


# Tools by name


async def test_the_result_of_a_tool_by_name_is_its_structured_value_in_every_revision(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert (await client.ask("point", {"x": 5}))["result"] == {"x": 5}
        await client.ask("initialize", SNAKE)
        assert (await client.ask("point", {"x": 6}))["result"] == {"x": 6}


async def test_a_tool_without_structure_gives_its_content(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert (await client.ask("plain"))["result"] == {"content": [{"type": "text", "text": "words"}]}


async def test_a_standard_method_wins_over_a_tool_of_the_same_name(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        assert (await client.ask("ping"))["result"] == {}
        await client.ask("initialize", SNAKE)
        call = await client.ask("tools/call", {"name": "ping"}, id=2)
        assert call["result"]["content"][0]["text"] == "the tool"


@pytest.mark.parametrize("ready", [False, True])
async def test_an_unknown_method_is_32601_on_the_stream(ready: bool, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        if ready:
            await client.ask("initialize", SNAKE, id=0)
        answer = await client.ask("no_such", {}, id="u")
        assert (answer["id"], answer["error"]["code"]) == ("u", -32601)
        assert "no_such" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("method", "params", "code", "text"),
    [
        ("refuse", None, -32603, "No."),
        ("fail", {"text": "It is full"}, -32603, "It is full"),
        ("add", {"a": "one"}, -32602, r"\$\.b: missing"),
        ("add", None, -32602, "missing"),
        ("add", {"_meta": 5}, -32602, "_meta"),
        ("patient", None, -32603, "timed out after 2 s"),
        ("hasty", None, -32603, "gave up"),
    ],
)
async def test_a_tool_failure_is_an_error(method: str, params: Any, code: int, text: str, autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.post(request("f", method, params))
        await trio.sleep(3)
        [answer] = client.messages
        assert (answer["id"], answer["error"]["code"]) == ("f", code)
        assert re.search(text, answer["error"]["message"])


async def test_a_failure_that_is_not_meant_for_clients_stays_on_the_server(autojump_clock, caplog):
    async with serving() as web:
        client = await Client.of(web)
        answer = await client.ask("fail")
        assert answer["error"]["code"] == -32603
        assert "secret" not in str(answer)
        assert "a secret" in caplog.text


async def test_an_id_in_flight_cannot_be_used_again(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.post(request(1, "wait", {"seconds": 5}))
        assert (await client.ask("add", {"a": 1, "b": 1}))["error"]["code"] == -32600
        await trio.sleep(6)
        assert client.messages[-1]["result"] == {"result": "waited 5"}


async def test_a_tool_by_name_tells_progress_to_who_asks_for_it(autojump_clock):
    async with serving() as web:
        client = await Client.of(web)
        await client.post(request(1, "step", {"times": 1, "_meta": {"progressToken": "p"}}))
        await trio.sleep(5)
        assert [message.get("method", "answer") for message in client.messages] == ["notifications/progress", "answer"]


async def test_too_many_calls_at_once_are_an_error(autojump_clock):
    async with serving(dialect_server(max_requests_per_session=1)) as web:
        client = await Client.of(web)
        await client.post(request(1, "wait", {"seconds": 5}))
        assert (await client.ask("add", {"a": 1, "b": 1}, id=2))["error"]["code"] == 429


# The drain


async def test_at_the_drain_calls_are_answered_before_the_streams_end(lane: bool, autojump_clock):
    async with serving(dialect_server(shutdown_grace=10), lane=lane) as web:
        idle, busy = await Client.of(web), await Client.of(web)
        other = await busy.again()
        await busy.post(request("slow", "wait", {"seconds": 4}))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await idle.stream.done()
            assert trio.current_time() == began
            assert (await busy.post(request(2, "add", {"a": 1, "b": 1}))).status == 503
            for path in ("/notifications", f"/notifications?session_id={busy.id}"):
                assert (await web.fetch("GET", path=path)).status == 503
            await busy.stream.done()
            await other.stream.done()
        assert idle.stream.complete
        assert busy.stream.complete
        assert other.stream.complete
        assert busy.messages == other.messages == [{"jsonrpc": "2.0", "id": "slow", "result": {"result": "waited 4"}}]
        assert not web.host.sessions


async def test_other_methods_are_405_and_beyond_the_limit_of_sessions_it_is_503(autojump_clock):
    async with serving(dialect_server(max_sessions=1)) as web:
        fetch = await web.fetch("POST", path="/notifications")
        assert (fetch.status, fetch.headers["allow"]) == (405, "GET")
        await Client.of(web)
        assert (await web.fetch("GET", path="/notifications")).status == 503
