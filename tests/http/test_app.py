"""The endpoint: its path, its methods, and the fork between the eras, decided by the body first and then the header."""

import pytest
import trio

from tests.http.client import META, MODERN, V2025_03, V2025_11, modern, notification, request, served
from tests.http.fetch import Fetch
from tests.http.servers import small_server

SESSION_ERA = "mcp-session-id"
INFO = {"name": "tests", "version": "1"}
INITIALIZE = request(0, "initialize", {"protocolVersion": V2025_11, "capabilities": {}, "clientInfo": INFO})


def code_of(fetch: Fetch) -> int:
    return int(fetch.error["code"])


# Path and methods


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_the_endpoint_is_found_with_and_without_a_slash_behind_it(path: str, autojump_clock):
    async with served(small_server()) as web:
        assert (await web.fetch(path=path, body=INITIALIZE)).status == 200


@pytest.mark.parametrize("path", ["/", "/mc", "/mcp2", "/mcp/more", "/MCP"])
async def test_any_other_path_is_404_and_says_where_the_endpoint_is(path: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(path=path, body=INITIALIZE)
        assert fetch.status == 404
        assert b"/mcp" in fetch.body
        assert fetch.headers["content-type"].startswith("text/plain")


async def test_the_path_is_a_setting(autojump_clock):
    async with served(small_server(path="/here")) as web:
        assert (await web.fetch(path="/here", body=INITIALIZE)).status == 200
        assert (await web.fetch(path="/mcp", body=INITIALIZE)).status == 404


async def test_below_a_mount_point_the_path_counts_from_there(autojump_clock):
    async with served(small_server()) as web:
        fetch = web.open(path="/tools/mcp", body=INITIALIZE, prepare=lambda f: f.scope.update(root_path="/tools"))
        assert (await fetch.done()).status == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "QUERY"])
