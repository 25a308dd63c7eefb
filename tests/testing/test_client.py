"""The client of the simulation kit against the whole server: each transport in each era, and servers that do wrong."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.http.servers import Diary
from tests.testing.client_kit import (
    APP,
    PER_REQUEST,
    SESSION,
    WAIT,
    Script,
    accepting,
    asked,
    both_eras,
    everywhere,
    full_server,
    housed,
    http,
    text_of,
    tool,
)
from trio_mcp.protocol.errors import McpError
from trio_mcp.protocol.revisions import V2025_03_26, Revision
from trio_mcp.testing.client import Client, ConnectionLostError, RefusedError, RequestCancelledError
from trio_mcp.wire.jsonrpc import encode_result


def cut(client: Client, how: str) -> None:
    {"disconnect": client.disconnect, "abort": client.abort, "freeze": client.freeze}[how]()


# The methods


@everywhere
async def test_every_revision_calls_a_tool_on_every_transport(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        assert client.revision is revision
        assert client.server_info is not None
        assert client.server_info.name == "small"
        assert text_of(await client.call_tool("echo", {"message": "hé\n"})) == "hé\n"
        assert [one.id for one in client.requests] == list(range(1, len(client.requests) + 1))
        assert all(one.sent and one.answers == 1 for one in client.requests)


@both_eras
async def test_the_other_methods_give_what_the_server_has(transport: str, revision: Revision, autojump_clock):
    server = full_server()
    server.page_size = 3
    async with housed(server) as house, house.connected(transport, revision) as client:
        assert [tool.name for tool in await client.list_tools()] == list(server.tools)
        assert [resource.uri for resource in await client.list_resources()] == [APP]
        assert await client.list_resource_templates() == []
        assert [prompt.name for prompt in await client.list_prompts()] == ["review"]
        assert [contents.text for contents in await client.read_resource(APP)] == ["on"]
        assert "Review it" in repr(await client.get_prompt("review", {"code": "it"}))
        ref = {"type": "ref/prompt", "name": "review"}
        assert (await client.complete(ref, "code", "a", context={"b": "c"})).values == ["ax", "ay"]
        if not revision.per_request:
            await client.ping()


async def test_arguments_that_a_tool_wants_in_headers_are_there_once_it_was_listed(autojump_clock):
    async with housed() as house, house.connected("http", PER_REQUEST) as client:
        with pytest.raises(McpError, match="Mcp-Param-Region is missing"):
            await client.call_tool("routed", {"region": "süd"})
        await client.list_tools()
        assert text_of(await client.call_tool("routed", {"region": "süd"})) == "süd"
        assert text_of(await client.call_tool("routed")) == "None"


@both_eras
async def test_progress_and_logs_come_before_the_answer(transport: str, revision: Revision, autojump_clock):
    seen: list[Any] = []
    async with housed() as house, house.connected(transport, revision) as client:
        await client.call_tool("step", {"times": 3}, progress=lambda *said: seen.append(said))
        assert seen == [(0, 3, None), (1, 3, None), (2, 3, None)]
        await client.call_tool("talk", log_level="warning")
        for number in range(2):
            assert (await client.receive())["params"]["data"] == f"talk {number}"
        await client.set_log_level("error")
        await client.call_tool("talk")
        assert len(client.notifications) == 5


@both_eras
async def test_questions_of_the_server_are_answered(transport: str, revision: Revision, autojump_clock):
    async def sample(params: Any) -> Any:
        await trio.sleep(1)
        return {"role": "assistant", "content": {"type": "text", "text": "said"}, "model": "none"}

    def elicit(params: Any) -> Any:
        return accepting(params["message"])(params)

    answers = {
        "elicitation/create": elicit,
        "sampling/createMessage": sample,
        "roots/list": lambda _: {"roots": [{"uri": "file:///x"}]},
    }
    async with housed() as house, house.connected(transport, revision, answers=answers) as client:
        assert text_of(await client.call_tool("ask")) == "accept Who are you?"
        assert text_of(await client.call_tool("ask_twice")) == "One? Two?"
        assert text_of(await client.call_tool("imagine")) == "said at file:///x"
        assert not client.unasked


@both_eras
async def test_a_question_without_an_answer_is_answered_with_method_not_found(
    transport: str, revision: Revision, autojump_clock
):
    def refuse(params: Any) -> Any:
        raise McpError(-1, "no")

    async with housed() as house:
        async with house.connected(transport, revision, capabilities={"elicitation": {}}) as client:
            with pytest.raises(McpError) as caught:
                await client.call_tool("ask")
            assert caught.value.code == -32601
            if not revision.per_request:
                assert (await client.receive())["method"] == "elicitation/create"
        async with house.connected(transport, revision, answers={"elicitation/create": refuse}) as client:
            with pytest.raises(McpError, match="no"):
                await client.call_tool("ask")


async def test_an_answer_that_is_not_wanted_any_more_is_given_up(autojump_clock):
    diary = Diary()

    async def think(params: Any) -> Any:
        diary.write("asked")
        try:
            await trio.sleep_forever()
        finally:
            diary.write("given up")

    async with housed() as house, house.connected("memory", answers={"elicitation/create": think}) as client:
        pending = client.begin("tools/call", tool("ask"))
        await diary.reads("asked")
        await pending.cancel()
        await diary.reads("given up")


@both_eras
async def test_changes_are_heard_by_who_listens(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        async with client.listen(prompts=False, uris=[APP]) as listening:
            await client.call_tool("change")
            assert (await listening.receive())["method"] == "notifications/tools/list_changed"
            await client.call_tool("change", {"uri": APP})
            assert (await listening.receive())["params"]["uri"] == APP
            await client.call_tool("change", {"uri": "config://other"})
            await wait_all_tasks_blocked()
            with trio.move_on_after(1):
                await listening.receive()
                raise AssertionError("nobody wanted to hear that")
        await client.call_tool("change")


@pytest.mark.parametrize("transport", ["http", "sse", "notifications", "websocket", "memory", "stdio"])
async def test_a_subscription_of_the_session_era_can_be_ended(transport: str, autojump_clock):
    async with (
        housed() as house,
        house.connected(transport) as client,
        client.listen(uris=[APP]) as listening,
    ):
        await client.unsubscribe(APP)
        await client.call_tool("change", {"uri": APP})
        await client.call_tool("change")
        assert (await listening.receive())["method"] == "notifications/tools/list_changed"


@both_eras
async def test_errors_come_with_their_code(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        with pytest.raises(McpError) as caught:
            await client.request("no/such")
        assert caught.value.code == -32601
        with pytest.raises(McpError) as caught:
            await client.read_resource("config://none")
        assert caught.value.code == revision.resource_not_found_code
        assert (await client.call_tool("fail", {"text": "oh"})).is_error


# Cancelling


@both_eras
async def test_a_cancelled_request_ends_at_both_sides(transport: str, revision: Revision, autojump_clock):
    diary = Diary()
    async with housed(full_server(diary)) as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", WAIT)
        await diary.reads("wait began")
        await pending.cancel("enough")
        with pytest.raises(RequestCancelledError, match="enough"):
            await pending.result()
        assert await diary.reads("wait ended") < 50
        assert asked(client, "tools/call").cancelled
        await pending.cancel()
        await pending.resume()
        assert text_of(await client.call_tool("echo", {"message": "on"})) == "on"
        assert not client.unasked


@both_eras
async def test_a_request_is_cancelled_with_whoever_waits_for_it(transport: str, revision: Revision, autojump_clock):
    diary = Diary()
    async with housed(full_server(diary)) as house, house.connected(transport, revision) as client:
        with trio.move_on_after(3) as scope:
            await client.request("tools/call", WAIT)
        assert scope.cancelled_caught
        assert await diary.reads("wait ended") == await diary.reads("wait began") + 3


@both_eras
async def test_a_request_may_be_cancelled_before_it_is_out(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", WAIT)
        pending.cancel_soon("at once")
        with pytest.raises(RequestCancelledError):
            await pending.result()
        pending = client.begin("tools/call", WAIT)
        await pending.cancel("at once")
        assert text_of(await client.call_tool("echo", {"message": "on"})) == "on"


# As it stands


@both_eras
async def test_what_is_sent_as_it_stands_is_answered_in_the_inbox(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": "raw", "method": "tools/list"}
        if revision.per_request:
            message["params"] = {"_meta": client._talk.envelope()}
        await client.send(message)
        answer = await client.receive()
        assert answer["id"] == "raw"
        assert answer["result"]["tools"]
        await client.send(b'{"jsonrpc": "2.0", "id": 77}')
        if transport == "sse" or transport == "notifications":
            with pytest.raises(McpError):
                await client.receive()
        else:
            assert (await client.receive())["error"]["code"] == -32600
        assert not client.unasked
        assert "raw" not in [one.id for one in client.requests]


async def test_a_stream_that_answers_what_was_sent_as_it_stands_is_read(autojump_clock):
    async with housed() as house, house.connected() as client:
        call = {"jsonrpc": "2.0", "id": "raw", "method": "tools/call", "params": tool("talk", times=2)}
        await client.send(call)
        assert [(await client.receive()).get("id") for _ in range(3)] == [None, None, "raw"]
        assert [len(ids) for ids in client.streams] == [4]
        await client.send({**call, "id": "other"})
        await client.receive()
        client.abort()
        with pytest.raises(ConnectionLostError):
            await client.receive()


async def test_a_batch_is_sent_as_it_stands(autojump_clock):
    async with housed() as house:
        for transport in ("http", "memory", "sse"):
            async with house.connected(transport, V2025_03_26) as client:
                pings = [f'{{"jsonrpc":"2.0","id":"{name}","method":"ping"}}' for name in "ab"]
                await client.send(f"[{','.join(pings)}]".encode())
                assert [(await client.receive())["id"] for _ in pings] == ["a", "b"]


async def test_a_status_without_words_is_a_refusal(autojump_clock):
    async with housed() as house:
        client = house.client("http", PER_REQUEST, url="http://127.0.0.1:8000/nowhere/mcp")
        with pytest.raises(RefusedError) as caught:
            async with client.running():
                raise AssertionError("there is no such path")
        assert caught.value.status == 404
        assert b"Not Found" in caught.value.body
        for transport in ("sse", "notifications", "websocket"):
            client = house.client(transport, SESSION, url="http://127.0.0.1:8000/nowhere/mcp")
            with pytest.raises(RefusedError) as caught:
                async with client.running():
                    raise AssertionError("there is no such path")
            assert caught.value.status == 404


async def test_a_status_without_words_comes_to_who_sent_as_it_stands(autojump_clock):
    async with housed() as house:
        client = house.client("http", url="http://127.0.0.1:8000/mcp/nowhere")
        talk = client._talk
        async with trio.open_nursery() as nursery:
            talk.enter(nursery)
            await client.send(b"{}")
            with pytest.raises(RefusedError, match="404 Not Found"):
                await client.receive()
            nursery.cancel_scope.cancel()


# Servers that do not do as they should


async def test_answers_that_nobody_asked_for_are_kept(autojump_clock):
    script = Script("memory", SESSION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script.welcome)
        async with script.client.running() as client:
            pending = client.begin("ping")
            for id in (pending.id, pending.id, 99, "x"):
                await script.say(encode_result(id, {}) + b"\n\n")
            await pending.result()
            await script.say(b'{"jsonrpc":"2.0","error":{"code":-1,"message":"?"}}\n')
            await wait_all_tasks_blocked()
            assert [message.get("id") for message in client.unasked] == [pending.id, 99, "x", None]
            assert client.requests[-1].answers == 2
            await script.stream.aclose()


@pytest.mark.parametrize("said", [b"nonsense", b"[1", b'{"jsonrpc":"2.0"}', b"\xff", b'[{"jsonrpc":"2.0","id":1}]'])
async def test_what_is_no_message_ends_the_connection(said: bytes, autojump_clock):
    script = Script("memory", SESSION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script.welcome)
        async with script.client.running() as client:
            pending = client.begin("ping")
            await script.hear()
            await script.say(said + b"\n")
            with pytest.raises(ConnectionLostError, match="the server sent what is no"):
                await pending.result()
            assert await script.hear() == b""


async def test_a_result_that_is_no_object_is_an_error(autojump_clock):
    script = Script("memory", SESSION)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(script.welcome)
        async with script.client.running() as client:
            pending = client.begin("ping")
            await script.say(encode_result(pending.id, [1]) + b"\n")
            with pytest.raises(McpError, match="no object"):
                await pending.result()
            await script.stream.aclose()


async def test_the_revision_that_a_server_chooses_is_spoken(autojump_clock):
    for version, chosen in ((V2025_03_26.version, V2025_03_26), (PER_REQUEST.version, None), ("next", None)):
        script = Script("memory", SESSION)

        async def answer(script: Script = script, version: str = version) -> None:
            await script.accept()
            await script.hear()
            await script.say(encode_result(1, {"protocolVersion": version}) + b"\n")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            if chosen is None:
                with pytest.raises(McpError, match="was answered with"):
                    async with script.client.running():
                        raise AssertionError("there is no agreement")
            else:
                async with script.client.running() as client:
                    assert client.revision is chosen
                    assert client.server_info is None
                    await script.stream.aclose()


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (http(200, b"<html>"), 200),
        (http(202), 202),
        (http(200, b'{"jsonrpc":"2.0","id":9,"result":{}}'), 200),
        (http(429, b"slowly", "text/plain"), 429),
    ],
)
async def test_a_reply_without_the_answer_is_a_refusal(reply: bytes, status: int, autojump_clock):
    script = Script("http", PER_REQUEST)

    async def answer() -> None:
        await script.accept()
        await script.hear()
        await script.say(reply)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(RefusedError) as caught:
            async with script.client.running():
                raise AssertionError("there was no answer")
    assert caught.value.status == status
    assert script.client.requests[0].refused == status


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (b"", "closed before an answer"),
        (http(200, b"{}")[:-1], "in the middle of the answer"),
        (b"SSH-2.0\r\n\r\n", "no valid HTTP"),
        (http(200, b"data: {}\n\n", "text/event-stream"), "the server sent what is no message"),
        (http(200, b": nothing\n\n", "text/event-stream"), "ended without an answer"),
    ],
)
async def test_a_reply_that_breaks_off_is_a_loss(reply: bytes, how: str, autojump_clock):
    script = Script("http", PER_REQUEST)

    async def answer() -> None:
        await script.accept()
        await script.hear()
        await script.say(reply)
        await script.stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(ConnectionLostError, match=how):
            async with script.client.running():
                raise AssertionError("there was no answer")


async def test_listening_raises_what_keeps_it_from_that(autojump_clock):
    async with housed() as house, house.connected() as client:
        await client.end_session()
        with pytest.raises(RefusedError):
            async with client.listen():
                raise AssertionError("there is no session")
    async with housed() as house, house.connected("http", PER_REQUEST) as client:
        with pytest.raises(McpError):
            async with client.listen(uris=[1]):  # type: ignore[list-item]
                raise AssertionError("that is no URI")
