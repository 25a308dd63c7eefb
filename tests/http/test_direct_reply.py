"""POST /message: one message, answered in its own response, without a session."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tests.http.client import (
    META,
    MODERN,
    SESSION_REVISIONS,
    V2024,
    V2025_03,
    V2025_11,
    Web,
    modern,
    notification,
    request,
    served,
)
from tests.http.fetch import Fetch
from tests.http.servers import Diary, small_server
from trio_mcp import Server
from trio_mcp.serve import mcp_app

CURL = {"accept": "*/*"}


@asynccontextmanager
async def serving(server: Server | None = None, *, lane: bool = False) -> AsyncIterator[Web]:
    async with served(server or small_server(), lane=lane, wrap=lambda app, host: mcp_app(host)) as web:
        yield web


async def ask(web: Web, method: str, params: Any = None, *, id: Any = 1, headers: Any = None) -> Fetch:
    fetch = await web.fetch(body=request(id, method, params), path="/message", headers={**CURL, **(headers or {})})
    assert not web.host.sessions
    assert not fetch.streams
    return fetch


async def test_every_method_that_needs_no_session_is_answered_in_the_response(lane: bool, autojump_clock):
    asked: list[tuple[str, Any, str]] = [
        ("initialize", {}, "serverInfo"),
        ("tools/list", None, "tools"),
        ("tools/call", {"name": "echo", "arguments": {"message": "hello SSE"}}, "content"),
        ("resources/list", None, "resources"),
        ("resources/templates/list", None, "resourceTemplates"),
        ("resources/read", {"uri": "config://app"}, "contents"),
        ("prompts/list", None, "prompts"),
        ("prompts/get", {"name": "review", "arguments": {"code": "x"}}, "messages"),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "review"}, "argument": {"name": "code", "value": "x"}},
            "completion",
        ),
    ]
    async with serving(lane=lane) as web:
        for method, params, member in asked:
            fetch = await ask(web, method, params, id=method)
            assert (fetch.status, fetch.json["id"]) == (200, method)
            assert member in fetch.result
        assert (await ask(web, "ping")).result == {}


async def test_a_notification_is_accepted_without_a_body(autojump_clock):
    async with serving() as web:
        fetch = await web.fetch(body=notification("notifications/initialized"), path="/message")
        assert (fetch.status, fetch.body) == (202, b"")


# The revision


async def test_initialize_with_empty_params_gets_the_newest_revision_with_a_handshake(autojump_clock):
    async with serving() as web:
        nothing: list[Any] = [{}, None]
        for params in nothing:
            assert (await ask(web, "initialize", params)).result["protocolVersion"] == V2025_11


@pytest.mark.parametrize("revision", SESSION_REVISIONS)
async def test_initialize_answers_the_revision_that_it_names_whatever_the_header_says(revision: str, autojump_clock):
    async with serving() as web:
        fetch = await ask(web, "initialize", {"protocolVersion": revision}, headers={"mcp-protocol-version": V2025_03})
        assert fetch.result["protocolVersion"] == revision


@pytest.mark.parametrize("version", [MODERN, "2099-01-01"])
async def test_initialize_that_names_another_gets_the_newest_with_a_handshake(version: str, autojump_clock):
    async with serving() as web:
        assert (await ask(web, "initialize", {"protocolVersion": version})).result["protocolVersion"] == V2025_11


@pytest.mark.parametrize(
    ("version", "structured", "stamped"),
    [(None, True, False), (V2025_11, True, False), (V2024, False, False), (MODERN, True, True)],
)
async def test_answers_have_the_shape_of_the_revision_in_the_header(
    version: str | None, structured: bool, stamped: bool, autojump_clock
):
    async with serving() as web:
        headers = {} if version is None else {"mcp-protocol-version": version}
        call = {"name": "echo", "arguments": {"message": "x"}}
        result = (await ask(web, "tools/call", call, headers=headers)).result
        assert ("structuredContent" in result) is structured
        assert ("resultType" in result) is stamped
        if version is not None and version != MODERN:
            assert (await ask(web, "initialize", {}, headers=headers)).result["protocolVersion"] == version


async def test_in_the_per_request_era_there_is_no_initialize_and_an_error_has_its_status(autojump_clock):
    async with serving() as web:
        fetch = await ask(web, "initialize", {}, headers={"mcp-protocol-version": MODERN})
        assert (fetch.status, fetch.error["code"]) == (404, -32601)
        assert (
            "tools"
            in (await ask(web, "server/discover", headers={"mcp-protocol-version": MODERN})).result["capabilities"]
        )


async def test_an_unknown_version_in_the_header_is_400(autojump_clock):
    async with serving() as web:
        fetch = await ask(web, "tools/list", id="v", headers={"mcp-protocol-version": "1999-01-01"})
        assert (fetch.status, fetch.json["id"]) == (400, "v")
        assert V2025_11 in fetch.error["message"]


async def test_a_request_with_its_own_metadata_is_one_of_the_per_request_era_headers_or_not(autojump_clock):
    async with serving() as web:
        body, _ = modern("tools/call", {"name": "ask"}, meta={f"{META}clientCapabilities": {"elicitation": {}}})
        fetch = await web.fetch(body=body, path="/message", headers=CURL)
        assert fetch.result["resultType"] == "input_required"
        body["params"]["inputResponses"] = {"who": {"action": "accept", "content": {"name": "Ada"}}}
        body["params"]["requestState"] = fetch.result["requestState"]
        fetch = await web.fetch(body=body, path="/message", headers=CURL)
        assert fetch.result["content"][0]["text"] == "accept Ada"
        body, _ = modern("subscriptions/listen", {"notifications": {}})
        fetch = await web.fetch(body=body, path="/message", headers=CURL)
        assert (fetch.status, fetch.error["code"]) == (404, -32601)
        body, _ = modern("tools/list", meta={f"{META}protocolVersion": "2099-01-01"})
        fetch = await web.fetch(body=body, path="/message", headers=CURL)
        assert (fetch.status, fetch.error["code"]) == (400, -32022)


# What there is no place for


async def test_what_a_tool_tells_on_the_way_is_left_out_and_its_answer_is_plain_json(autojump_clock):
    async with serving(small_server(commit_after=1)) as web:
        began = trio.current_time()
        fetch = await ask(web, "tools/call", {"name": "talk", "_meta": {"progressToken": "p"}})
        assert fetch.result["content"][0]["text"] == "talked"
        assert trio.current_time() == began + 2


async def test_a_tool_that_asks_the_client_fails_in_words(autojump_clock):
    async with serving() as web:
        assert "elicitation" in (await ask(web, "tools/call", {"name": "ask"})).error["message"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("logging/setLevel", {"level": "debug"}),
        ("resources/subscribe", {"uri": "config://app"}),
        ("resources/unsubscribe", {"uri": "config://app"}),
        ("no/such", {}),
        ("echo", {"message": "x"}),
    ],
)
async def test_what_needs_a_session_or_is_unknown_is_32601(method: str, params: Any, autojump_clock):
    async with serving() as web:
        fetch = await ask(web, method, params, id="u")
        assert (fetch.status, fetch.json["id"], fetch.error["code"]) == (200, "u", -32601)
        assert ("needs a session" in fetch.error["message"]) is (method not in ("no/such", "echo"))


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
        b'{"jsonrpc": "2.0", "id": null, "method": "ping"}',
        b'"\xff"',
    ],
)
async def test_what_is_no_single_request_is_400(body: bytes, autojump_clock):
    async with serving() as web:
        fetch = await web.fetch(body=body, path="/message")
        assert fetch.status == 400
        assert fetch.error["code"] < 0


async def test_wrong_parameters_are_an_error_with_the_id(autojump_clock):
    async with serving() as web:
        assert (await ask(web, "tools/call", {}, id=8)).error["code"] == -32602
        assert (await ask(web, "initialize", {"protocolVersion": 5}, id=8)).error["code"] == -32602
        assert (await ask(web, "tools/call", {"name": "none"}, id=8)).error["code"] == -32602


async def test_other_methods_are_405_and_other_types_415(autojump_clock):
    async with serving() as web:
        fetch = await web.fetch("GET", path="/message")
        assert (fetch.status, fetch.headers["allow"]) == (405, "POST")
        assert (await web.fetch(path="/message", headers={"content-type": "text/plain"})).status == 415


# The client leaving, the server going


async def test_the_client_leaving_cancels_the_call(lane: bool, autojump_clock):
    diary = Diary()
    async with serving(small_server(diary), lane=lane) as web:
        call = request(1, "tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
        fetch = web.open(body=call, path="/message")
        began = await diary.reads("wait began")
        fetch.drop()
        assert await diary.reads("wait ended") == began
        await fetch.done()
        assert not fetch.late
        assert not web.host.calls


async def test_a_drain_lets_calls_finish_and_answers_503_for_the_rest(lane: bool, autojump_clock):
    async with serving(small_server(shutdown_grace=5), lane=lane) as web:
        quick, slow = (
            web.open(body=request(id, "tools/call", {"name": "wait", "arguments": {"seconds": id}}), path="/message")
            for id in (4, 100)
        )
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(web.host.drain)
            await trio.testing.wait_all_tasks_blocked()
            assert (await web.fetch(body=request(1, "ping"), path="/message")).status == 503
        assert (await quick.done()).result["content"][0]["text"] == "waited 4"
        assert ((await slow.done()).status, slow.json["id"]) == (503, 100)
