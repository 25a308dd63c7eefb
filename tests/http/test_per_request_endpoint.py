"""The per-request era over HTTP: statuses, headers, discovery, input_required, listen, and the client's leaving."""

import base64
import json
import math
from typing import Any

import pytest
import trio

from tests.http.client import META, MODERN, SESSION_REVISIONS, V2025_11, modern, request, served
from tests.http.fetch import Fetch
from tests.http.servers import Diary, small_server
from trio_mcp import Context, McpError

ELICIT: dict[str, Any] = {f"{META}clientCapabilities": {"elicitation": {}}}
LOGS = {f"{META}logLevel": "debug"}


def text_of(fetch: Fetch) -> str:
    return str(fetch.result["content"][0]["text"])


# Answers


async def test_a_call_needs_no_session_and_mints_none(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.call("echo", message="x").done()
        assert (fetch.status, text_of(fetch)) == (200, "x")
        assert fetch.result["resultType"] == "complete"
        assert fetch.result["_meta"][f"{META}serverInfo"] == {"name": "small", "version": "1.0"}
        assert "mcp-session-id" not in fetch.headers
        assert not web.host.sessions


@pytest.mark.parametrize("id", ["a", 7, 0, "", 2**53, -1])
async def test_the_id_comes_back_with_its_type_in_results_and_errors(id: Any, autojump_clock):
    async with served(small_server()) as web:
        assert (await web.ask("server/discover", id=id).done()).json["id"] == id
        assert (await web.ask("no/such", id=id).done()).json["id"] == id
        assert (await web.ask("tools/call", {"name": "nowhere"}, id=id).done()).json["id"] == id
        assert (await web.ask("server/discover", id=id, headers={"mcp-method": "x"}).done()).json["id"] == id


async def test_discover_names_the_revisions_and_capabilities(autojump_clock):
    async with served(small_server()) as web:
        result = (await web.ask("server/discover").done()).result
        assert result["supportedVersions"][0] == MODERN
        assert set(result["supportedVersions"]) == {MODERN, *SESSION_REVISIONS}
        assert {"tools", "resources", "prompts"} <= set(result["capabilities"])


async def test_complete_results_of_what_may_be_cached_say_so_and_others_do_not(autojump_clock):
    rows: list[tuple[str, dict[str, Any] | None, bool]] = [
        ("server/discover", None, True),
        ("tools/list", None, True),
        ("resources/list", None, True),
        ("resources/templates/list", None, True),
        ("prompts/list", None, True),
        ("resources/read", {"uri": "config://app"}, True),
        ("prompts/get", {"name": "review", "arguments": {"code": "x"}}, False),
        ("tools/call", {"name": "echo", "arguments": {"message": "x"}}, False),
    ]
    async with served(small_server(cache_ttl=2.5)) as web:
        for method, params, cacheable in rows:
            result = (await web.ask(method, params).done()).result
            assert result["resultType"] == "complete", method
            assert ("ttlMs" in result, "cacheScope" in result) == (cacheable, cacheable), method
            if cacheable:
                assert result["ttlMs"] == 2500
                assert type(result["ttlMs"]) is int


def leaves(value: Any) -> list[str]:
    """Every value that is no container, as JSON; a schema's default may well be null."""
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key != "default"]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [json.dumps(value)]


