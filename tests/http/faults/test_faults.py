"""The fault table of hypercorn's trio worker: each row as one scenario, played on the stock worker and on ours.

A scenario returns what it saw. What the stock worker does is asserted, too, so that the table stays true: a row that
a new hypercorn has mended fails here, and our reason for being is one less.

Rows 9 to 11 are about several processes: see `test_faults_of_processes`.
"""

import threading
from typing import Any

import pytest
import trio
from hypercorn.middleware import ProxyFixMiddleware
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.http.faults.servers import OURS, STOCK, House, house, stand
from tests.http.lane_kit import GET, HOST, Http2, echo, post, respond, stream, until
from trio_mcp.http.asgi import App, Receive, Scope, Send


def played(*, stock: Any, ours: Any) -> Any:
    """What is seen on either server."""
    return pytest.mark.parametrize(
        ("kind", "outcome"),
        [pytest.param(STOCK, stock, id=STOCK, marks=pytest.mark.stock), pytest.param(OURS, ours, id=OURS)],
    )


async def web(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Put a lifespan under an application."""
    if scope["type"] != "lifespan":
        await app(scope, receive, send)
        return
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


def on_the_web(app: App) -> App:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await web(app, scope, receive, send)

    return serve


async def survives(place: House) -> str:
    """Whether the server does, once it has seen what came."""
    alive = await place.answers()
    await until(lambda: alive or place.crash is not None)
    return "serves" if alive else "ended"


# 1


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, b"early", 401 if scope["method"] == "POST" else 200)


@played(stock="ended", ours="serves")
async def test_row_1_http_2_data_after_an_early_answer(kind: str, outcome: str):
    async with house(kind, on_the_web(early)) as place:
        peer = await place.dial()
        client = await Http2(peer).begin()
        number = await client.request(method=b"POST", end=False)
        assert await client.answer(number) == (401, b"early")
        await client.send(number, b"late", end=True)
        if kind == OURS:
            assert await client.answer(await client.request()) == (200, b"early")
        else:
            await peer.remains()
        assert await survives(place) == outcome
        await peer.leave()


# 2


SHAPES: dict[str, dict[str, Any]] = {
    "CONNECT without a path": {"method": b"CONNECT", "path": None},
    "a path that is not ASCII": {"path": b"/\xff"},
    "a Host that is not UTF-8": {"authority": b"\xff"},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@played(stock="ended", ours="serves")
async def test_row_2_a_malformed_http_2_request(kind: str, outcome: str, shape: dict[str, Any]):
    names = {"server_names": ["a"]} if kind == STOCK and "authority" in shape else {}
    async with house(kind, on_the_web(echo), **names) as place:
        peer = await place.dial()
        client = await Http2(peer).begin()
        number = await client.request(**shape)
        if kind == OURS:
            await client.answer(number)
            assert await client.answer(await client.request(b"/good")) == (200, b"GET /good ")
        else:
            await peer.remains()
        assert await survives(place) == outcome
        await peer.leave()


# 3


@played(stock=("hangs", "hangs, cancelled or not"), ours=("ends", "ends"))
async def test_row_3_a_client_that_stops_reading(kind: str, outcome: tuple[str, str], autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 300_000)

    async with stand(kind, app, pair=lockstep_stream_pair) as place:
        await place.peer.send(GET)
        by_itself = "ends" if await place.ends(within=1000) else "hangs"
    async with stand(kind, app, pair=lockstep_stream_pair) as place:
        await place.peer.send(GET)
        await wait_all_tasks_blocked()
        place.scope.cancel()
        cancelled = "ends" if await place.ends(within=1000) else "hangs, cancelled or not"
        await place.peer.leave()
    assert (by_itself, cancelled) == outcome


# 4


@played(stock="unseen", ours="seen")
async def test_row_4_bytes_behind_a_request_and_then_a_disconnect(kind: str, outcome: str):
    told = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await stream(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    async with house(kind, on_the_web(app)) as place:
        peer = await place.dial()
        await peer.send(GET + GET)
        await peer.until(b"begun")
        await peer.leave()
        with trio.move_on_after(0.2 if kind == STOCK else 5):
            await told.wait()
    assert ("seen" if told.is_set() else "unseen") == outcome


# 5


@played(stock="stuck", ours="ended")
async def test_row_5_an_answer_into_an_unread_upload(kind: str, outcome: str, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(1)  # while the upload comes in
        await respond(send, b"too large", 413)

    async with stand(kind, app) as place:
        await place.peer.send(post(b"x" * 2_000_000))
        with trio.move_on_after(100):
            assert (await place.peer.answer()).status == 413
        await place.peer.leave()
        assert ("ended" if await place.ends(within=10_000) else "stuck") == outcome


# 6


@played(stock="lost", ours="told")
async def test_row_6_a_write_under_an_expired_deadline_meets_the_broken_pipe(kind: str, outcome: str, autojump_clock):
    told = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await stream(send)
        with trio.move_on_after(1):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        await receive()
        told.set()

    async with stand(kind, app, pair=lockstep_stream_pair) as place:
        await place.peer.send(GET)
        await place.peer.until(b"begun\n\n")
        await trio.sleep(5)  # the deadline has passed, the write still waits
        await place.peer.stream.receive_stream.aclose()
        await wait_all_tasks_blocked()
        await place.peer.leave()
        with trio.move_on_after(1000):
            await told.wait()
    assert ("told" if told.is_set() else "lost") == outcome


# 7


async def cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    """What an application does that wants to end with its client."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


@played(stock=("cut", "open for ever"), ours=("whole", "closed"))
async def test_row_7_the_last_write_in_the_scope_that_a_disconnect_cancels(
    kind: str, outcome: tuple[str, str], autojump_clock
):
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_disconnect, receive, nursery.cancel_scope)
            await stream(send)
            await send({"type": "http.response.body", "body": b"data: last\n\n"})
            ended.append("whole")
            nursery.cancel_scope.cancel()

    async with stand(kind, app) as place:
        await place.peer.send(GET)
        assert (await place.peer.answer()).whole
        await wait_all_tasks_blocked()
        sent = "whole" if ended else "cut"
        assert (sent, "closed" if await place.ends(within=1000) else "open for ever") == outcome


