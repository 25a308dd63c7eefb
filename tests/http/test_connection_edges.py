"""One connection over memory streams, at moments that are easily forgotten."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.http.lane_kit import GET, HOST, bench, echo, post, respond
from trio_mcp.http.asgi import CONNECTION_EXTENSION, Receive, Scope, Send
from trio_mcp.http.byte_stream import PeerGoneError


async def test_the_preface_of_http_2_inside_a_head_is_part_of_the_head(autojump_clock):
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"])[b"x"])
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: ")
        await wait_all_tasks_blocked()
        await peer.send(b"PRI * HTTP/2.0\r\n\r\n")
        assert (await peer.answer()).status == 200
    assert seen == [b"PRI * HTTP/2.0"]


async def test_a_client_that_waits_for_100_gets_it_once_however_its_body_comes(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc", headers=b"Expect: 100-continue\r\n")[:-3])
        await peer.until(b"100 Continue\r\n\r\n")
        for piece in (b"a", b"b", b"c"):
            await wait_all_tasks_blocked()
            await peer.send(piece)
        answer = await peer.answer()
        assert (answer.body, answer.interim) == (b"POST / abc", [])


async def test_the_last_answer_waits_for_what_was_sent_ahead(autojump_clock):
    """Else the rest of it would be answered with a reset, which may overtake the answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, connection="close")

    for ahead, wait in ((b"", 0), (GET[:9], 2), (GET, 2)):
        async with bench(app) as lab:
            peer = lab.connect()
            await peer.send(GET + ahead)
            assert (await peer.answer()).status == 200
            began = trio.current_time()
            assert await lab.ended() - began == pytest.approx(wait, abs=1.6)


async def test_the_last_words_to_a_client_that_does_not_read_are_given_up_soon(autojump_clock):
    async with bench(echo, head_time=15, write_timeout=300) as lab:
        peer, began = lab.connect(), trio.current_time()
        await peer.send(GET[:-1])
        await wait_all_tasks_blocked()
        (connection,) = lab.worker.connections
        connection.bytes._stream.send_stream.send_all_hook = trio.sleep_forever  # type: ignore[attr-defined]
        assert await lab.ended() - began == pytest.approx(16, abs=2)


@pytest.mark.parametrize(("begin", "limit"), [(GET[:-1], "head_time"), (post(b"abc")[:-1], "body_time")])
async def test_the_shortest_limit_is_kept_within_a_tenth(begin: bytes, limit: str, autojump_clock):
    limits = {"idle": 1000, "head_time": 1000, "body_time": 1000, limit: 10}
    async with bench(echo, **limits) as lab:
        peer, began = lab.connect(), trio.current_time()
        await peer.send(begin)
        assert (await peer.answer()).status == 408
        assert 10 <= trio.current_time() - began <= 11.1


# Who is told of a hang-up


async def test_work_that_was_answered_is_not_told_of_a_hang_up_in_the_next_request(autojump_clock):
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["extensions"][CONNECTION_EXTENSION].on_gone(lambda reason: told.append(scope["path"]))
        if scope["path"] == "/first":
            await respond(send)
        else:
            await trio.sleep_forever()

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"", path=b"/first"))
        await peer.answer()
        await peer.send(post(b"", path=b"/second"))
        await wait_all_tasks_blocked()
        (connection,) = lab.worker.connections
        connection.hung_up(gone=True)
        connection.hung_up(gone=True)  # a close and a reset are two events
        connection._scope.cancel()
        await lab.ended()
    assert told == ["/second"]


async def test_who_waited_for_a_hang_up_that_never_came_leaves_nothing_to_the_next_request(autojump_clock):
    messages: list[str] = []

    async def watch(receive: Receive) -> None:
        messages.append((await receive())["type"])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        reasons: list[str] = []
        scope["extensions"][CONNECTION_EXTENSION].on_gone(reasons.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, receive)
            await wait_all_tasks_blocked()
            await respond(send, b"gone" if reasons else b"here")

    async with bench(app) as lab:
        peer = lab.connect()
        for _ in range(3):
            await peer.send(post(b"abc"))
            assert (await peer.answer()).body == b"here"
    assert messages == ["http.disconnect"] * 3


async def test_a_failure_beside_a_client_that_left_is_still_a_failure(autojump_clock, caplog: pytest.LogCaptureFixture):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ExceptionGroup("both", [PeerGoneError("gone"), ValueError("a bug")])

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        assert (await peer.answer()).status == 500
    assert [record.getMessage() for record in caplog.records] == ["the application failed on GET b'/'"]
