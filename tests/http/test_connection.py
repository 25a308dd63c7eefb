"""One connection over memory streams, where the mock clock rules: requests, responses, deadlines and ends."""

from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.http.lane_kit import GET, HOST, Bench, Peer, Worked, bench, echo, post, respond, stream
from trio_mcp.http.asgi import CONNECTION_EXTENSION, Receive, Scope, Send
from trio_mcp.http.byte_stream import PeerGoneError

CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


async def reply(scope: Scope, receive: Receive, send: Send) -> None:
    """A whole response the way `Exchange` sends it."""
    await scope["extensions"][CONNECTION_EXTENSION].respond(200, ((b"x-y", b"z"),), b"whole")


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without a look at the body."""
    await respond(send, b"no", 401)


async def refuse_whole(scope: Scope, receive: Receive, send: Send) -> None:
    """The same, the way `Exchange` sends it."""
    await scope["extensions"][CONNECTION_EXTENSION].respond(401, (), b"no")


# Requests and responses


async def test_requests_follow_one_another_on_one_connection(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        for number in range(3):
            await peer.send(post(b"body %d" % number, path=b"/%d?query" % number))
            answer = await peer.answer()
            assert (answer.status, answer.body) == (200, b"POST /%d body %d" % (number, number))
            assert (answer[b"connection"], answer.version) == (None, b"1.1")
            assert answer[b"date"] is not None


@pytest.mark.parametrize("app", [echo, reply])
async def test_the_connection_goes_on_where_the_body_comes_behind_the_head(app: Any, autojump_clock):
    """As most clients send it: two writes, so that the head is here before the body."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        if app is reply:
            await receive()
        await app(scope, receive, send)

    async with bench(reading) as lab:
        peer = lab.connect()
        for _ in range(2):
            await peer.send(post(b"abc")[:-3])
            await wait_all_tasks_blocked()
            await peer.send(b"abc")
            answer = await peer.answer()
            assert (answer.status, answer[b"connection"]) == (200, None)


async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(autojump_clock):
    working: list[str] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        working.append(scope["path"])
        assert len(working) == 1
        await trio.sleep(1)
        await echo(scope, receive, send)
        working.remove(scope["path"])

    async with bench(slow) as lab:
        peer = lab.connect()
        pipelined = b"".join(post(b"%d" % n, path=b"/%d" % n) for n in range(10))
        await peer.send(pipelined[:-5])
        await peer.send(pipelined[-5:])
        assert [(await peer.answer()).body for _ in range(10)] == [b"POST /%d %d" % (n, n) for n in range(10)]