# 8


@played(stock=5, ours=0)
async def test_row_8_the_client_closes_an_idle_connection(kind: str, outcome: float, autojump_clock):
    async with stand(kind, echo) as place:
        await place.peer.send(GET)
        await place.peer.answer()
        await wait_all_tasks_blocked()
        left = trio.current_time()
        await place.peer.leave()
        await place.ends(within=1000)
        assert place.ended - left == pytest.approx(outcome, abs=0.01)


# 12


@played(stock=500, ours=200)
async def test_row_12_proxy_headers_and_a_lock_in_the_state_of_the_lifespan(kind: str, outcome: int):
    """The middleware copies the scope in depth; ours has no state, but the connection itself in it."""
    lock = threading.Lock()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["lock"] = lock
            await web(echo, scope, receive, send)
            return
        await respond(send, scope["client"][0].encode())

    async with house(kind, ProxyFixMiddleware(app)) as place:  # type: ignore[arg-type]
        for _ in range(2):
            peer = await place.dial()
            await peer.send(GET[:-2] + b"X-Forwarded-For: 192.0.2.1\r\n\r\n")
            answer = await peer.answer()
            assert answer.status == outcome
            assert kind == STOCK or answer.body == b"192.0.2.1"
            await peer.leave()


# 13


@played(stock=0, ours=20)
async def test_row_13_a_limit_for_reading_and_a_stream_that_is_only_written(kind: str, outcome: int, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_on_disconnect, receive, nursery.cancel_scope)
            await stream(send)
            while True:
                await trio.sleep(15)
                await send({"type": "http.response.body", "body": b":still here\n\n", "more_body": True})

    limits = {"read_timeout": 10} if kind == STOCK else {"idle": 10, "head_time": 10, "body_time": 10}
    async with stand(kind, app, **limits) as place:
        await place.peer.send(GET)
        heard = b""
        with trio.move_on_after(301):
            while data := await place.peer.read():
                heard += data
        assert heard.count(b":still here") == outcome


# 14


@played(stock="served for ever", ours="408")
async def test_row_14_a_body_that_trickles(kind: str, outcome: str, autojump_clock):
    async with stand(kind, echo) as place:
        await place.peer.send(post(b"x" * 1000)[:-1000])
        began = trio.current_time()
        for _ in range(900):
            try:
                await place.peer.send(b"x")
            except trio.BrokenResourceError:
                break
            await trio.sleep(10)
        took = trio.current_time() - began
        if took > 8000:
            seen = "served for ever"
        else:
            seen = str((await place.peer.answer()).status)
            assert took == pytest.approx(60, abs=15)
        assert seen == outcome


# 15


@played(stock=200, ours=431)
async def test_row_15_a_head_beyond_the_limit_in_one_segment(kind: str, outcome: int, autojump_clock):
    limits = {"h11_max_incomplete_size": 16_384} if kind == STOCK else {"max_head": 16_384}
    async with stand(kind, echo, **limits) as place:
        await place.peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 20_000 + b"\r\n\r\n")
        assert (await place.peer.answer()).status == outcome