async def test_other_methods_are_405_and_say_which_there_are(method: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(method)
        assert fetch.status == 405
        assert {name.strip() for name in fetch.headers["allow"].split(",")} == {"GET", "POST", "DELETE"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_get_and_delete_are_405_for_a_client_of_the_per_request_era(method: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(method, headers={"mcp-protocol-version": MODERN, "accept": "text/event-stream"})
        assert fetch.status == 405
        assert fetch.headers["allow"] == "POST"
        assert SESSION_ERA not in fetch.headers


async def test_a_session_id_leads_to_its_session_whatever_revision_the_header_names(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        assert (await session.listen(headers={"mcp-protocol-version": MODERN}).answered()).status == 200
        assert (await session.open("DELETE", headers={"mcp-protocol-version": MODERN}).done()).status == 204


async def test_a_websocket_is_refused(autojump_clock):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    async with served(small_server()) as web:
        await web.app({"type": "websocket", "path": "/mcp", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_host_that_does_not_run_answers_503_with_what_is_missing(autojump_clock):
    async with served(small_server()) as web:
        web.host.stop()
        await web.host_ended()
        fetch = await web.fetch(body=INITIALIZE)
        assert fetch.status == 503
        assert "lifespan" in fetch.error["message"]
        assert fetch.headers["retry-after"].isdigit()


# Bodies


@pytest.mark.parametrize("type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"])
async def test_a_body_that_is_not_called_json_is_415(type: str | None, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=INITIALIZE, headers={"content-type": type})
        assert fetch.status == 415
        assert "application/json" in fetch.error["message"]
        assert not web.host.sessions


@pytest.mark.parametrize("type", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"])
async def test_json_is_known_by_its_type_whatever_its_parameters(type: str, autojump_clock):
    async with served(small_server()) as web:
        assert (await web.fetch(body=INITIALIZE, headers={"content-type": type})).status == 200


async def test_a_body_that_says_it_is_too_large_is_413_before_it_is_read(autojump_clock):
    async with served(small_server(max_body=1000)) as web:
        fetch = web.open(body=[b"{"], headers={"content-length": "1001"}, hold=True)
        await fetch.done()
        assert fetch.status == 413
        assert "1000" in fetch.error["message"]
        assert "max_body" in fetch.error["message"]
        assert fetch.headers["connection"] == "close"


async def test_a_body_that_turns_out_too_large_is_413_at_the_byte_too_many(autojump_clock):
    async with served(small_server(max_body=1000)) as web:
        fetch = web.open(body=[b" " * 600], hold=True)
        await trio.testing.wait_all_tasks_blocked()
        assert not fetch.returned
        fetch.feed(b" " * 401)
        assert (await fetch.done()).status == 413


async def test_a_body_in_one_piece_that_is_too_large_is_413(autojump_clock):
    async with served(small_server(max_body=1000)) as web:
        assert (await web.fetch(body=b" " * 1001)).status == 413


@pytest.mark.parametrize("length", ["-5", "many", "1e3", "²", "9" * 5000])
async def test_a_nonsense_content_length_is_no_crash(length: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = web.open(body=INITIALIZE, headers={"content-length": length})
        assert (await fetch.done()).status in (200, 413)


async def test_a_body_as_large_as_allowed_is_taken_in_pieces(autojump_clock):
    body, headers = modern("tools/call", {"name": "echo", "arguments": {"message": "x" * 500}})
    import json

    text = json.dumps(body).encode()
    async with served(small_server(max_body=len(text))) as web:
        pieces = [text[i : i + 7] for i in range(0, len(text), 7)]
        fetch = await web.fetch(body=pieces, headers=headers)
        assert fetch.result["content"][0]["text"] == "x" * 500


async def test_a_413_that_nobody_reads_is_no_error_of_the_application(autojump_clock):
    async with served(small_server(max_body=10, write_timeout=30)) as web:
        fetch = web.open(body=b" " * 11, prepare=Fetch.stall)
        await trio.sleep(31)
        assert fetch.returned


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(lane: bool, autojump_clock):
    async with served(small_server(), lane=lane) as web:
        fetch = web.open(body=[b'{"jsonrpc":'], hold=True)
        await trio.testing.wait_all_tasks_blocked()
        fetch.drop()
        await fetch.done()
        assert fetch.late == []
        assert not web.host.sessions


# The fork. A row: what the body is, which headers come with it, and how it must be answered.

PER_REQUEST_CALL = modern("tools/list")[0]
PLAIN_CALL = request(1, "tools/list")


async def test_metadata_in_the_body_decides_for_the_per_request_era_without_any_header(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=PER_REQUEST_CALL)
        assert (fetch.status, code_of(fetch)) == (400, -32020)  # per-request, with its headers missing


async def test_metadata_in_the_body_decides_even_against_a_session_header(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.open(body=PER_REQUEST_CALL, headers={"mcp-method": "tools/list"}).done()
        assert (fetch.status, code_of(fetch)) == (400, -32020)  # the version header names the session's revision
        headers = {"mcp-method": "tools/list", "mcp-protocol-version": MODERN}
        fetch = await session.open(body=PER_REQUEST_CALL, headers=headers).done()
        assert fetch.result["resultType"] == "complete"
        assert SESSION_ERA not in fetch.headers


async def test_metadata_that_is_nonsense_still_decides_for_the_per_request_era(autojump_clock):
    body = request(7, "tools/list", {"_meta": {f"{META}protocolVersion": 5}})
    async with served(small_server()) as web:
        fetch = await web.fetch(body=body)
        assert (fetch.status, code_of(fetch), fetch.json["id"]) == (400, -32602, 7)


async def test_initialize_opens_a_session(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=INITIALIZE)
        assert fetch.result["protocolVersion"] == V2025_11
        assert fetch.headers[SESSION_ERA] in web.host.sessions


async def test_initialize_with_the_header_of_the_per_request_era_still_opens_a_session(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=INITIALIZE, headers={"mcp-protocol-version": MODERN})
        assert fetch.status == 200
        assert SESSION_ERA in fetch.headers


async def test_initialize_with_per_request_metadata_is_a_method_that_is_not_there(autojump_clock):
    body, headers = modern("initialize", {"protocolVersion": MODERN, "capabilities": {}, "clientInfo": INFO})
    async with served(small_server()) as web:
        fetch = await web.fetch(body=body, headers=headers)
        assert (fetch.status, code_of(fetch)) == (404, -32601)
        assert not web.host.sessions


async def test_a_session_header_decides_for_the_session(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        fetch = await session.open(body=PLAIN_CALL).done()
        assert fetch.status == 200
        assert "resultType" not in fetch.result


async def test_a_header_of_the_per_request_era_decides_where_the_body_says_nothing(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=PLAIN_CALL, headers={"mcp-protocol-version": MODERN, "mcp-method": "tools/list"})
        assert (fetch.status, code_of(fetch)) == (400, -32602)
        assert f"{META}protocolVersion" in fetch.error["message"]
        assert fetch.json["id"] == 1


async def test_the_header_of_the_per_request_era_wins_over_a_session_header(autojump_clock):
    """An old session id that a client still carries must not let it into the session with a new envelope."""
    async with served(small_server()) as web:
        session = await web.initialize()
        headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/list"}
        fetch = await session.open(body=PLAIN_CALL, headers=headers).done()
        assert (fetch.status, code_of(fetch)) == (400, -32602)


@pytest.mark.parametrize("version", [None, V2025_11, "1999-01-01"])
async def test_a_request_that_says_nothing_needs_a_session(version: str | None, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=PLAIN_CALL, headers={"mcp-protocol-version": version})
        assert (fetch.status, code_of(fetch), fetch.json["id"]) == (400, -32600, 1)
        assert "Mcp-Session-Id" in fetch.error["message"]


@pytest.mark.parametrize("version", [None, V2025_11])
async def test_a_posted_response_without_a_session_is_400(version: str | None, autojump_clock):
    async with served(small_server()) as web:
        body = {"jsonrpc": "2.0", "id": 1, "result": {}}
        fetch = await web.fetch(body=body, headers={"mcp-protocol-version": version})
        assert fetch.status == 400
        assert "Mcp-Session-Id" in fetch.error["message"]


async def test_a_posted_response_of_the_per_request_era_is_400(autojump_clock):
    async with served(small_server()) as web:
        body = {"jsonrpc": "2.0", "id": 1, "result": {}}
        fetch = await web.fetch(body=body, headers={"mcp-protocol-version": MODERN})
        assert (fetch.status, code_of(fetch)) == (400, -32600)
        assert "responses" in fetch.error["message"]


async def test_a_notification_without_a_session_is_400_and_one_of_the_per_request_era_202(autojump_clock):
    async with served(small_server()) as web:
        assert (await web.fetch(body=notification("notifications/initialized"))).status == 400
        headers = {"mcp-protocol-version": MODERN}
        fetch = await web.fetch(body=notification("notifications/cancelled", {"requestId": 1}), headers=headers)
        assert (fetch.status, fetch.body) == (202, b"")


@pytest.mark.parametrize("version", [None, MODERN])
async def test_a_batch_without_a_session_is_400(version: str | None, autojump_clock):
    async with served(small_server()) as web:
        for batch in ([PER_REQUEST_CALL], [PLAIN_CALL], [INITIALIZE], [notification("notifications/initialized")]):
            fetch = await web.fetch(body=batch, headers={"mcp-protocol-version": version})
            assert (fetch.status, code_of(fetch)) == (400, -32600)
            assert "batch" in fetch.error["message"]
        assert not web.host.sessions


async def test_one_call_too_many_is_503_at_once_and_answers_still_come_in(lane: bool, autojump_clock):
    async with served(small_server(max_calls=2), lane=lane) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        asking = session.call("ask")
        await asking.hears(1)
        waiting = web.call("wait", seconds=60)
        await trio.testing.wait_all_tasks_blocked()
        for fetch in (await web.call("echo", message="x").done(), await session.call("echo", message="x").done()):
            assert fetch.status == 503
            assert fetch.headers["retry-after"] == "1"
            assert "2 calls are in flight" in fetch.error["message"]
        answer = {"action": "accept", "content": {"name": "Ada"}}
        assert (await session.respond(asking.messages[0]["id"], answer)).status == 202
        await asking.done()
        assert await session.answers()
        waiting.drop()
