"""`Exchange`: one request over ASGI, bounded in size and time, without any MCP in it."""

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.http.fetch import Fetch, Lane
from trio_mcp import Settings
from trio_mcp.http.asgi import TEXT_TYPE, BodyTooLargeError, ClientGoneError, Exchange


def made(fetch: Fetch, **settings: Any) -> Exchange:
    return Exchange(fetch.scope, fetch.receive, fetch.send, Settings(**settings))


def fetched(*pieces: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> Fetch:
    return Fetch("POST", "/mcp", headers or [], pieces or [b""])


async def test_the_body_is_put_together_from_its_pieces():
    assert await made(fetched(b"one ", b"", b"two", b" three")).read_body() == b"one two three"


@pytest.mark.parametrize("pieces", [[b"12345"], [b"123", b"45"], [b"1", b"2", b"3", b"4", b"5"], [b"", b"12345", b""]])
async def test_a_body_above_the_bound_is_refused_and_one_at_the_bound_is_not(pieces: list[bytes]):
    assert await made(fetched(*pieces), max_body=5).read_body() == b"12345"
    with pytest.raises(BodyTooLargeError):
        await made(fetched(*pieces), max_body=4).read_body()


async def test_a_declared_length_is_refused_before_anything_is_received():
    fetch = fetched(headers=[(b"content-length", b"6")])
    fetch.receive = None  # type: ignore[method-assign,assignment]  # nobody may ask for the body
    with pytest.raises(BodyTooLargeError):
        await made(fetch, max_body=5).read_body()


@pytest.mark.parametrize("length", [b"5", b" 5 ", b"05", b"0" * 100 + b"5", b"+6", b"-6", b"0x6", b"", b"\xb2", b"6 6"])
async def test_a_declared_length_that_is_small_or_no_number_is_let_pass(length: bytes):
    assert await made(fetched(b"12345", headers=[(b"content-length", length)]), max_body=5).read_body() == b"12345"


async def test_a_client_that_leaves_in_its_body_is_gone():
    for pieces in ([], [b"part"]):
        fetch = Fetch("POST", "/mcp", [], pieces).hold()
        fetch.drop()
        with pytest.raises(ClientGoneError):
            await made(fetch).read_body()


async def test_a_response_has_its_length_unless_there_is_no_content():
    fetch = fetched()
    await made(fetch).respond(200, b"body", [TEXT_TYPE])
    assert (fetch.status, fetch.body, fetch.headers["content-length"], fetch.complete) == (200, b"body", "4", True)
    fetch = fetched()
    await made(fetch).respond(204)
    assert (fetch.status, fetch.body, "content-length" in fetch.headers, fetch.complete) == (204, b"", False, True)
    fetch = fetched()
    await made(fetch).respond(202)
    assert fetch.headers["content-length"] == "0"


async def test_a_stream_ends_once():
    fetch = fetched()
    exchange = made(fetch)
    await exchange.start_stream([(b"x-more", b"1")], b"data: 1\n\n")
    await exchange.write(b"data: 2\n\n")
    assert not fetch.complete
    await exchange.finish()
    await exchange.finish()
    assert fetch.complete
    assert fetch.headers["x-more"] == "1"
    assert [event.data for event in fetch.events] == ["1", "2"]


async def test_each_write_is_bounded_where_the_server_does_not_bound_it(autojump_clock):
    acts = (lambda e: e.respond(200, b"x"), lambda e: e.start_stream(), lambda e: e.write(b":\n\n"))
    for act in acts:
        fetch = fetched()
        exchange = made(fetch, write_timeout=7)
        if act is acts[-1]:
            await exchange.start_stream()
        fetch.stall()
        began = trio.current_time()
        with pytest.raises(ClientGoneError):
            await act(exchange)
        assert trio.current_time() - began == 7


async def test_the_end_of_a_stream_is_bounded_and_no_error(autojump_clock):
    fetch = fetched()
    exchange = made(fetch, write_timeout=7)
    await exchange.start_stream()
    fetch.stall()
    began = trio.current_time()
    await exchange.finish()
    assert trio.current_time() - began == 7


async def test_a_broken_connection_is_a_client_that_is_gone():
    class Broken(Fetch):
        async def send(self, message: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            raise ConnectionResetError

    with pytest.raises(ClientGoneError):
        await made(Broken("POST", "/mcp", [], [b""])).respond(200)


# While the client is there


class Work:
    """Something that runs for a client, until told that it left."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.scope = trio.CancelScope()
        self.ended = False

    def gone(self, reason: str) -> None:
        self.reasons.append(reason)
        self.scope.cancel()

    async def run(self, exchange: Exchange, seconds: float) -> None:
        with self.scope:
            await trio.sleep(seconds)
            await exchange.respond(200)
        self.ended = True


def prepared(fetch: Fetch, nursery: trio.Nursery, *, lane: bool) -> Exchange:
    if lane:
        fetch.lane = Lane(nursery, fetch)
        fetch.scope["extensions"] = {"trio_mcp.connection": fetch.lane}
    return made(fetch)


async def test_work_ends_with_the_client(lane: bool, autojump_clock):
    fetch, work = fetched(), Work()
    async with trio.open_nursery() as nursery:
        exchange = prepared(fetch, nursery, lane=lane)
        await exchange.read_body()
        nursery.start_soon(exchange.while_connected, work.gone, partial(work.run, exchange, 10))
        await trio.sleep(3)
        fetch.drop()
    assert trio.current_time() == 3
    assert work.ended
    assert len(work.reasons) == 1
    assert exchange.gone
    assert fetch.status == 0


async def test_nobody_is_told_of_a_client_that_leaves_after_the_response(lane: bool, autojump_clock):
    fetch, work = fetched(), Work()
    async with trio.open_nursery() as nursery:
        exchange = prepared(fetch, nursery, lane=lane)
        await exchange.read_body()
        await exchange.while_connected(work.gone, partial(work.run, exchange, 3))
        fetch.drop()
    assert work.reasons == []
    assert not exchange.gone


async def test_nobody_is_told_of_a_client_that_leaves_while_the_whole_response_is_being_written(autojump_clock):
    """Cancelling the work then would cut the response that is on its way."""
    fetch, work = fetched(), Work()
    exchange = made(fetch, write_timeout=30)
    await exchange.read_body()
    fetch.stall()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.while_connected, work.gone, partial(work.run, exchange, 1))
        await trio.sleep(5)
        fetch.drop()
        await trio.testing.wait_all_tasks_blocked()
        assert work.reasons == []
        fetch.go_on()


async def test_a_write_that_is_not_read_tells_and_ends_the_work(autojump_clock):
    fetch, work = fetched(), Work()
    exchange = made(fetch, write_timeout=5)
    await exchange.read_body()
    fetch.stall()
    await exchange.while_connected(work.gone, partial(work.run, exchange, 1))
    assert trio.current_time() == 6
    assert work.reasons == ["the client did not read"]


async def test_a_task_beside_the_work_runs_where_the_connection_runs(lane: bool, autojump_clock):
    fetch, events = fetched(), []
    async with trio.open_nursery() as nursery:
        exchange = prepared(fetch, nursery, lane=lane)
        await exchange.read_body()
        done = trio.Event()

        async def beside() -> None:
            await trio.sleep(2)
            events.append("beside")
            done.set()

        async def work() -> None:
            exchange.spawn(beside, "beside")
            await done.wait()
            await exchange.respond(200)

        await exchange.while_connected(lambda reason: None, work)
    assert (events, fetch.status) == (["beside"], 200)


async def test_a_client_that_goes_on_sending_is_not_taken_for_gone(autojump_clock):
    fetch, work = fetched(b"all"), Work()
    exchange = made(fetch)
    await exchange.read_body()
    fetch.feed(b"more", last=True)
    await exchange.while_connected(work.gone, partial(work.run, exchange, 3))
    assert (work.reasons, fetch.status) == ([], 200)
