"""One pipe carries both eras, answers whatever comes, stays bounded, and ends in time whatever its client does."""

import json
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.runtime.kit import (
    FOREVER,
    SESSION,
    Json,
    Line,
    cancelled,
    decoded,
    enveloped,
    hosted,
    initialize,
    notification,
    piped,
    request,
    serving,
    texts,
    tool_call,
)
from trio_mcp import Context, Server
from trio_mcp.protocol.errors import UNAVAILABLE
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.pipe import Pipe
from trio_mcp.transports.memory import serve_stream
from trio_mcp.wire.jsonrpc import WireError

BATCHING = [name for name, revision in REVISIONS.items() if revision.batching]
NO_BATCHING = [name for name, revision in REVISIONS.items() if not revision.batching and not revision.per_request]
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def sleeping(diary: list[str] | None = None, **settings: Any) -> Server:
    """A server with a tool that sleeps and one that talks."""
    server = serving(**settings)
    written = [] if diary is None else diary

    @server.tool
    async def sleep(seconds: float, cleanup: float = 0) -> str:
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):  # a clean-up that takes its time
                await trio.sleep(cleanup)
            written.append(f"{seconds:g} cancelled")
            raise
        return f"slept {seconds:g}"

    @server.tool
    async def talk(ctx: Context, count: int) -> str:
        for number in range(count):
            await ctx.info(number)
        return "said"

    @server.tool
    async def ask(ctx: Context) -> str:
        return str((await ctx.elicit("Name?", NAME, key="name")).content)

    return server


class Feed:
    """Messages for a pipe, and what it writes, without bytes in between."""

    def __init__(self, host: Host) -> None:
        self.written: list[Any] = []
        self.pipe = Pipe(host, self._write)
        self.stuck = False
        self._send, self.messages = trio.open_memory_channel[bytes | WireError](1000)

    async def _write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.stuck:
            await trio.sleep_forever()
        self.written += [json.loads(line) for line in data.splitlines()]

    def put(self, *messages: Json) -> None:
        for message in messages:
            decoded(message)
            self._send.send_nowait(json.dumps(message).encode())

    def end(self) -> None:
        self._send.close()


# Both eras