async def test_a_response_to_head_has_the_length_of_the_body_and_not_the_body(autojump_clock):
    for app, length in ((reply, b"5"), (echo, b"7")):
        async with bench(app) as lab:
            peer = lab.connect()
            for _ in range(2):
                await peer.send(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n")
                answer = await peer.answer("HEAD")
                assert (answer.status, answer[b"content-length"], answer.body) == (200, length, b"")
                assert answer[b"connection"] is None


async def test_a_body_without_a_length_is_chunked_and_ends(autojump_clock):
    async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"a", b"", b"bc" * 20):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async with bench(pieces) as lab:
        peer = lab.connect()
        await peer.send(GET * 2 + b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n")
        for method in ("GET", "GET", "HEAD"):
            answer = await peer.answer(method)
            assert (answer.whole, answer[b"transfer-encoding"]) == (True, b"chunked")
            assert answer.body == (b"" if method == "HEAD" else b"a" + b"bc" * 20)


async def test_head_and_first_piece_of_the_body_leave_in_one_write(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        await peer.send(GET)
        assert (await peer.stream.receive_some(65536)).endswith(b"GET / ")


@pytest.mark.parametrize(
    ("asked", "length", "said"),
    [
        (b"", True, b"close"),
        (b"", False, b"close"),
        (b"Connection: keep-alive\r\n", True, b"keep-alive"),
        (b"Connection: keep-alive\r\n", False, b"close"),
    ],
)
async def test_http_1_0_gets_no_chunks_and_a_close_unless_it_asked_otherwise(
    asked: bytes, length: bool, said: bytes, autojump_clock
):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["http_version"] == "1.0"
        await respond(send, b"body", length=length)

    async with bench(app) as lab:
        peer = lab.connect()
        for _ in range(2 if said == b"keep-alive" else 1):
            await peer.send(b"GET / HTTP/1.0\r\n" + asked + b"\r\n")
            answer = await peer.answer()
            assert (answer.body, answer[b"connection"], answer[b"transfer-encoding"]) == (b"body", said, None)
        if said == b"close":
            assert await peer.remains() == b""


@pytest.mark.parametrize("app", [reply, echo])
async def test_a_client_that_asks_for_a_close_gets_it(app: Any, autojump_clock):
    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert (await peer.answer())[b"connection"] == b"close"
        assert await peer.remains() == b""


async def test_an_application_may_close_the_connection_and_says_so_once(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/respond":
            await scope["extensions"][CONNECTION_EXTENSION].respond(413, ((b"connection", b"close"),), b"")
        else:
            await respond(send, connection="close")

    for path in (b"/respond", b"/send"):
        async with bench(app) as lab:
            peer = lab.connect()
            await peer.send(post(b"abc", path=path)[:-1])  # a byte is missing, so the server wants to close, too
            assert (await peer.answer())[b"connection"] == b"close"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none(status: int, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"surplus", status, length=False)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET + GET)
        assert [(await peer.answer()).status for _ in range(2)] == [status, status]


async def test_the_scope_is_what_asgi_says(autojump_clock):
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(b"GET /a%20%C3%A9?x=%20 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\n")
        await peer.send(b"GET http://real:80/p?q HTTP/1.1\r\nHost: lie\r\n\r\n")
        await peer.send(b"GET http://real?q HTTP/1.1\r\nHost: lie\r\n\r\n")
        for _ in range(3):
            await peer.answer()
    first, second, third = scopes
    assert (first["type"], first["method"], first["http_version"], first["scheme"]) == ("http", "GET", "1.1", "http")
    assert (first["path"], first["raw_path"], first["query_string"]) == ("/a é", b"/a%20%C3%A9", b"x=%20")
    assert first["headers"] == [(b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (second["path"], second["query_string"], second["headers"]) == ("/p", b"q", [(b"host", b"real:80")])
    assert (third["path"], third["headers"]) == ("/", [(b"host", b"real")])


# 100-continue

EXPECTING = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"


async def test_a_client_that_waits_for_100_gets_it_when_the_body_is_asked_for(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        for _ in range(2):
            await peer.send(EXPECTING)
            await peer.until(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.send(b"abc")
            answer = await peer.answer()
            assert (answer.body, answer.interim, answer[b"connection"]) == (b"POST / abc", [], None)


async def test_a_client_that_did_not_wait_for_100_gets_none(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        await peer.send(EXPECTING + b"abc")
        assert (await peer.answer()).interim == []


async def test_a_client_that_waits_for_100_gets_a_final_answer_instead_and_a_close(autojump_clock):
    async with bench(refuse) as lab:
        peer = lab.connect()
        await peer.send(EXPECTING)
        answer = await peer.answer()
        assert (answer.status, answer.interim, answer[b"connection"]) == (401, [], b"close")


async def test_no_100_is_written_into_a_response(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        body = (await receive())["body"]
        await send({"type": "http.response.body", "body": body})

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(EXPECTING)
        await peer.until(b"\r\na\r\n")
        await peer.send(b"xyz")
        assert (await peer.remains()) == b"3\r\nxyz\r\n0\r\n\r\n"


# Bodies


async def test_the_body_comes_as_it_comes(autojump_clock):
    pieces: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            pieces.append(message["body"])
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"abcdef")[:-6])
        for piece in (b"ab", b"cd", b"ef"):
            await wait_all_tasks_blocked()
            await peer.send(piece)
        await peer.answer()
    assert pieces == [b"ab", b"cd", b"ef"]


@pytest.mark.parametrize("together", [True, False])
async def test_a_malformed_body_is_answered_at_once_and_closed(together: bool, autojump_clock):
    async with bench(echo) as lab:
        peer, began = lab.connect(), trio.current_time()
        if together:
            await peer.send(CHUNKED + b"1\r\na\r\nX\r\n")
        else:
            await peer.send(CHUNKED + b"1\r\na\r\n")
            await wait_all_tasks_blocked()
            await peer.send(b"X\r\n")
        answer = await peer.answer()
        assert (answer.status, answer[b"connection"]) == (400, b"close")
        assert b"chunk size" in answer.body
        assert trio.current_time() - began < 1


async def test_a_malformed_body_does_not_end_up_inside_a_response(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        await echo(scope, receive, send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(CHUNKED)
        await peer.until(b"data: begun\n\n\r\n")
        await peer.send(b"X\r\n")
        assert await peer.remains() == b""


@pytest.mark.parametrize("app", [refuse, refuse_whole])
async def test_an_early_answer_to_an_upload_can_be_read_and_ends_the_connection(app: Any, autojump_clock):
    """In lockstep, so that a server that did not read on would stop the client; it does so for a while."""
    sent = 0
    async with bench(app) as lab:
        peer = lab.connect(lockstep_stream_pair)

        async def upload() -> None:
            nonlocal sent
            await peer.send(post(b"x" * 1_000_000)[:-1_000_000])
            with suppress(trio.BrokenResourceError):
                for _ in range(100):
                    await peer.send(b"x" * 10_000)
                    sent += 10_000

        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            answer = await peer.answer()
            assert (answer.status, answer.body, answer[b"connection"]) == (401, b"no", b"close")
            began = trio.current_time()
            await peer.remains()
            assert trio.current_time() - began < 3
    assert 200_000 < sent < 400_000


async def test_an_early_answer_waits_for_the_rest_but_not_for_ever(autojump_clock):
    async with bench(refuse, idle=10) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc")[:-1])
        assert (await peer.answer()).status == 401
        began = trio.current_time()
        assert await lab.ended() - began == pytest.approx(2, abs=1.1)


async def test_requests_behind_an_unread_body_are_not_served(autojump_clock):
    paths: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await refuse(scope, receive, send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc", path=b"/1")[:-1])
        await peer.answer()
        await peer.send(b"c" + post(b"", path=b"/2"))
        await lab.ended()
        assert paths == ["/1"]


async def test_a_refused_request_is_answered_once_and_closed(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc") + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + GET)
        assert (await peer.answer()).status == 200
        answer = await peer.answer()
        assert (answer.status, answer[b"connection"]) == (400, b"close")
        assert answer[b"date"] is not None
        assert await peer.remains() == b""


async def test_http_2_without_tls_is_refused_in_words(autojump_clock):
    async with bench(echo) as lab:
        peer = lab.connect()
        await peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = await peer.answer()
        assert (answer.status, answer.body) == (505, b"HTTP/2 without TLS is switched off here\n")


# Deadlines: the patrol is late by at most a tenth of the shortest


async def trickle(peer: Peer, piece: bytes, seconds: float) -> None:
    """Send a piece again and again, until the server closes."""
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send(piece)
            await trio.sleep(seconds)


async def test_an_idle_connection_is_closed_in_silence(autojump_clock):
    async with bench(echo, idle=75) as lab:
        peer = lab.connect()
        await peer.send(GET)
        await peer.answer()
        began = trio.current_time()
        assert await peer.remains() == b""
        assert trio.current_time() - began == pytest.approx(75, abs=2)


async def test_a_connection_that_never_says_anything_is_closed(autojump_clock):
    async with bench(echo, idle=75) as lab:
        began = trio.current_time()
        assert await lab.connect().remains() == b""
        assert trio.current_time() - began == pytest.approx(75, abs=2)


async def test_empty_lines_do_not_keep_a_connection(autojump_clock):
    async with bench(echo, idle=75) as lab:
        peer, began = lab.connect(), trio.current_time()
        await trickle(peer, b"\r\n", 10)
        assert trio.current_time() - began < 90


async def test_a_head_that_does_not_end_in_time_is_408(autojump_clock):
    async with bench(echo, head_time=15) as lab:
        peer, began = lab.connect(), trio.current_time()
        await peer.send(GET[:-1])
        answer = await peer.answer()
        assert (answer.status, answer[b"connection"]) == (408, b"close")
        assert trio.current_time() - began == pytest.approx(15, abs=2)
        assert await peer.remains() == b""


async def test_a_body_that_does_not_end_in_time_is_408(autojump_clock):
    async with bench(echo, body_time=60) as lab:
        peer, began = lab.connect(), trio.current_time()
        await peer.send(post(b"abc")[:-1])
        assert (await peer.answer()).status == 408
        assert trio.current_time() - began == pytest.approx(60, abs=2)


@pytest.mark.parametrize(("begin", "limit"), [(b"GET / HTTP/1.1\r\n", 15), (CHUNKED, 60), (post(b"x" * 99)[:-99], 60)])
async def test_a_trickle_does_not_move_the_deadline(begin: bytes, limit: float, autojump_clock):
    piece = {15: b"X: 1\r\n"}.get(int(limit), b"1\r\na\r\n" if begin is CHUNKED else b"x")
    async with bench(echo) as lab:
        peer, began = lab.connect(), trio.current_time()
        await peer.send(begin)
        await trickle(peer, piece, 3)
        assert trio.current_time() - began == pytest.approx(limit, abs=5)
        assert (await peer.answer()).status == 408


async def test_a_deadline_inside_a_response_cuts_it_without_a_word(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        await receive()

    async with bench(app, body_time=60) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc")[:-3])
        await peer.until(b"begun\n\n\r\n")
        assert await peer.remains() == b""


async def test_work_has_no_deadline_of_the_connection(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await trio.sleep(10_000)
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc"))
        assert (await peer.answer()).status == 200


async def test_a_client_that_does_not_read_is_cut_off_after_the_write_timeout(autojump_clock):
    failed: list[tuple[float, str]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        began = trio.current_time()
        try:
            await respond(send, b"x" * 300_000)
        except OSError as error:
            failed.append((trio.current_time() - began, str(error)))
            raise

    async with bench(app, write_timeout=30) as lab:
        peer = lab.connect(lockstep_stream_pair)
        await peer.send(GET)
        await lab.ended()
    assert failed == [(30, "the client did not read for 30 s")]


async def test_a_client_that_reads_slowly_but_steadily_gets_everything(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 300_000)

    async with bench(app, write_timeout=30) as lab:
        peer, received = lab.connect(lockstep_stream_pair), 0
        await peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        while data := await peer.stream.receive_some(65536):
            received += len(data)
            await trio.sleep(20)
        assert received > 300_000


# The client leaves


async def test_the_client_leaving_is_told_to_what_works_for_it(autojump_clock):
    app = Worked()
    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        await peer.leave()
        await lab.ended()
    assert app.ended == ["the client disconnected"]


async def test_the_client_leaving_behind_its_body_is_told(autojump_clock):
    app = Worked()
    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc")[:-1])
        await wait_all_tasks_blocked()
        await peer.send(b"c")
        await peer.leave()
        await lab.ended()
    assert app.ended == ["the client disconnected"]


async def test_the_client_leaving_inside_its_body_is_a_disconnect(autojump_clock):
    messages: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.extend([(await receive())["type"] for _ in range(3)])

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(post(b"abc")[:-1])
        await wait_all_tasks_blocked()
        await peer.half_close()
        await lab.ended()
        assert await peer.remains() == b""
    assert messages == ["http.request", "http.disconnect", "http.disconnect"]


async def test_receive_tells_a_disconnect_once_the_response_is_complete(autojump_clock):
    messages: list[str] = []

    async def wait(receive: Receive) -> None:
        messages.append((await receive())["type"])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, receive)
            await wait_all_tasks_blocked()
            await respond(send)
        await wait(receive)

    async with bench(app) as lab:
        peer = lab.connect()
        for number in (1, 2):
            await peer.send(GET)
            assert (await peer.answer()).status == 200
            await wait_all_tasks_blocked()
            assert messages == ["http.disconnect"] * 2 * number


async def test_writing_to_a_client_that_left_raises(autojump_clock):
    raised: list[type[BaseException]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"x", "more_body": True})
            except OSError as error:
                raised.append(type(error))
                raise

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        await peer.until(b"begun")
        await peer.leave()
        await lab.ended()
    assert raised == [PeerGoneError]


async def test_an_upgrade_behind_a_running_request_is_not_lost(autojump_clock):
    """Where the connection reads ahead, what comes after the handshake stays where it is."""
    handed: list[bytes] = []
    app = Worked()

    class Handing(Bench):
        async def hand_over(self, connection: Any, data: bytes) -> None:
            handed.append(data)
            handed.append(await connection.bytes.read())

    async with bench(app) as lab:
        lab.worker.hand_over = Handing.hand_over.__get__(lab)  # type: ignore[method-assign]  # a fake of hypercorn
        peer = lab.connect()
        handshake = (
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: k\r\n"
        )
        await peer.send(GET)
        await wait_all_tasks_blocked()
        await peer.send(GET[:-2] + handshake + b"\r\n")
        await wait_all_tasks_blocked()
        await peer.send(b"frame")
        await wait_all_tasks_blocked()
        app.go_on.set()
        assert (await peer.answer()).status == 200
        await lab.ended()
    assert handed[0].startswith(b"GET / HTTP/1.1\r\n")
    assert handed[1] == b"frame"


# The application fails


async def test_an_application_that_fails_is_500_and_one_traceback(autojump_clock, caplog: pytest.LogCaptureFixture):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a secret")

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        answer = await peer.answer()
        assert (answer.status, answer.body, answer[b"connection"]) == (500, b"Internal Server Error\n", b"close")
        assert await peer.remains() == b""
    assert [(record.name, record.exc_info is not None) for record in caplog.records] == [("trio_mcp.connection", True)]


async def test_an_application_that_fails_inside_its_response_cuts_it(autojump_clock, caplog: pytest.LogCaptureFixture):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        raise ValueError

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET + GET)
        answer = await peer.answer()
        assert (answer.status, answer.whole, answer.body) == (200, False, b"data: begun\n\n")
    assert len(caplog.records) == 1


async def test_an_application_that_does_not_answer_is_500(autojump_clock, caplog: pytest.LogCaptureFixture):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        assert (await peer.answer()).status == 500
    assert [record.getMessage() for record in caplog.records] == ["the application did not answer GET b'/'"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body", "body": b"x"}],
        [{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"x")]}],
        [{"type": "websocket.accept"}],
    ],
    ids=["body first", "no length", "not HTTP"],
)
async def test_an_application_that_breaks_asgi_is_500(messages: Any, autojump_clock, caplog: pytest.LogCaptureFixture):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        assert (await peer.answer()).status == 500
    assert len(caplog.records) == 1


@pytest.mark.parametrize("length", [b"1", b"9"])
async def test_a_response_of_another_length_than_it_says_is_the_last(length: bytes, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": b"abc"})

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET + GET)
        assert (await peer.remains()).count(b"HTTP/1.1") == 1


async def test_a_client_that_leaves_is_no_failure_even_in_the_nurseries_of_an_application(
    autojump_clock, caplog: pytest.LogCaptureFixture
):
    async def write(send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await stream(send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, send)

    async with bench(app) as lab:
        peer = lab.connect(lockstep_stream_pair)
        await peer.send(GET)
        await peer.until(b"begun")
        await peer.leave()
        await lab.ended()
    assert caplog.records == []


# Shutdown


async def shut(lab: Bench) -> None:
    """As the worker does."""
    lab.worker.closing = True
    for connection in tuple(lab.worker.connections):
        connection.shut()


async def test_shutdown_closes_idle_connections_at_once(autojump_clock):
    async with bench(echo) as lab:
        fresh, used = lab.connect(), lab.connect()
        await used.send(GET)
        await used.answer()
        began = trio.current_time()
        await shut(lab)
        assert (await fresh.remains(), await used.remains()) == (b"", b"")
        assert trio.current_time() == began


@pytest.mark.parametrize("kind", ["respond", "send", "body"])
async def test_shutdown_lets_a_request_finish_and_says_that_the_connection_closes(kind: str, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if kind == "body":
            await echo(scope, receive, send)
            return
        await trio.sleep(10)
        await (reply if kind == "respond" else echo)(scope, receive, send)

    async with bench(app) as lab:
        peer = lab.connect()
        request = post(b"abc")
        await peer.send(request[:-1] if kind == "body" else request + GET)
        await wait_all_tasks_blocked()
        await shut(lab)
        if kind == "body":
            await peer.send(request[-1:])
        answer = await peer.answer()
        assert (answer.status, answer[b"connection"]) == (200, b"close")
        assert await peer.remains() == b""


async def test_shutdown_inside_a_response_does_not_serve_what_is_pipelined_behind_it(autojump_clock):
    paths: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await stream(send)
        await trio.sleep(10)
        await send({"type": "http.response.body", "body": b"data: last\n\n"})

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET + GET)
        await peer.until(b"begun")
        await shut(lab)
        assert (await peer.remains()).endswith(b"data: last\n\n\r\n0\r\n\r\n")
        assert paths == ["/"]


async def test_cancellation_cancels_the_request_and_closes_the_connection(autojump_clock):
    ended = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        for connection in lab.worker.connections:
            connection._scope.cancel()
        assert await peer.remains() == b""
        assert ended.is_set()


async def test_what_was_spawned_beside_a_request_ends_with_the_connection(autojump_clock):
    ended = trio.Event()

    async def beside() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][CONNECTION_EXTENSION].spawn(beside, name="beside")
        await respond(send)

    async with bench(app) as lab:
        peer = lab.connect()
        await peer.send(GET)
        await peer.answer()
        await peer.leave()
        await lab.ended()
        assert ended.is_set()


# The access log


async def test_each_request_is_told_to_the_access_log(autojump_clock):
    records: list[tuple[Any, ...]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(2)
        if scope["path"] == "/fail":
            raise ValueError
        await (reply if scope["path"] == "/respond" else echo)(scope, receive, send)

    async with bench(app, log=records.append) as lab:
        peer = lab.connect()
        await peer.send(post(b"a", path=b"/respond?x") + post(b"abc", path=b"/send") + post(b"", path=b"/fail"))
        for _ in range(3):
            await peer.answer()
    assert records == [
        (None, "POST", b"/respond?x", 200, 5, 2, "1.1"),
        (None, "POST", b"/send", 200, 14, 2, "1.1"),
        (None, "POST", b"/fail", 500, 0, 2, "1.1"),
    ]


async def test_a_request_without_an_answer_is_told_to_the_access_log_with_status_0(autojump_clock):
    records: list[tuple[Any, ...]] = []
    async with bench(Worked(), log=records.append) as lab:
        peer: Peer = lab.connect()
        await peer.send(GET)
        await wait_all_tasks_blocked()
        await peer.leave()
        await lab.ended()
    assert [record[3] for record in records] == [0]
