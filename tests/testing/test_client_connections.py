"""The connections of the simulation kit's client: every way to lose one, to come back, and to say goodbye."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.testing.client_kit import (
    BOTH_ERAS,
    PER_REQUEST,
    WAIT,
    House,
    accepting,
    asked,
    both_eras,
    full_server,
    housed,
    text_of,
    tool,
)
from trio_mcp.protocol.errors import McpError
from trio_mcp.protocol.revisions import V2024_11_05, V2025_06_18, Revision
from trio_mcp.testing.client import Client, ConnectionLostError, RefusedError, make_client
from trio_mcp.testing.network import Conditions
from trio_mcp.testing.simulation import Outcome, simulate


def cut(client: Client, how: str) -> None:
    {"disconnect": client.disconnect, "abort": client.abort, "freeze": client.freeze}[how]()


# Losing the connection


@pytest.mark.parametrize("how", ["disconnect", "abort", "freeze"])
@both_eras
async def test_a_lost_connection_ends_every_wait_at_once(transport: str, revision: Revision, how: str, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        pendings = [client.begin("tools/call", WAIT) for _ in range(2)]
        async with client.listen() as listening:
            await trio.sleep(1)
            cut(client, how)
            for wait in (pendings[0].result, pendings[1].result, listening.receive):
                with pytest.raises(ConnectionLostError):
                    await wait()
            assert trio.current_time() < 2
        assert [one.lost for one in client.requests if one.method == "tools/call"] == [True, True]
        if transport != "http":
            with pytest.raises(ConnectionLostError):
                await client.call_tool("echo", {"message": "x"})
            with pytest.raises(ConnectionLostError):
                await client.notify("notifications/initialized")
            with pytest.raises(ConnectionLostError):
                await client.receive()
            with pytest.raises(ConnectionLostError):
                async with client.listen():
                    raise AssertionError("there is nothing to listen to")
        else:
            assert text_of(await client.call_tool("echo", {"message": "again"})) == "again"


@both_eras
async def test_a_server_that_goes_away_ends_every_wait(transport: str, revision: Revision, autojump_clock):
    async with housed(full_server(shutdown_grace=1)) as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", WAIT)
        await trio.sleep(1)
        house.served.begin_shutdown()
        with pytest.raises((ConnectionLostError, McpError)):
            await pending.result()
        assert trio.current_time() < 20


@both_eras
async def test_a_server_that_drains_refuses_what_is_new(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        running = client.begin("tools/call", tool("wait", seconds=2))
        await trio.sleep(1)
        house.served.begin_shutdown()
        await trio.sleep(0.1)
        if transport in ("http", "sse", "notifications", "websocket"):
            with pytest.raises((McpError, ConnectionLostError)):  # one that needs a new connection finds none
                await client.call_tool("echo", {"message": "x"})
            assert (await running.result())["content"][0]["text"] == "waited 2"


async def test_a_request_goes_out_once_though_its_connection_was_closed_meanwhile(autojump_clock):
    async with housed(full_server(idle_timeout=10)) as house, house.connected() as client:
        await client.ping()
        await trio.sleep(60)
        await client.ping()
        assert all(one.answers == 1 for one in client.requests)


async def test_without_a_server_there_is_no_connection(autojump_clock):
    async def refuse() -> Any:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError(111, "nobody is there")

    for transport, revision in BOTH_ERAS:
        with pytest.raises(ConnectionLostError, match="nobody is there"):
            async with make_client(transport, revision, refuse).running():  # type: ignore[arg-type]
                raise AssertionError("it is not connected")


@both_eras
async def test_a_client_that_stalls_gets_everything_once_it_goes_on(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", tool("step", times=50, gap=0.1), progress=lambda *_: None)
        await trio.sleep(1)
        before = len(client.notifications)
        client.stall()
        await trio.sleep(2)
        assert len(client.notifications) <= before + 1
        client.go_on()
        await pending.result()
        assert len(client.notifications) == 50


@both_eras
async def test_who_sends_no_more_still_gets_its_answer(transport: str, revision: Revision, autojump_clock):
    async with housed(full_server(eof_grace=10)) as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", tool("wait", seconds=1))
        await trio.sleep(0.5)
        client.half_close()
        if transport == "websocket":  # a handshake of closing is missing, so the server takes it for a loss
            with pytest.raises(ConnectionLostError):
                await pending.result()
        else:
            assert (await pending.result())["content"][0]["text"] == "waited 1"


# Coming back


@pytest.mark.parametrize("how", ["disconnect", "abort", "freeze"])
async def test_a_lost_stream_is_resumed_without_a_gap(how: str, autojump_clock):
    async with housed() as house, house.connected() as client:
        pending = client.begin("tools/call", tool("talk", times=5))
        await trio.sleep(2.5)
        cut(client, how)
        with pytest.raises(ConnectionLostError):
            await pending.result()
        await trio.sleep(1)
        await pending.resume()
        assert (await pending.result())["content"][0]["text"] == "talked"
        assert pending.last_event_id == pending.event_ids[-1]
        assert client.streams == [pending.event_ids]
        assert len(pending.event_ids) == 1 + 5 + 1
        assert len(client.notifications) == 5
        record = asked(client, "tools/call")
        assert (record.lost, record.answers) == (True, 1)
        await pending.resume()


async def test_a_stream_is_resumed_after_its_answer_was_missed(autojump_clock):
    async with housed() as house, house.connected(revision=V2025_06_18) as client:
        pending = client.begin("tools/call", tool("talk", times=2))
        await trio.sleep(0.5)
        client.disconnect()
        await trio.sleep(100)
        await pending.resume()
        assert (await pending.result())["content"][0]["text"] == "talked"


async def test_a_second_reader_takes_the_stream_over(autojump_clock):
    async with housed() as house, house.connected() as client:
        pending = client.begin("tools/call", tool("talk", times=4))
        await trio.sleep(1.5)
        await pending.resume()
        assert (await pending.result())["content"][0]["text"] == "talked"
        assert not asked(client, "tools/call").lost
        assert len(client.notifications) == 4


async def test_a_stream_that_the_server_parts_with_is_come_back_to(autojump_clock):
    async with housed() as house, house.connected() as client:
        began = trio.current_time()
        pending = client.begin("tools/call", tool("poll", seconds=5))
        assert (await pending.result())["content"][0]["text"] == "polled"
        assert trio.current_time() - began == 5
        assert len(pending.event_ids) == 3
        assert client.streams == [pending.event_ids]
        assert not asked(client, "tools/call").lost


@both_eras
async def test_what_cannot_be_resumed_says_so(transport: str, revision: Revision, autojump_clock):
    async with housed() as house, house.connected(transport, revision) as client:
        pending = client.begin("tools/call", WAIT)
        await trio.sleep(1)
        client.abort()
        if transport == "notifications":
            await pending.resume()
            return
        with pytest.raises(ConnectionLostError, match="nothing to come back to"):
            await pending.resume()


async def test_a_session_that_was_ended_is_unknown_from_then_on(autojump_clock):
    async with housed() as house, house.connected() as client:
        pending = client.begin("tools/call", tool("talk", times=100))
        await trio.sleep(1)
        await client.end_session()
        await client.end_session()
        for late in (pending, client.begin("tools/call", WAIT)):
            with pytest.raises(McpError):
                await late.result()


async def test_a_resumption_that_is_refused_settles_the_request(autojump_clock):
    async with housed() as house, house.connected() as client:
        pending = client.begin("tools/call", tool("talk", times=100))
        await trio.sleep(1.5)
        client.abort()
        await client.end_session()
        with pytest.raises(RefusedError) as caught:
            await pending.resume()
        assert caught.value.status == 404
        with pytest.raises(RefusedError):
            await pending.result()


async def test_the_standing_get_is_come_back_to_without_a_gap(autojump_clock):
    async with housed() as house, house.connected() as client:
        async with client.listen() as first:
            await client.call_tool("change")
            await first.receive()
            last = first.last_event_id
        await client.call_tool("change")
        async with client.listen(last_event_id=last) as second:
            await second.receive()
            assert second.event_ids is first.event_ids
        assert len(client.streams) == 1


async def test_the_notifications_dialect_is_come_back_to_without_a_gap(autojump_clock):
    async with housed() as house, house.connected("notifications") as client:
        pendings = [client.begin("tools/call", tool("talk", times=4)) for _ in range(2)]
        await trio.sleep(1.5)
        client.abort()
        with pytest.raises(ConnectionLostError):
            await pendings[0].result()
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for pending in pendings:
                nursery.start_soon(pending.resume)
        for pending in pendings:
            assert (await pending.result())["content"][0]["text"] == "talked"
        assert len(client.notifications) == 8
        assert len(client.streams) == 1
        assert text_of(await client.call_tool("echo", {"message": "on"})) == "on"


# Goodbye


@both_eras
async def test_a_client_that_leaves_leaves_nothing_behind(transport: str, revision: Revision, autojump_clock):
    async with housed() as house:
        async with house.connected(transport, revision) as client:
            pending = client.begin("tools/call", WAIT)
            await trio.sleep(1)
        with pytest.raises((ConnectionLostError, McpError)):  # some transports let the server say it
            await pending.result()
        for use in (client.ping, partial(client.notify, "x"), partial(client.send, b"{}"), client.receive):
            with pytest.raises(ConnectionLostError):
                await use()
        assert trio.current_time() < 10
        await wait_all_tasks_blocked()
        if transport != "notifications":
            assert not house.served.host.sessions


@both_eras
async def test_a_goodbye_is_bounded_and_quiet(transport: str, revision: Revision, autojump_clock):
    for spoil in (Client.stall, Client.abort, Client.freeze, Client.half_close):
        async with housed() as house:
            began = trio.current_time()
            async with house.connected(transport, revision, goodbye=3) as client:
                spoil(client)
            assert trio.current_time() - began <= 3


@both_eras
async def test_a_client_that_is_cancelled_resets_its_connections(transport: str, revision: Revision, autojump_clock):
    async with housed() as house:
        with trio.move_on_after(1):
            async with house.connected(transport, revision) as client:
                await client.call_tool("wait", {"seconds": 100})
        assert all(not stream.is_open for stream in house.streams)
        assert trio.current_time() == 1


@both_eras
async def test_what_the_block_raises_comes_out_as_it_is(transport: str, revision: Revision, autojump_clock):
    def wrong(params: Any) -> Any:
        raise KeyError("a fault of the test")

    async with housed() as house:
        with pytest.raises(ZeroDivisionError):
            async with house.connected(transport, revision):
                raise ZeroDivisionError
        with pytest.raises(KeyError):
            async with house.connected(transport, revision, answers={"elicitation/create": wrong}) as client:
                await client.call_tool("ask")


async def test_a_client_that_does_not_run_says_so(autojump_clock):
    async with housed() as house:
        for transport, revision in BOTH_ERAS:
            client = house.client(transport, revision)
            for use in (client.ping, partial(client.notify, "x"), partial(client.send, b"{}")):
                with pytest.raises(RuntimeError, match="does not run"):
                    await use()


def test_sessions_are_not_for_the_per_request_era():
    async def dial() -> Any: ...

    for transport in ("sse", "notifications"):
        with pytest.raises(ValueError, match="has none"):
            make_client(transport, PER_REQUEST, dial)
    with pytest.raises(ValueError, match="no such transport"):
        make_client("pigeon", V2024_11_05, dial)  # type: ignore[arg-type]


async def test_a_call_costs_little(autojump_clock):
    """Not a benchmark: it only notices what became several times slower."""
    async with housed() as house, house.connected() as client:
        began = time.process_time()
        for _ in range(300):
            await client.ping()
        assert (time.process_time() - began) / 300 < 0.005


# Under a rough network, in any order


async def attempt(diary: list[str], use: Callable[..., Awaitable[Any]], *args: Any) -> None:
    """Do it, and note what came of it."""
    try:
        await use(*args)
        diary.append("done")
    except (ConnectionLostError, RefusedError, McpError) as error:
        diary.append(str(error))


async def visit(house: House, diary: list[str], transport: str, revision: Revision) -> None:
    """Do many things at once, lose everything in the midst of it, and come back."""
    async with house.connected(transport, revision, answers={"elicitation/create": accepting("x")}) as client:
        talking = client.begin("tools/call", tool("talk"))
        async with trio.open_nursery() as nursery:
            for name in ("echo", "ask", "talk", "poll"):
                nursery.start_soon(attempt, diary, client.call_tool, name, {"message": "x"} if name == "echo" else {})
            nursery.start_soon(attempt, diary, client.list_tools)
            await trio.sleep(1.1)
            client.abort()
            nursery.start_soon(attempt, diary, talking.resume)
        await attempt(diary, talking.result)


@both_eras
def test_a_rough_network_costs_answers_and_nothing_else(transport: str, revision: Revision):
    def run(seed: int) -> tuple[list[str], Outcome]:
        diary: list[str] = []

        async def scenario() -> None:
            async with housed() as house:
                await attempt(diary, visit, house, diary, transport, revision)

        conditions = Conditions(latency=(0, 0.2), fragmentation=0.3, resets=0.02)
        return diary, simulate(scenario, seed, conditions=conditions)

    for seed in range(8):
        diary, outcome = run(seed)
        assert outcome.error is None
        again, repeated = run(seed)
        assert (again, repeated.steps, repeated.seconds) == (diary, outcome.steps, outcome.seconds)
