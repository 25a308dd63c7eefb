"""POST, GET and DELETE of the session era: statuses, sessions, batches, and calls that outlive their connection."""

from typing import Any

import pytest
import trio

from tests.http.client import (
    MODERN,
    SESSION_REVISIONS,
    V2024,
    V2025_03,
    V2025_06,
    V2025_11,
    notification,
    request,
    served,
)
from tests.http.fetch import Fetch
from tests.http.servers import Diary, small_server

INFO = {"name": "tests", "version": "1"}


def initialize(revision: str = V2025_11, id: Any = 0) -> dict[str, Any]:
    return request(id, "initialize", {"protocolVersion": revision, "capabilities": {}, "clientInfo": INFO})


# The session's life


@pytest.mark.parametrize("revision", SESSION_REVISIONS)
async def test_a_session_of_each_revision_is_opened_used_and_ended(revision: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(revision)
        assert await session.answers()
        assert (await session.ask("ping").done()).result == {}
        assert (await session.delete()).status in (200, 202, 204)
        assert (await session.call("echo", message="x").done()).status == 404


async def test_the_session_id_is_visible_ascii_long_enough_and_never_the_same(autojump_clock):
    async with served(small_server()) as web:
        ids = [(await web.initialize()).id for _ in range(20)]
    assert len(set(ids)) == 20
    for id in ids:
        assert len(id) >= 22  # 128 bits in base 64
        assert all("\x21" <= character <= "\x7e" for character in id)


async def test_every_answer_of_the_session_names_it(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        assert (await session.call("echo", message="x").done()).headers["mcp-session-id"] == session.id
        assert (await session.call("talk").done()).headers["mcp-session-id"] == session.id
        assert (await session.listen().answered()).headers["mcp-session-id"] == session.id


async def test_an_unknown_revision_is_answered_with_the_newest_of_the_era(autojump_clock):
    async with served(small_server()) as web:
        for asked in ("2099-01-01", MODERN, "", "nonsense"):
            assert (await web.fetch(body=initialize(asked))).result["protocolVersion"] == V2025_11


@pytest.mark.parametrize("params", [{}, {"protocolVersion": 5}, {"protocolVersion": V2025_11}])
async def test_an_initialize_that_is_wrong_leaves_no_session(params: dict[str, Any], autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=request("i", "initialize", params))
        assert fetch.json["id"] == "i"
        assert fetch.error["code"] == -32602
        assert "mcp-session-id" not in fetch.headers
        await trio.testing.wait_all_tasks_blocked()
        assert not web.host.sessions


async def test_an_initialize_that_accepts_nothing_leaves_no_session(autojump_clock):
    async with served(small_server()) as web:
        assert (await web.fetch(body=initialize(), headers={"accept": "text/html"})).status == 406
        await trio.testing.wait_all_tasks_blocked()
        assert not web.host.sessions


async def test_a_second_initialize_in_a_session_is_refused_and_the_session_goes_on(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.open(body=initialize(id=5)).done()
        assert (fetch.error["code"], fetch.json["id"]) == (-32600, 5)
        assert await session.answers()


async def test_too_many_sessions_are_503_with_a_time_to_come_back(autojump_clock):
    async with served(small_server(max_sessions=2)) as web:
        first = await web.initialize()
        await web.initialize()
        fetch = await web.fetch(body=initialize(id="third"))
        assert fetch.status == 503
        assert fetch.headers["retry-after"].isdigit()
        assert fetch.json["id"] == "third"
        assert "2" in fetch.error["message"]
        await first.delete()
        await web.initialize()


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_an_unknown_session_is_404(method: str, autojump_clock):
    async with served(small_server()) as web:
        body = request("x", "tools/list") if method == "POST" else b""
        fetch = await web.fetch(method, body, headers={"mcp-session-id": "unknown"})
        assert fetch.status == 404
        assert fetch.error["code"] < 0
        assert fetch.json.get("id") == ("x" if method == "POST" else None)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_without_a_session_id_get_and_delete_are_400(method: str, autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(method)
        assert fetch.status == 400
        assert "Mcp-Session-Id" in fetch.error["message"]


async def test_a_deleted_session_is_404_for_every_method_and_a_second_delete(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        assert (await session.delete()).body == b""
        assert (await session.ask("ping").done()).status == 404
        assert (await session.notify("notifications/initialized")).status == 404
        assert (await session.respond(1, {})).status == 404
        assert (await session.listen().done()).status == 404
        assert (await session.delete()).status == 404


async def test_delete_ends_the_calls_of_that_session_and_no_others(autojump_clock):
    mine, others = Diary(), Diary()
    async with served(small_server(mine)) as web, served(small_server(others)) as other_web:
        session = await web.initialize()
        neighbour = await web.initialize()
        call = session.call("wait", seconds=100)
        alive = neighbour.call("wait", seconds=2)
        stream = session.listen()
        await stream.answered()
        await mine.reads("wait began")
        assert (await session.delete()).status == 204
        assert mine.entries[-1][0] == "wait ended"
        await call.done()
        await stream.done()
        assert stream.complete
        assert (await alive.done()).result["content"][0]["text"] == "waited 2"
        assert others.entries == []
        assert not other_web.host.calls


async def test_delete_waits_for_clean_up_no_longer_than_the_bound(autojump_clock):
    diary = Diary()
    async with served(small_server(diary, cleanup_timeout=3)) as web:
        session = await web.initialize()
        session.call("stubborn", seconds=60)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        assert (await session.delete()).status == 204
        assert trio.current_time() - before == 3
        await diary.reads("stubborn ended")


async def test_an_idle_session_ends_and_is_404_then(autojump_clock):
    async with served(small_server(session_idle=100)) as web:
        session = await web.initialize()
        await trio.sleep(99)
        assert await session.answers()
        await trio.sleep(99)
        assert (await session.ask("ping").done()).status == 200
        await trio.sleep(101)
        assert (await session.ask("ping").done()).status == 404
        assert not web.host.sessions


async def test_a_session_that_somebody_reads_is_not_idle(autojump_clock):
    async with served(small_server(session_idle=100)) as web:
        session = await web.initialize()
        stream = session.listen()
        await trio.sleep(1000)
        assert (await session.ask("ping").done()).status == 200
        stream.drop()
        await trio.sleep(101)
        assert (await session.ask("ping").done()).status == 404


# Notifications, responses, versions


async def test_notifications_and_responses_are_202_without_a_body(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for body in (
            notification("notifications/initialized"),
            notification("notifications/unheard/of", {"a": 1}),
            notification("notifications/cancelled", {"requestId": "none"}),
            notification("notifications/cancelled", {"requestId": []}),
            {"jsonrpc": "2.0", "id": 99, "result": {}},
            {"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "no"}},
        ):
            fetch = await session.open(body=body).done()
            assert (fetch.status, fetch.body, fetch.headers.get("content-type")) == (202, b"", None), body


@pytest.mark.parametrize("version", ["1999-01-01", "", "2025-11-25 ", "latest"])
async def test_an_unsupported_version_header_is_400_and_a_padded_one_is_not(version: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.ask("ping", headers={"mcp-protocol-version": version}).done()
        if version.strip() == V2025_11:
            assert fetch.status == 200
        else:
            assert fetch.status == 400
            assert V2025_11 in fetch.error["message"]
            assert "id" in fetch.json
        assert (await session.listen(headers={"mcp-protocol-version": version}).answered()).status == fetch.status


async def test_a_missing_version_header_is_let_pass(autojump_clock):
    async with served(small_server()) as web:
        for revision in SESSION_REVISIONS:
            session = await web.initialize(revision)
            assert (await session.ask("ping", headers={"mcp-protocol-version": None}).done()).status == 200


async def test_requests_before_initialize_are_refused(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=request(3, "tools/list"))
        assert (fetch.status, fetch.json["id"]) == (400, 3)


# Errors


async def test_errors_of_requests_are_200_and_echo_the_id_with_its_type(autojump_clock):
    rows: list[tuple[str, dict[str, Any] | None, int]] = [
        ("no/such/method", None, -32601),
        ("server/discover", None, -32601),  # of the other era
        ("tools/call", {"name": "nowhere"}, -32602),
        ("tools/call", {}, -32602),
        ("resources/read", {"uri": "config://gone"}, -32002),
        ("prompts/get", {"name": "nowhere"}, -32602),
        ("tools/list", {"cursor": "bad"}, -32602),
        ("logging/setLevel", {"level": "loud"}, -32602),
    ]
    async with served(small_server()) as web:
        session = await web.initialize()
        for id in ("a", 7, 0, "", 2**53):
            for method, params, code in rows:
                fetch = await session.ask(method, params, id=id).done()
                assert (fetch.status, fetch.error["code"], fetch.json["id"]) == (200, code, id), method
                assert set(fetch.json) == {"jsonrpc", "id", "error"}


async def test_an_id_that_is_in_flight_already_is_refused_and_the_first_is_answered(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        first = session.call("wait", id=1, seconds=3)
        await trio.testing.wait_all_tasks_blocked()
        second = await session.call("echo", id=1, message="x").done()
        assert (second.error["code"], second.json["id"]) == (-32600, 1)
        assert (await first.done()).result["content"][0]["text"] == "waited 3"


async def test_the_ids_1_and_the_text_1_are_two(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        one, text = session.call("wait", id=1, seconds=3), session.call("wait", id="1", seconds=2)
        assert (await text.done()).json["id"] == "1"
        assert (await one.done()).json["id"] == 1


async def test_too_many_requests_of_one_session_are_429_and_only_of_that_session(autojump_clock):
    async with served(small_server(max_requests_per_session=2)) as web:
        session = await web.initialize()
        calls = [session.call("wait", seconds=5) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        fetch = await session.call("echo", id="third", message="x").done()
        assert (fetch.status, fetch.json["id"]) == (429, "third")
        assert fetch.headers["retry-after"].isdigit()
        assert await (await web.initialize()).answers()
        for call in calls:
            assert (await call.done()).status == 200
        assert await session.answers()


async def test_a_crash_in_a_tool_stays_in_that_call(autojump_clock, caplog):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.call("fail").done()
        assert b"a secret" not in fetch.body
        assert (await session.call("fail", text="seen").done()).result["isError"] is True
        assert await session.answers()
    assert "a secret" in caplog.text


# Accept


@pytest.mark.parametrize("accept", ["text/html", "application/xml, image/*", "application/json;q=0"])
async def test_a_client_that_takes_neither_json_nor_streams_is_406(accept: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.ask("ping", headers={"accept": accept}).done()
        assert fetch.status == 406
        assert "text/event-stream" in fetch.error["message"]


@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/event-stream;q=0"])
async def test_a_get_that_takes_no_stream_is_406(accept: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        assert (await session.listen(headers={"accept": accept}).done()).status == 406


# Cancelling and dropping


async def test_a_cancelled_call_is_not_answered_and_its_finally_runs(autojump_clock):
    diary = Diary()
    async with served(small_server(diary)) as web:
        session = await web.initialize()
        call = session.call("wait", id="c", seconds=100)
        await diary.reads("wait began")
        await session.notify("notifications/cancelled", {"requestId": "c", "reason": "enough"})
        await call.done()
        assert "wait ended" in diary
        assert call.body == b""
        assert call.complete
        assert await session.answers()


async def test_a_cancelled_call_ends_its_stream_without_an_answer(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_06)
        call = session.call("talk", id="c", times=100)
        await call.hears(2)
        await session.notify("notifications/cancelled", {"requestId": "c"})
        await call.done()
        assert call.complete
        assert all("method" in message for message in call.messages)


async def test_a_dropped_connection_cancels_nothing_in_json_mode(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        session = await web.initialize()
        call = session.call("wait", seconds=5)
        began = await diary.reads("wait began")
        call.drop()
        await call.done()
        assert "wait ended" not in diary
        assert await diary.reads("wait ended") == began + 5
        assert call.late == []


async def test_the_result_of_a_dropped_stream_waits_for_the_client_to_come_back(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary), lane=lane) as web:
        session = await web.initialize(V2025_06)
        call = session.call("talk", id="t", times=3)
        await call.hears(1)
        call.drop()
        await call.done()
        assert call.late == []
        await diary.reads("talk ended")
        await trio.sleep(100)
        resumed = session.listen(call.events[-1].id)
        messages = await (await resumed.done()).hears(3)
        assert [message.get("params", {}).get("data") for message in messages] == ["talk 1", "talk 2", None]
        assert messages[-1]["id"] == "t"
        assert messages[-1]["result"]["content"][0]["text"] == "talked"


async def test_a_client_may_come_back_while_the_call_still_runs(lane: bool, autojump_clock):
    async with served(small_server(), lane=lane) as web:
        session = await web.initialize(V2025_06)
        call = session.call("talk", times=4, gap=10)
        await call.hears(2)
        call.drop()
        await call.done()
        resumed = session.listen(call.events[0].id)
        messages = await resumed.hears(1)
        assert messages[0]["params"]["data"] == "talk 1"
        await resumed.done()
        assert [m.get("params", {}).get("data") for m in resumed.messages] == ["talk 1", "talk 2", "talk 3", None]
        ids = [event.id for event in [*call.events, *resumed.events]]
        assert len(set(ids)) == len(ids) - 1  # talk 1 came twice, under one id


# Batches


async def test_a_batch_of_requests_notifications_and_errors_is_answered_with_one_array(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        batch = [
            request(1, "ping"),
            notification("notifications/initialized"),
            request("two", "tools/call", {"name": "echo", "arguments": {"message": "x"}}),
            {"jsonrpc": "1.0", "id": 3, "method": "ping"},
            17,
            request(4, "no/such"),
            {"jsonrpc": "2.0", "id": 77, "result": {}},
        ]
        fetch = await session.open(body=batch).done()
        assert fetch.status == 200
        answers = {message.get("id"): message for message in fetch.json}
        assert set(answers) == {1, "two", 3, None, 4}
        assert len(fetch.json) == 5
        assert answers[1]["result"] == {}
        assert answers["two"]["result"]["content"][0]["text"] == "x"
        assert [answers[id]["error"]["code"] for id in (3, None, 4)] == [-32600, -32600, -32601]


async def test_a_batch_of_notifications_and_responses_alone_is_202(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        batch = [notification("notifications/initialized"), {"jsonrpc": "2.0", "id": 1, "result": {}}]
        fetch = await session.open(body=batch).done()
        assert (fetch.status, fetch.body) == (202, b"")


async def test_initialize_inside_a_batch_is_refused_and_the_rest_answered(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        fetch = await session.open(body=[initialize(V2025_03, id=1), request(2, "ping")]).done()
        answers = {message["id"]: message for message in fetch.json}
        assert answers[1]["error"]["code"] == -32600
        assert answers[2]["result"] == {}


async def test_a_batch_where_something_is_said_on_the_way_becomes_a_stream(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        batch = [
            request(1, "tools/call", {"name": "talk", "arguments": {"times": 1}}),
            request(2, "tools/call", {"name": "wait", "arguments": {"seconds": 5}}),
        ]
        fetch = await session.open(body=batch).done()
        assert fetch.streams
        assert [message.get("id") for message in fetch.messages] == [None, 1, 2]


async def test_a_cancelled_member_of_a_batch_is_left_out_of_its_answer(autojump_clock):
    diary = Diary()
    async with served(small_server(diary)) as web:
        session = await web.initialize(V2025_03)
        batch = [
            request(1, "tools/call", {"name": "wait", "arguments": {"seconds": 5}}),
            request(2, "tools/call", {"name": "wait", "arguments": {"seconds": 6}}),
        ]
        call = session.open(body=batch)
        await diary.reads("wait began")
        await session.notify("notifications/cancelled", {"requestId": 1})
        assert [message["id"] for message in (await call.done()).json] == [2]


async def test_a_batch_that_is_too_long_is_400_and_nothing_of_it_is_done(autojump_clock):
    diary = Diary()
    async with served(small_server(diary, max_batch=3)) as web:
        session = await web.initialize(V2025_03)
        batch = [request(id, "tools/call", {"name": "wait", "arguments": {"seconds": 1}}) for id in range(4)]
        fetch = await session.open(body=batch).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32600)
        assert not web.host.calls
        assert "wait began" not in diary
        assert (await session.open(body=batch[:3]).done()).status == 200


@pytest.mark.parametrize("revision", [V2024, V2025_06, V2025_11])
async def test_revisions_without_batches_refuse_them(revision: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(revision)
        for batch in ([request(1, "ping")], [notification("notifications/initialized")]):
            fetch = await session.open(body=batch).done()
            assert (fetch.status, fetch.error["code"]) == (400, -32600)
        assert await session.answers()


async def test_a_batch_for_an_unknown_session_is_404(autojump_clock):
    async with served(small_server()) as web:
        fetch = await web.fetch(body=[request(1, "ping")], headers={"mcp-session-id": "unknown"})
        assert fetch.status == 404


async def test_a_batch_under_the_header_of_a_later_era_is_400(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        fetch = session.open(body=[request(1, "ping")], headers={"mcp-protocol-version": MODERN})
        assert ((await fetch.done()).status, fetch.error["code"]) == (400, -32600)


@pytest.mark.parametrize("text", [b"[]", b"[", b"[1,", b" [ { ] "])
async def test_a_batch_that_is_none_is_400_and_the_session_goes_on(text: bytes, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(V2025_03)
        fetch = await session.open(body=text).done()
        assert (fetch.status, fetch.error["code"]) == (400, -32600 if text == b"[]" else -32700)
        assert await session.answers()


# Server to client


async def test_a_question_to_the_client_goes_out_on_the_calls_own_stream(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        standing = session.listen()
        call = session.call("ask")
        asked = (await call.hears(1))[0]
        assert asked["method"] == "elicitation/create"
        answered = await session.respond(asked["id"], {"action": "accept", "content": {"name": "Ada"}})
        assert answered.status == 202
        assert (await call.done()).result["content"][0]["text"] == "accept Ada"
        assert standing.messages == []


async def test_a_question_that_is_not_answered_is_taken_back(autojump_clock):
    async with served(small_server(request_timeout=20)) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        call = session.call("ask")
        began = trio.current_time()
        await call.done()
        assert trio.current_time() - began == 20
        asked, taken_back, answer = call.messages
        assert taken_back["method"] == "notifications/cancelled"
        assert taken_back["params"]["requestId"] == asked["id"]
        assert "id" in answer
        assert (await session.respond(asked["id"], {"action": "cancel"})).status == 202
        assert await session.answers()


async def test_an_answer_posted_to_another_session_answers_nothing(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize(capabilities={"elicitation": {}})
        intruder = await web.initialize()
        call = session.call("ask")
        asked = (await call.hears(1))[0]
        assert (await intruder.respond(asked["id"], {"action": "accept", "content": {"name": "Eve"}})).status == 202
        await trio.testing.wait_all_tasks_blocked()
        assert not call.returned
        await session.respond(asked["id"], {"action": "decline"})
        assert (await call.done()).result["content"][0]["text"] == "decline None"


async def test_changes_go_to_the_standing_stream_and_to_subscribers_only(autojump_clock):
    async with served(small_server()) as web:
        subscriber, other = await web.initialize(), await web.initialize()
        streams = [subscriber.listen(), other.listen()]
        await subscriber.ask("resources/subscribe", {"uri": "config://app"}).done()
        await other.call("change", uri="config://app").done()
        await other.call("change", uri="config://else").done()
        await other.call("change").done()
        await trio.testing.wait_all_tasks_blocked()
        heard = [[message["method"] for message in stream.messages] for stream in streams]
        changed = "notifications/tools/list_changed"
        assert heard == [["notifications/resources/updated", changed], [changed]]
        await subscriber.ask("resources/unsubscribe", {"uri": "config://app"}).done()
        await other.call("change", uri="config://app").done()
        await trio.testing.wait_all_tasks_blocked()
        assert len(streams[0].messages) == 2


async def test_changes_while_nobody_reads_wait_for_the_standing_stream_once_each(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for _ in range(5):
            await session.call("change").done()
        stream = session.listen()
        await stream.hears(1)
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream.messages) == 1


# A client that stops reading


async def test_a_client_that_stops_reading_is_cut_and_the_call_lives_on(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, write_timeout=30, stream_buffer=8), lane=lane) as web:
        session = await web.initialize(V2025_06)
        call = session.call("flood", id="f", times=20)
        await call.hears(1)
        call.stall()
        began = trio.current_time()
        await call.done()
        assert trio.current_time() - began <= 30
        await diary.reads("flood ended")
        resumed = session.listen(call.events[-1].id)
        await resumed.done()
        numbers = [message["params"]["data"] for message in [*call.messages, *resumed.messages] if "method" in message]
        assert numbers == [str(number) for number in range(20)]
        assert resumed.messages[-1]["id"] == "f"


async def test_a_call_that_waits_for_a_reader_goes_on_when_that_one_leaves(lane: bool, autojump_clock):
    diary = Diary()
    async with served(small_server(diary, stream_buffer=8), lane=lane) as web:
        session = await web.initialize(V2025_06)
        call = session.call("flood", id="f", times=100)
        await call.hears(1)
        call.stall()
        await trio.sleep(5)
        assert "flood ended" not in diary
        at = trio.current_time()
        call.drop()
        assert await diary.reads("flood ended") == at
        call.go_on()
        resumed = await session.listen(call.events[-1].id).done()
        assert resumed.messages[-1]["id"] == "f"


async def test_a_json_answer_that_nobody_reads_is_given_up_after_the_write_timeout(lane: bool, autojump_clock):
    async with served(small_server(write_timeout=30), lane=lane) as web:
        session = await web.initialize()
        call = session.open(
            body=request(9, "tools/call", {"name": "echo", "arguments": {"message": "x"}}), prepare=Fetch.stall
        )
        began = trio.current_time()
        await call.done()
        assert trio.current_time() - began == 30
        assert await session.answers()