async def test_nothing_that_is_absent_is_sent_as_null(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for method, params in (
            ("tools/list", None),
            ("resources/list", None),
            ("prompts/list", None),
            ("server/discover", None),
            ("tools/call", {"name": "echo", "arguments": {"message": "x"}}),
            ("tools/call", {"name": "echo", "arguments": {}}),
            ("resources/read", {"uri": "config://app"}),
            ("no/such", None),
        ):
            for fetch in (await web.ask(method, params).done(), await session.ask(method, params).done()):
                assert "null" not in leaves(fetch.json), fetch.body


# Statuses


@pytest.mark.parametrize(
    ("method", "params", "status", "code"),
    [
        ("no/such", None, 404, -32601),
        ("initialize", None, 404, -32601),
        ("ping", None, 404, -32601),
        ("logging/setLevel", {"level": "info"}, 404, -32601),
        ("resources/subscribe", {"uri": "x"}, 404, -32601),
        ("resources/unsubscribe", {"uri": "x"}, 404, -32601),
        ("notifications/cancelled", {"requestId": 1}, 404, -32601),
        ("sampling/createMessage", None, 404, -32601),
        ("tools/call", {"name": "nowhere"}, 400, -32602),
        ("prompts/get", {"name": "nowhere"}, 400, -32602),
        ("resources/read", {"uri": "config://gone"}, 400, -32602),
        ("tools/list", {"cursor": "bad"}, 400, -32602),
        ("tools/list", {"cursor": 5}, 400, -32602),
        ("completion/complete", {}, 400, -32602),
    ],
)
async def test_errors_have_the_status_that_belongs_to_them(
    method: str, params: Any, status: int, code: int, autojump_clock
):
    async with served(small_server()) as web:
        fetch = await web.ask(method, params).done()
        assert (fetch.status, fetch.error["code"]) == (status, code)


async def test_a_missing_resource_names_its_uri(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.ask("resources/read", {"uri": "config://gone"}).done()
        assert fetch.error["data"] == {"uri": "config://gone"}


async def test_an_internal_error_is_200_and_hides_its_reason(autojump_clock, caplog):
    async with served(small_server()) as web:
        fetch = await web.call("fail").done()
        assert fetch.status == 200
        assert b"secret" not in fetch.body
        assert "a secret" in caplog.text


async def test_arguments_that_do_not_fit_are_a_result_with_is_error(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.call("wait", seconds="soon").done()
        assert (fetch.status, fetch.result["isError"]) == (200, True)


async def test_a_capability_that_is_missing_is_400_and_named(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.call("sampled").done()
        assert (fetch.status, fetch.error["code"]) == (400, -32021)
        assert fetch.error["data"] == {"requiredCapabilities": {"sampling": {}}}
        meta: dict[str, Any] = {f"{META}clientCapabilities": {"sampling": {}}}
        fetch = await web.ask("tools/call", {"name": "sampled", "arguments": {}}, meta=meta).done()
        assert text_of(fetch) == "may sample"


@pytest.mark.parametrize("version", ["2099-01-01", V2025_11, ""])
async def test_an_unsupported_revision_is_400_with_what_is_supported(version: str, autojump_clock):
    async with served(small_server()) as web:
        meta = {f"{META}protocolVersion": version}
        fetch = await web.ask("tools/list", meta=meta, headers={"mcp-protocol-version": version}).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32022)
        assert fetch.error["data"]["requested"] == version
        assert MODERN in fetch.error["data"]["supported"]


@pytest.mark.parametrize("lacks", ["protocolVersion", "clientCapabilities"])
async def test_metadata_that_is_missing_is_400_and_named(lacks: str, autojump_clock):
    async with served(small_server()) as web:
        body, headers = modern("tools/list")
        del body["params"]["_meta"][META + lacks]
        fetch = await web.fetch(body=body, headers=headers)
        assert (fetch.status, fetch.error["code"]) == (400, -32602)
        assert META + lacks in fetch.error["message"]


async def test_too_much_of_anything_is_said_in_the_body_too(autojump_clock):
    async with served(small_server(max_body=2000)) as web:
        fetch = await web.call("echo", message="x" * 2000).done()
        assert (fetch.status, fetch.error["code"]) == (413, -32600)


# Headers


@pytest.mark.parametrize("header", ["mcp-protocol-version", "mcp-method", "mcp-name"])
@pytest.mark.parametrize("value", [None, "", "other", "ECHO", "Tools/Call", "a\u00e9"])
async def test_a_standard_header_that_is_missing_or_differs_is_400(header: str, value: str | None, autojump_clock):
    async with served(small_server()) as web:
        params = {"name": "echo", "arguments": {"message": "x"}}
        fetch = await web.ask("tools/call", params, id="h", headers={header: value}).done()
        assert (fetch.status, fetch.error["code"], fetch.json["id"]) == (400, -32020, "h")
        assert header in fetch.error["message"].lower()


@pytest.mark.parametrize("header", ["mcp-protocol-version", "mcp-method", "mcp-name"])
async def test_a_standard_header_that_comes_twice_is_400_even_where_both_agree(header: str, autojump_clock):
    async with served(small_server()) as web:
        body, headers = modern("tools/call", {"name": "echo", "arguments": {"message": "x"}})
        fetch = await web.fetch(body=body, headers=[*headers.items(), (header, headers[header])])
        assert (fetch.status, fetch.error["code"]) == (400, -32020)


@pytest.mark.parametrize("padded", ["echo ", "\techo", " \t echo \t"])
async def test_whitespace_around_a_header_value_does_not_count(padded: str, autojump_clock):
    async with served(small_server()) as web:
        params = {"name": "echo", "arguments": {"message": "x"}}
        assert (await web.ask("tools/call", params, headers={"mcp-name": padded}).done()).status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (f"=?base64?{base64.b64encode(b'echo').decode()}?=", 200),
        ("=?base64?ZWNobw?=", 400),  # padding left out
        ("=?base64?ZWNobx==?=", 400),  # bits behind the end
        ("=?BASE64?ZWNobw==?=", 400),
        ("=?base64?ZWNo bw==?=", 400),
        ("=?base64??=", 400),
        ("=?base64?/////w==?=", 400),  # no UTF-8
    ],
)
async def test_a_name_in_base64_is_decoded_strictly(value: str, status: int, autojump_clock):
    async with served(small_server()) as web:
        params = {"name": "echo", "arguments": {"message": "x"}}
        assert (await web.ask("tools/call", params, headers={"mcp-name": value}).done()).status == status


async def test_a_resource_is_named_by_its_uri(autojump_clock):
    async with served(small_server()) as web:
        assert (await web.ask("resources/read", {"uri": "config://app"}).done()).status == 200
        fetch = await web.ask("resources/read", {"uri": "config://app"}, headers={"mcp-name": "config://b"}).done()
        assert fetch.error["code"] == -32020


@pytest.mark.parametrize(
    ("arguments", "headers", "status"),
    [
        ({"region": "eu"}, {"mcp-param-region": "eu"}, 200),
        ({"region": "eu"}, {}, 400),
        ({"region": "eu"}, {"mcp-param-region": "us"}, 400),
        ({"region": "eu"}, {"mcp-param-region": "=?base64?ZXU=?="}, 200),
        ({"region": None}, {}, 200),
        ({}, {}, 200),
        ({}, {"mcp-param-region": "eu"}, 400),
        ({"region": "eu", "count": 3}, {"mcp-param-region": "eu", "mcp-param-count": "4"}, 200),  # not annotated
    ],
)
async def test_a_parameter_that_is_named_in_a_header_must_agree_with_it(
    arguments: Any, headers: Any, status: int, autojump_clock
):
    server = small_server()
    async with served(server) as web:
        fetch = await web.ask("tools/call", {"name": "routed", "arguments": arguments}, headers=headers).done()
        assert fetch.status == status, fetch.body
        if status == 400:
            assert fetch.error["code"] == -32020


async def test_a_notification_with_a_lying_method_header_is_400(autojump_clock):
    async with served(small_server()) as web:
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call"}
        fetch = await web.fetch(body=body, headers=headers)
        assert (fetch.status, fetch.error["code"]) == (400, -32020)
        assert "id" not in fetch.json


async def test_sessions_and_event_ids_mean_nothing_here(autojump_clock):
    async with served(small_server()) as web:
        fetch = web.ask("tools/list", headers={"mcp-session-id": "unknown", "last-event-id": "1-1"})
        assert (await fetch.done()).status == 200
        assert "mcp-session-id" not in fetch.headers


# Accept


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0, text/event-stream;q=0.0"])
async def test_a_client_that_takes_neither_json_nor_streams_is_406(accept: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.ask("tools/list", id="n", headers={"accept": accept}).done()
        assert (fetch.status, fetch.json["id"]) == (406, "n")


async def test_listen_needs_a_client_that_takes_streams(autojump_clock):
    async with served(small_server()) as web:
        fetch = web.ask("subscriptions/listen", {"notifications": {}}, headers={"accept": "application/json"})
        assert (await fetch.done()).status == 406
        assert not len(web.host.subscriptions)


async def test_listen_is_a_stream_even_where_replies_are_json(autojump_clock):
    async with served(small_server(json_response=True)) as web:
        fetch = web.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        await fetch.hears(1)
        assert fetch.streams


# Progress and logs


async def test_progress_comes_only_with_the_requests_own_token(autojump_clock):
    async with served(small_server()) as web:
        silent = await web.call("step").done()
        assert not silent.streams
        fetch = await web.ask("tools/call", {"name": "step", "arguments": {}}, meta={"progressToken": 0}).done()
        assert [m["params"]["progress"] for m in fetch.messages[:-1]] == [0, 1]
        assert all(m["params"]["progressToken"] == 0 for m in fetch.messages[:-1])


@pytest.mark.parametrize(("level", "heard"), [(None, 0), ("error", 0), ("warning", 2), ("debug", 2)])
async def test_logs_come_only_at_the_level_that_the_request_asked_for(level: str | None, heard: int, autojump_clock):
    async with served(small_server()) as web:
        meta = {} if level is None else {f"{META}logLevel": level}
        fetch = await web.ask("tools/call", {"name": "talk", "arguments": {}}, meta=meta).done()
        logs = [m for m in (fetch.messages if fetch.streams else []) if m.get("method") == "notifications/message"]
        assert len(logs) == heard


async def test_an_error_after_the_stream_began_is_200(autojump_clock):
    server = small_server()

    @server.tool
    async def late(ctx: Context) -> str:
        await ctx.warning("soon")
        raise McpError(-32602, "late")

    async with served(server) as web:
        fetch = await web.ask("tools/call", {"name": "late", "arguments": {}}, meta=LOGS).done()
        assert (fetch.status, fetch.streams, fetch.complete) == (200, True, True)
        assert fetch.error["code"] == -32602


# Input from the client


async def test_a_question_is_answered_on_the_retry(autojump_clock):
    async with served(small_server()) as web:
        params = {"name": "ask", "arguments": {}}
        first = (await web.ask("tools/call", params, meta=ELICIT).done()).result
        assert first["resultType"] == "input_required"
        assert "ttlMs" not in first
        assert set(first["inputRequests"]) == {"who"}
        assert first["inputRequests"]["who"]["method"] == "elicitation/create"
        retry = {
            **params,
            "inputResponses": {"who": {"action": "accept", "content": {"name": "Ada"}}},
            "requestState": first["requestState"],
        }
        assert text_of(await web.ask("tools/call", retry, id=2, meta=ELICIT).done()) == "accept Ada"


async def test_an_altered_state_is_400(autojump_clock):
    async with served(small_server()) as web:
        params = {"name": "ask", "arguments": {}}
        state = (await web.ask("tools/call", params, meta=ELICIT).done()).result["requestState"]
        for altered in (state[:-1], state + "=", state + "A", "A" + state[1:] if state[0] != "A" else "B" + state[1:]):
            fetch = await web.ask("tools/call", {**params, "requestState": altered}, meta=ELICIT).done()
            assert (fetch.status, fetch.error["code"]) == (400, -32602), altered


async def test_a_state_is_good_for_its_own_request_until_it_expires(autojump_clock):
    async with served(small_server(state_ttl=60)) as web:
        params = {"name": "ask", "arguments": {}}
        state = (await web.ask("tools/call", params, meta=ELICIT).done()).result["requestState"]
        other = await web.ask(
            "tools/call", {"name": "echo", "arguments": {"message": "x"}, "requestState": state}
        ).done()
        assert other.error["code"] == -32602
        await trio.sleep(59)
        assert (await web.ask("tools/call", {**params, "requestState": state}, meta=ELICIT).done()).status == 200
        await trio.sleep(1)
        assert (await web.ask("tools/call", {**params, "requestState": state}, meta=ELICIT).done()).status == 400


async def test_a_client_that_cannot_be_asked_is_told_what_it_lacks(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.call("ask").done()
        assert (fetch.status, fetch.error["code"]) == (400, -32021)
        assert set(fetch.error["data"]["requiredCapabilities"]) == {"elicitation"}


# Subscriptions


def listening(**wanted: Any) -> dict[str, Any]:
    return {"notifications": wanted}


async def test_a_listener_hears_what_it_asked_for_tagged_with_its_id(autojump_clock):
    async with served(small_server()) as web:
        began = trio.current_time()
        wanted = listening(toolsListChanged=True, resourceSubscriptions=["config://app"])
        stream = web.ask("subscriptions/listen", wanted, id="mine")
        other = web.ask("subscriptions/listen", listening(promptsListChanged=True), id=7)
        acknowledged = (await stream.hears(1))[0]
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledged["params"]["notifications"] == wanted["notifications"]
        assert trio.current_time() - began <= 0.8
        await web.call("change").done()
        await web.call("change", uri="config://app").done()
        await web.call("change", uri="config://else").done()
        await trio.testing.wait_all_tasks_blocked()
        assert [m["method"] for m in stream.messages[1:]] == [
            "notifications/tools/list_changed",
            "notifications/resources/updated",
        ]
        for message in stream.messages:
            assert message["params"]["_meta"][f"{META}subscriptionId"] == "mine"
        assert len(other.messages) == 1
        assert other.messages[0]["params"]["_meta"][f"{META}subscriptionId"] == 7


async def test_a_listener_that_leaves_is_forgotten_at_once(lane: bool, autojump_clock):
    async with served(small_server(), lane=lane) as web:
        stream = web.ask("subscriptions/listen", listening(toolsListChanged=True))
        await stream.hears(1)
        assert len(web.host.subscriptions) == 1
        stream.drop()
        await stream.done()
        assert len(web.host.subscriptions) == 0
        await web.call("change").done()
        assert stream.late == []


# The client's leaving is the cancellation


@pytest.mark.parametrize("json_response", [None, True])
async def test_leaving_cancels_the_tool_where_the_reply_would_be_json(json_response: Any, lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, json_response=json_response), lane=lane) as web:
        call = web.call("wait", seconds=100)
        began = await diary.reads("wait began")
        await trio.sleep(3)
        call.drop()
        await call.done()
        assert await diary.reads("wait ended") == began + 3
        assert not web.host.calls
        assert call.late == []
        assert call.status == 0


@pytest.mark.parametrize("json_response", [None, False])
async def test_leaving_cancels_the_tool_where_the_reply_is_a_stream(json_response: Any, lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, json_response=json_response), lane=lane) as web:
        call = web.ask("tools/call", {"name": "talk", "arguments": {"times": 100}}, meta=LOGS)
        await call.hears(2)
        at = trio.current_time()
        call.drop()
        await call.done()
        assert await diary.reads("talk ended") == at
        await trio.sleep(100)
        assert call.late == []


async def test_leaving_in_a_silent_stream_cancels_the_tool(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        call = web.call("wait", seconds=1000)
        await trio.sleep(40)
        assert call.streams
        call.drop()
        await call.done()
        assert await diary.reads("wait ended") == trio.current_time()
        assert call.late == []


async def test_the_clean_up_of_a_cancelled_tool_is_awaited_but_nothing_is_sent(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        call = web.call("stubborn", seconds=7)
        await trio.testing.wait_all_tasks_blocked()
        call.drop()
        await call.done()
        assert "stubborn ended" in diary
        assert call.late == []


async def test_leaving_before_the_tool_began_leaves_nothing_behind(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        call = web.call("wait", seconds=50)
        call.drop()
        await call.done()
        assert not web.host.calls
        assert ("wait began" in diary) == ("wait ended" in diary)


async def test_leaving_after_the_answer_is_no_cancellation(lane: bool, autojump_clock):
    async with served(small_server(), lane=lane) as web:
        call = await web.call("echo", message="x").done()
        call.drop()
        assert text_of(call) == "x"


async def test_one_client_leaving_touches_no_other(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        leaving, staying = web.call("wait", seconds=9), web.call("wait", seconds=5)
        await trio.sleep(1)
        leaving.drop()
        await leaving.done()
        assert text_of(await staying.done()) == "waited 5"


# A client that stops reading


async def test_a_client_that_stops_reading_is_cut_and_its_call_cancelled(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, write_timeout=30, stream_buffer=8), lane=lane) as web:
        call = web.ask("tools/call", {"name": "flood", "arguments": {}}, meta=LOGS)
        await call.hears(1)
        call.stall()
        began = trio.current_time()
        await call.done()
        assert trio.current_time() - began <= 30
        assert diary.entries[-1][0] == "flood ended"
        assert len(diary.entries) < 100  # it was held up by the bound, not let run ahead
        assert not web.host.calls


async def test_a_client_that_leaves_while_it_does_not_read_is_noticed_at_once(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, write_timeout=30, stream_buffer=8), lane=lane) as web:
        call = web.ask("tools/call", {"name": "flood", "arguments": {}}, meta=LOGS)
        await call.hears(1)
        call.stall()
        await trio.sleep(5)
        at = trio.current_time()
        call.drop()
        assert await diary.reads("flood ended") == at
        call.go_on()
        await call.done()


async def test_a_slow_reader_gets_everything_in_order(lane: bool, autojump_clock):
    async with served(small_server(stream_buffer=4), lane=lane) as web:
        call = web.ask("tools/call", {"name": "flood", "arguments": {"times": 50}}, meta=LOGS)
        for _ in range(12):
            call.stall()
            await trio.sleep(20)
            call.go_on()
            await trio.testing.wait_all_tasks_blocked()
        await call.done()
        assert [m["params"]["data"] for m in call.messages[:-1]] == [str(number) for number in range(50)]
        assert call.messages[-1]["result"]["content"][0]["text"] == "flooded"


async def test_a_json_answer_that_nobody_reads_is_given_up_after_the_write_timeout(lane: bool, autojump_clock):
    async with served(small_server(write_timeout=30), lane=lane) as web:
        body, headers = modern("tools/list")
        call = web.open(body=body, headers=headers, prepare=Fetch.stall)
        began = trio.current_time()
        await call.done()
        assert trio.current_time() - began == 30


async def test_the_era_of_sessions_and_this_one_live_side_by_side(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        waiting = session.call("wait", seconds=5)
        assert (await web.call("echo", message="x").done()).status == 200
        assert await session.answers()
        assert (await waiting.done()).status == 200
        assert (await web.fetch(body=request(1, "tools/list"), headers={"mcp-session-id": "no"})).status == 404
    assert math.isfinite(trio.current_time())