async def test_both_eras_are_answered_on_one_pipe_at_the_same_time(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize()
        await line.send(
            tool_call(1, "sleep", seconds=3),
            enveloped(tool_call(2, "sleep", seconds=1)),
            tool_call(3, "sleep", seconds=2),
            enveloped(request(4, "server/discover")),
        )
        answers = [await line.receive() for _ in range(4)]
        assert [answer["id"] for answer in answers] == [4, 2, 3, 1]
        assert ["resultType" in answer["result"] for answer in answers] == [True, True, False, False]
        assert len(host.sessions) == 1


async def test_no_session_is_opened_for_a_client_of_the_per_request_era(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        answer = await line.exchange(enveloped(tool_call(1, "sleep", seconds=1)))
        assert texts(answer["result"]) == ["slept 1"]
        assert not host.sessions


async def test_a_method_of_the_per_request_era_without_metadata_is_told_what_it_lacks(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        error = (await line.exchange(request(1, "server/discover")))["error"]
        assert error["code"] == -32602
        assert not host.sessions


@pytest.mark.parametrize("envelope", [enveloped, lambda message: message], ids=["per request", "session"])
async def test_a_call_is_cancelled_in_either_era_and_answers_nothing(envelope, autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary)) as host, piped(host) as line:
        await line.initialize()
        await line.send(envelope(tool_call(1, "sleep", seconds=100)), envelope(tool_call(2, "sleep", seconds=5)))
        await wait_all_tasks_blocked()
        await line.send(cancelled("1"), cancelled(77), cancelled(1), cancelled(1))
        assert texts((await line.receive())["result"]) == ["slept 5"]
        assert diary == ["100 cancelled"]
        assert trio.current_time() == 5
        await line.end()
        assert await line.rest() == []


@pytest.mark.parametrize("envelope", [enveloped, lambda message: message], ids=["per request", "session"])
async def test_an_id_may_be_used_again_while_its_cancelled_call_cleans_up_and_both_count(envelope, autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary, max_requests_per_session=2)) as host, piped(host) as line:
        await line.initialize()
        for _ in range(2):
            await line.send(envelope(tool_call(1, "sleep", seconds=100, cleanup=10)))
            await wait_all_tasks_blocked()
            await line.send(cancelled(1))
        assert (await line.exchange(envelope(tool_call(1, "sleep", seconds=1))))["error"]["code"] == 429
        await trio.sleep(10)
        assert texts((await line.exchange(envelope(tool_call(1, "sleep", seconds=1))))["result"]) == ["slept 1"]


async def test_an_id_in_flight_cannot_be_used_again(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.send(enveloped(tool_call(1, "sleep", seconds=5)))
        error = (await line.exchange(enveloped(tool_call(1, "sleep", seconds=1))))["error"]
        assert error["code"] == -32600
        assert texts((await line.receive())["result"]) == ["slept 5"]


async def test_a_session_asks_its_client_over_the_pipe(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize(capabilities={"elicitation": {}})
        question = await line.exchange(tool_call(1, "ask"))
        assert question["method"] == "elicitation/create"
        answer = {"action": "accept", "content": {"name": "Ada"}}
        response = await line.exchange({"jsonrpc": "2.0", "id": question["id"], "result": answer})
        assert "Ada" in texts(response["result"])[0]


async def test_a_per_request_client_is_asked_in_the_answer(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        message = enveloped(tool_call(1, "ask"), capabilities={"elicitation": {}})
        result = (await line.exchange(message))["result"]
        assert result["resultType"] == "input_required"
        message["params"] |= {
            "requestState": result["requestState"],
            "inputResponses": {"name": {"action": "accept", "content": {"name": "Ada"}}},
        }
        assert "Ada" in texts((await line.exchange(message))["result"])[0]


async def test_a_bad_state_is_answered_and_the_pipe_goes_on(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        message = enveloped(tool_call(1, "ask"), capabilities={"elicitation": {}})
        message["params"]["requestState"] = "nonsense"
        assert (await line.exchange(message))["error"]["code"] == -32602
        assert "result" in await line.exchange(enveloped(request(2, "tools/list")))


async def test_changes_reach_the_session_of_a_pipe_and_its_subscriptions(autojump_clock):
    server = sleeping()
    async with hosted(server) as host, piped(host) as line:
        await line.initialize()
        await line.send(
            enveloped(request("sub", "subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        )
        assert (await line.receive())["method"] == "notifications/subscriptions/acknowledged"
        server.remove_tool("sleep")
        heard = [await line.receive() for _ in range(2)]
        assert {message["method"] for message in heard} == {"notifications/tools/list_changed"}
        assert ["_meta" in message.get("params", {}) for message in heard].count(True) == 1
        await line.send(cancelled("sub"))
        await wait_all_tasks_blocked()
        server.remove_tool("talk")
        assert "params" not in await line.receive()
        await line.end()
        assert await line.rest() == []


async def test_a_session_that_was_refused_is_answered_with_the_reason(autojump_clock):
    async with hosted(sleeping(max_sessions=1)) as host, piped(host) as first, piped(host) as second:
        await first.initialize()
        response = await second.exchange(initialize(7))
        assert (response["id"], response["error"]["code"]) == (7, 503)
        assert "result" in await second.exchange(enveloped(request(8, "tools/list")))


async def test_a_pipe_goes_on_when_its_session_was_ended(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize()
        [session] = host.sessions.values()
        await host.end_session(session, "somebody ended it")
        assert (await line.exchange(request(1, "ping")))["error"]["code"] == -32600
        assert "result" in await line.exchange(enveloped(request(2, "tools/list")))


# What is no message


@pytest.mark.parametrize(
    ("bad", "code", "id"),
    [
        (b"nonsense", -32700, None),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping"', -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 10_000, -32700, None),
        (b'{"a":' * 100 + b"1" + b"}" * 100, -32700, None),
        (b"{}", -32600, None),
        (b"7", -32600, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc": "1.0", "id": 5, "method": "ping"}', -32600, 5),
        (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": []}', -32602, 5),
    ],
)
@pytest.mark.parametrize("handshake", [False, True])
async def test_whatever_is_no_message_is_answered_and_the_pipe_goes_on(handshake, bad, code, id, autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        if handshake:
            await line.initialize()
        response = await line.exchange(bad + b"\n")
        assert response["error"]["code"] == code
        assert response.get("id") == id
        await line.send(b"\n", b"  \r\n")
        assert "result" in await line.exchange(enveloped(request(9, "tools/list")))


async def test_a_line_that_is_too_long_is_answered_and_skipped(autojump_clock):
    async with hosted(sleeping(max_body=1000)) as host, piped(host) as line:
        for size in (1001, 5000, 300_000):
            message = json.dumps(request(1, "ping", {"pad": "x" * size})).encode() + b"\n"
            assert (await line.exchange(message))["error"]["code"] == -32600
            assert "result" in await line.exchange(enveloped(request(2, "tools/list")))


async def test_notifications_and_answers_out_of_the_blue_are_ignored(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        blue = (
            notification("notifications/initialized"),
            notification("notifications/unknown", {"a": 1}),
            notification("notifications/cancelled", {"requestId": {"no": "id"}}),
            notification("notifications/cancelled"),
            {"jsonrpc": "2.0", "id": 1, "result": {}},
            {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}},
        )
        await line.send(*blue)
        await line.initialize()
        await line.send(*blue)
        assert (await line.exchange(request(2, "ping")))["result"] == {}


# Batches


@pytest.mark.parametrize("revision", BATCHING)
async def test_a_batch_is_answered_as_a_batch_and_its_notifications_are_not(revision, autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize(revision)
        batch = [
            tool_call(1, "sleep", seconds=2),
            notification("whatever"),
            {"jsonrpc": "2.0", "id": 3, "result": {}},
            tool_call("two", "sleep", seconds=1),
            request(4, "no/such"),
            {"id": 5},
        ]
        answers = await line.exchange(batch)
        assert sorted(str(answer.get("id")) for answer in answers) == ["1", "4", "5", "two"]
        await line.send([notification("whatever"), notification("another")])
        assert (await line.exchange(request(6, "ping")))["id"] == 6


@pytest.mark.parametrize("revision", BATCHING)
async def test_what_calls_of_a_batch_say_on_their_way_goes_out_at_once(revision, autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize(revision)
        await line.send([tool_call(1, "talk", count=2), tool_call(2, "sleep", seconds=1)])
        assert [(await line.receive())["params"]["data"] for _ in range(2)] == [0, 1]
        assert {answer["id"] for answer in await line.receive()} == {1, 2}


@pytest.mark.parametrize("revision", BATCHING)
async def test_cancelled_calls_are_missing_from_a_batch_and_an_empty_batch_is_not_sent(revision, autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.initialize(revision)
        await line.send([tool_call(1, "sleep", seconds=50), tool_call(2, "sleep", seconds=5)])
        await wait_all_tasks_blocked()
        await line.send(cancelled(1))
        assert [answer["id"] for answer in await line.receive()] == [2]
        await line.send([tool_call(3, "sleep", seconds=50)])
        await wait_all_tasks_blocked()
        await line.send(cancelled(3))
        assert (await line.exchange(request(6, "ping")))["id"] == 6


@pytest.mark.parametrize("revision", BATCHING)
async def test_a_batch_above_the_bound_is_refused_whole(revision, autojump_clock):
    async with hosted(sleeping(max_batch=3)) as host, piped(host) as line:
        await line.initialize(revision)
        assert len(await line.exchange([request(number, "ping") for number in range(3)])) == 3
        assert (await line.exchange([request(number, "ping") for number in range(4)]))["error"]["code"] == -32600


@pytest.mark.parametrize("revision", NO_BATCHING)
async def test_other_revisions_have_no_batches(revision, autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        assert (await line.exchange([initialize(1, revision)]))["error"]["code"] == -32600
        await line.initialize(revision)
        response = await line.exchange([request(1, "ping")])
        assert response["error"]["code"] == -32600
        assert "id" not in response
        assert (await line.exchange(request(2, "ping")))["result"] == {}


# Backpressure


@pytest.mark.parametrize("message", [b"nonsense\n", json.dumps(request(1, "ping")).encode() + b"\n"])
async def test_a_client_that_does_not_read_its_answers_is_not_listened_to_for_ever(message, autojump_clock):
    async with hosted(sleeping(stream_buffer=8)) as host:
        feed = Feed(host)
        feed.stuck = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(*(request(number, "ping") for number in range(500)))
            await wait_all_tasks_blocked()
            assert len(feed.pipe._outlet) <= 8
            assert feed.messages.statistics().current_buffer_used > 400
            nursery.cancel_scope.cancel()


async def test_a_client_that_reads_slowly_gets_everything_in_the_end(autojump_clock):
    async with hosted(sleeping(stream_buffer=4)) as host:
        feed = Feed(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(initialize(), *(tool_call(number, "talk", count=20) for number in range(5)))
            feed.put(*(request(f"ping {number}", "ping") for number in range(100)))
            feed.end()
        assert len(feed.written) == 1 + 5 * 21 + 100


async def test_a_tool_that_talks_waits_for_a_client_that_does_not_read_and_can_be_cancelled(autojump_clock):
    async with hosted(sleeping(stream_buffer=4)) as host:
        feed = Feed(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(initialize())
            await wait_all_tasks_blocked()
            feed.stuck = True
            feed.put(tool_call(1, "talk", count=100))
            await wait_all_tasks_blocked()
            assert len(feed.pipe._outlet) == 4
            feed.end()
        assert not host.calls
        assert not host.sessions


# The end


@pytest.mark.parametrize("handshake", [False, True])
async def test_what_was_asked_before_the_end_of_input_is_answered(handshake, autojump_clock):
    async with hosted(sleeping(eof_grace=2)) as host:
        ours, theirs = memory_stream_pair()
        line = Line(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stream, host, theirs)
            if handshake:
                await line.send(initialize())
            await line.send(*(enveloped(tool_call(number, "sleep", seconds=number)) for number in range(2)))
            if handshake:
                await line.send(tool_call(5, "sleep", seconds=1), request(6, "ping"))
            await line.end()
            answers = await line.rest()
        assert {answer["id"] for answer in answers} == {0, 1} | ({"init", 5, 6} if handshake else set())
        assert trio.current_time() == 1
        assert not host.sessions


@pytest.mark.parametrize("envelope", [enveloped, lambda message: message], ids=["per request", "session"])
async def test_calls_that_take_too_long_after_the_end_of_input_are_cancelled(envelope, autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary, eof_grace=2)) as host:
        async with piped(host) as line:
            await line.initialize()
            await line.send(envelope(tool_call(1, "sleep", seconds=100, cleanup=1)))
            await wait_all_tasks_blocked()
        assert trio.current_time() == 3
        assert line.ended
        assert diary == ["100 cancelled"]
        assert not host.sessions
        assert not host.calls


async def test_the_last_line_needs_no_newline(autojump_clock):
    async with hosted(sleeping()) as host, piped(host) as line:
        await line.send(json.dumps(enveloped(request(1, "tools/list"))).encode())
        await line.end()
        [response] = await line.rest()
        assert response["id"] == 1


async def test_a_subscription_ends_gracefully_at_the_end_of_input_even_one_just_asked_for(autojump_clock):
    async with hosted(sleeping(eof_grace=2)) as host, piped(host) as line:
        await line.send(enveloped(request(1, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})))
        await wait_all_tasks_blocked()
        await line.send(enveloped(request(2, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})))
        await line.end()
        messages = await line.rest()
        assert sorted(message["id"] for message in messages if "result" in message) == [1, 2]
        assert trio.current_time() == 0


async def test_a_stop_ends_the_pipe_like_the_end_of_input(autojump_clock):
    diary: list[str] = []
    stop = trio.Event()
    async with hosted(sleeping(diary, eof_grace=2)) as host:
        feed = Feed(host)
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await feed.pipe.run(feed.messages, stop=stop)
                diary.append(f"ended at {trio.current_time():g}")

            nursery.start_soon(run)
            feed.put(initialize(), tool_call(1, "sleep", seconds=1), tool_call(2, "sleep", seconds=100))
            await wait_all_tasks_blocked()
            stop.set()
        assert diary == ["100 cancelled", "ended at 2"]
        assert [message["id"] for message in feed.written] == ["init", 1, 2]
        assert feed.written[-1]["error"]["code"] == UNAVAILABLE


async def test_a_stop_before_the_beginning_ends_it_at_once(autojump_clock):
    stop = trio.Event()
    stop.set()
    async with hosted(sleeping()) as host:
        feed = Feed(host)
        await feed.pipe.run(feed.messages, stop=stop)
        assert trio.current_time() == 0


async def test_a_client_that_does_not_read_holds_the_end_only_for_the_bound(autojump_clock):
    async with hosted(sleeping(eof_grace=2, cleanup_timeout=3)) as host:
        feed = Feed(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(initialize(), tool_call(1, "talk", count=1000))
            feed.stuck = True
            await wait_all_tasks_blocked()
            feed.end()
        assert trio.current_time() <= 2 + 3
        assert not host.calls


async def test_a_stop_is_heard_while_the_client_does_not_read(autojump_clock):
    stop = trio.Event()
    async with hosted(sleeping(stream_buffer=2, eof_grace=2, cleanup_timeout=3)) as host:
        feed = Feed(host)
        feed.stuck = True
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await feed.pipe.run(feed.messages, stop=stop)

            nursery.start_soon(run)
            feed.put(*(request(number, "ping") for number in range(100)))
            await wait_all_tasks_blocked()
            stop.set()
        assert trio.current_time() <= 2 + 3


@pytest.mark.parametrize("error", [trio.BrokenResourceError, trio.ClosedResourceError])
async def test_a_client_that_is_gone_ends_everything_on_the_pipe_at_once(error, autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary)) as host:
        feed = Feed(host)

        async def write(data: bytes) -> None:
            raise error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(initialize())
            await wait_all_tasks_blocked()
            feed.put(tool_call(1, "sleep", seconds=100), enveloped(tool_call(2, "sleep", seconds=100)))
            await wait_all_tasks_blocked()
            feed.pipe._write = write
            feed.put(request(3, "ping"), request(4, "ping"))
        assert trio.current_time() == 0
        assert diary == ["100 cancelled", "100 cancelled"]
        assert not host.calls
        assert not host.sessions


@pytest.mark.parametrize("envelope", [enveloped, lambda message: message], ids=["per request", "session"])
async def test_when_a_cancelled_pipe_is_over_no_call_of_it_is_left(envelope, autojump_clock):
    diary: list[str] = []
    async with hosted(sleeping(diary)) as host:
        feed = Feed(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.pipe.run, feed.messages)
            feed.put(initialize(), envelope(tool_call(1, "sleep", seconds=100, cleanup=1)))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert diary == ["100 cancelled"]
        assert not host.calls
        assert not host.sessions


async def test_a_session_stuck_in_its_clean_up_holds_the_pipe_only_for_the_bound(autojump_clock):
    async with hosted(sleeping(eof_grace=2, cleanup_timeout=3)) as host:
        async with piped(host) as line:
            await line.initialize()
            await line.send(tool_call(1, "sleep", seconds=100, cleanup=1000))
            await wait_all_tasks_blocked()
        assert trio.current_time() == 2 + 3


async def test_the_session_of_a_pipe_has_no_id_for_the_client_and_is_found_by_nobody_else(autojump_clock):
    server = sleeping()

    @server.tool
    async def who(ctx: Context) -> str:
        return f"{ctx.session_id} {ctx.revision.version}"

    async with hosted(server) as host, piped(host) as line:
        await line.initialize()
        assert texts((await line.exchange(tool_call(1, "who")))["result"]) == [f"None {SESSION}"]


async def test_many_pipes_are_served_by_one_host(autojump_clock):
    server = sleeping()
    async with hosted(server) as host:
        with trio.fail_after(FOREVER):
            async with piped(host) as first, piped(host) as second:
                await first.initialize()
                await second.initialize()
                await first.send(tool_call(1, "sleep", seconds=2))
                await second.send(tool_call(1, "sleep", seconds=1))
                assert texts((await second.receive())["result"]) == ["slept 1"]
                assert texts((await first.receive())["result"]) == ["slept 2"]
        assert not host.sessions
