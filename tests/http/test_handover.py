"""What goes to hypercorn: WebSocket and HTTP/2, with the bytes read so far and without hypercorn's faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import wsproto
import wsproto.events as ws
from h2.events import ConnectionTerminated
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.http.lane_kit import GET, Http2, Peer, bench, echo, post, respond, served, stream, until
from trio_mcp.http.asgi import App, Receive, Scope, Send
from trio_mcp.http.handover import Handover, PrefixedStream
from trio_mcp.http.worker import bind

# WebSocket


class Talk:
    """The client's side of a WebSocket."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.wire = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)

    def handshake(self) -> bytes:
        return self.wire.send(ws.Request(host="a", target="/ws"))

    async def say(self, text: str) -> None:
        await self.peer.send(self.wire.send(ws.TextMessage(data=text)))

    async def hear(self) -> Any:
        """The next event."""
        while True:
            for event in self.wire.events():
                return event
            self.wire.receive_data(await self.peer.read() or None)


async def talkative(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo over WebSocket; HTTP as usual."""
    if scope["type"] == "http":
        await echo(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.parametrize("tls", [False, True])
async def test_a_websocket_is_handed_over_with_its_handshake(tls: bool):
    schemes: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.append(scope["scheme"])
        await talkative(scope, receive, send)

    async with served(app, tls=tls) as house:
        talk = Talk(await (house.dial_tls() if tls else house.dial()))
        await talk.peer.send(talk.handshake())
        assert isinstance(await talk.hear(), ws.AcceptConnection)
        for text in ("one", "two"):
            await talk.say(text)
            assert (await talk.hear()).data == text
        await talk.peer.leave()
        await house.quiet()
    assert schemes == ["wss" if tls else "ws"]


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_what_was_handed_over_has_no_deadline_of_http_1(alpn: str, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await trio.sleep(1000)
        await talkative(scope, receive, send)

    async with bench(app, http2=True, head_time=1, idle=1) as lab:
        peer = lab.connect()
        if alpn == "h2":
            client = await Http2(peer).begin()
            assert (await client.answer(await client.request()))[0] == 200
        else:
            talk = Talk(peer)
            await peer.send(talk.handshake())
            assert isinstance(await talk.hear(), ws.AcceptConnection)
            await trio.sleep(1000)
            await talk.say("text")
            assert (await talk.hear()).data == "text"
        await peer.leave()
        await lab.ended()


async def test_what_was_handed_over_has_the_write_timeout_of_the_worker(autojump_clock):
    async with bench(echo, http2=True, write_timeout=20) as lab:
        peer = lab.connect()
        client = await Http2(peer).begin()
        await wait_all_tasks_blocked()
        (connection,) = lab.worker.connections
        connection.bytes._stream.send_stream.send_all_hook = trio.sleep_forever  # type: ignore[attr-defined]
        began = trio.current_time()
        await client.request()
        assert await lab.ended() - began == 20


async def test_a_websocket_may_follow_requests_even_in_one_segment():
    async with served(talkative) as house:
        talk = Talk(await house.dial())
        await talk.peer.send(GET)
        assert (await talk.peer.answer()).status == 200
        await talk.peer.send(post(b"abc") + talk.handshake())
        assert (await talk.peer.answer()).body == b"POST / abc"
        assert isinstance(await talk.hear(), ws.AcceptConnection)
        await talk.say("text")
        assert (await talk.hear()).data == "text"
        await talk.peer.leave()


async def test_a_websocket_whose_handshake_comes_in_pieces_is_handed_over_whole():
    async with served(talkative) as house:
        talk = Talk(await house.dial())
        handshake = talk.handshake()
        for start in range(0, len(handshake), 40):
            await talk.peer.send(handshake[start : start + 40])
        assert isinstance(await talk.hear(), ws.AcceptConnection)
        await talk.peer.leave()


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """No WebSocket here, as McpApp says it."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("a secret")


@pytest.mark.parametrize(("app", "status"), [(refusing, 403), (failing, 500)])
async def test_a_refused_websocket_is_answered_and_closed(app: App, status: int, caplog: pytest.LogCaptureFixture):
    async with served(app) as house:
        talk = Talk(await house.dial())
        await talk.peer.send(talk.handshake())
        answer = await talk.peer.answer()
        assert (answer.status, answer[b"connection"]) == (status, b"close")
        assert await talk.peer.remains() == b""
        await house.quiet()
        await talk.peer.leave()
    assert [record.getMessage() for record in caplog.records] == (
        ["the application failed on websocket /ws"] if app is failing else []
    )


async def test_a_client_that_talks_before_it_was_accepted_is_refused_and_closed():
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await talkative(scope, receive, send)

    async with served(app) as house:
        talk = Talk(await house.dial())
        await talk.peer.send(talk.handshake() + b"\x81\x80\0\0\0\0")
        assert (await talk.peer.answer()).status == 400
        assert await talk.peer.remains() == b""
        go_on.set()
        await house.quiet()
        await talk.peer.leave()


# One handed-over connection on memory streams, where the mock clock rules


class Handed:
    """A connection on hypercorn's machinery, and its client."""

    def __init__(self, handover: Handover, peer: Peer, theirs: Any) -> None:
        self.handover = handover
        self.peer = peer
        self.theirs = theirs
        self.ended = trio.Event()

    async def run(self) -> None:
        await self.handover.run()
        self.ended.set()


@asynccontextmanager
async def handed(
    app: App, *, alpn: str = "h2", data: bytes = b"", idle: float = 5, log: Any = None
) -> AsyncIterator[Handed]:
    config = bind("127.0.0.1", 0)
    config.keep_alive_timeout = idle
    foreign: Any = app
    ours, theirs = memory_stream_pair()
    context = WorkerContext(None)
    handover = Handover(
        ASGIWrapper(foreign),
        config,
        context,
        PrefixedStream(theirs, data),
        alpn=alpn,
        tls=False,
        client=None,
        server=None,
        write_timeout=30,
        body_time=60,
        log_access=log,
    )
    connection = Handed(handover, Peer(ours), theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        with trio.fail_after(1_000_000):
            yield connection
            await connection.peer.leave()
            await connection.ended.wait()


async def test_bytes_read_before_come_first_and_once():
    ours, theirs = memory_stream_pair()
    stream = PrefixedStream(theirs, b"before")
    await ours.send_all(b"after")
    assert [await stream.receive_some(100), await stream.receive_some(100)] == [b"before", b"after"]
    await stream.send_all(b"x")
    assert await ours.receive_some(1) == b"x"


async def test_requests_of_one_connection_are_answered(autojump_clock):
    async with handed(echo) as connection:
        client = await Http2(connection.peer).begin()
        streams = [await client.request(b"/%d" % n, method=b"POST", body=b"x" * n * 30_000) for n in range(4)]
        for number, stream in enumerate(streams):
            assert await client.answer(stream) == (200, b"POST /%d " % number + b"x" * number * 30_000)


async def test_data_for_a_stream_that_was_answered_is_dropped_and_its_window_comes_back(autojump_clock):
    """Legal: the client cannot know yet (RFC 9113 section 5.1)."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"early", 401)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        for _ in range(3):
            stream = await client.request(method=b"POST", end=False)
            assert await client.answer(stream) == (401, b"early")
            await client.send(stream, b"x" * 200_000, end=True)  # more than a window
        assert await client.answer(await client.request()) == (401, b"early")


async def test_an_early_answer_to_an_upload_in_full_flow_reaches_the_client(autojump_clock):
    """More pieces than wait for the application, which reads none of them."""
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await respond(send, b"early", 413)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        stream = await client.request(method=b"POST", end=False)
        for _ in range(30):
            await client.send(stream, b"x" * 2000)
        go_on.set()
        assert await client.answer(stream) == (413, b"early")
        assert await client.answer(await client.request()) == (413, b"early")


BAD: dict[str, dict[str, Any]] = {
    "CONNECT without a path": {"method": b"CONNECT", "path": None},
    "a path that is not ASCII": {"path": b"/\xff"},
    "a method that is not ASCII": {"method": b"G\xff"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_bad_stream_is_reset_and_the_others_go_on(bad: dict[str, Any], autojump_clock):
    async with handed(echo) as connection:
        client = await Http2(connection.peer).begin()
        assert await client.answer(await client.request(**bad)) == (0, b"")
        assert await client.answer(await client.request(b"/good")) == (200, b"GET /good ")


async def test_what_is_no_http_2_at_all_ends_the_connection_with_a_reason(autojump_clock):
    async with handed(echo) as connection:
        client = await Http2(connection.peer).begin()
        await client.request(None)
        events = client.wire.receive_data(await connection.peer.remains())
        assert [event.error_code for event in events if isinstance(event, ConnectionTerminated)] == [1]


async def test_bad_streams_leave_nothing_behind(autojump_clock):
    async with handed(echo) as connection:
        client = await Http2(connection.peer).begin()
        for _ in range(50):
            await client.answer(await client.request(b"/\xff"))
        protocol: Any = connection.handover.protocol.protocol
        assert (protocol.streams, protocol.stream_buffers) == ({}, {})
        assert len(protocol.priority._streams) <= 1  # the root


async def test_an_application_that_fails_is_500_and_one_traceback(autojump_clock, caplog: pytest.LogCaptureFixture):
    async with handed(failing) as connection:
        client = await Http2(connection.peer).begin()
        assert (await client.answer(await client.request()))[0] == 500
    assert [record.getMessage() for record in caplog.records] == ["the application failed on http /"]


async def test_a_body_that_does_not_end_in_time_ends_its_stream_alone(autojump_clock, caplog: pytest.LogCaptureFixture):
    async with handed(echo) as connection:
        client, began = await Http2(connection.peer).begin(), trio.current_time()
        slow = await client.request(method=b"POST", end=False)
        while slow not in client.ended | client.reset:
            await client.send(slow, b"x")
            with trio.move_on_after(1):
                await client.read()
        assert trio.current_time() - began == pytest.approx(60, abs=2)
        assert (client.statuses[slow], client.bodies[slow]) == (408, b"no whole request came in time (body)\n")
        assert await client.answer(await client.request(b"/good")) == (200, b"GET /good ")
    assert caplog.records == []


async def test_a_body_in_time_is_not_late_because_it_is_read_late(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(1000)
        await echo(scope, receive, send)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        stream = await client.request(method=b"POST", body=b"x" * 30_000)
        assert await client.answer(stream) == (200, b"POST / " + b"x" * 30_000)


async def test_an_application_that_answers_a_late_body_itself_has_the_last_word(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await respond(send, b"mine", 400)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        assert await client.answer(await client.request(method=b"POST", body=b"x", end=False)) == (400, b"mine")


async def test_a_client_that_leaves_with_its_body_is_not_answered(autojump_clock):
    records: list[tuple[Any, ...]] = []
    async with handed(echo, log=records.append) as connection:
        client = await Http2(connection.peer).begin()
        await client.request(method=b"POST", body=b"x", end=False)
        await wait_all_tasks_blocked()
        await connection.peer.leave()
        await connection.ended.wait()
    assert [record[3] for record in records] == [0]


async def test_an_upload_that_nobody_reads_is_held_up(autojump_clock):
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(100)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        stream = await client.request(method=b"POST", end=False)
        with trio.move_on_after(50):
            for _ in range(500):
                await client.send(stream, b"x" * 2000)
                sent += 2000
    assert sent < 150_000


async def test_an_application_hears_of_a_client_whose_end_takes_no_more_bytes(autojump_clock):
    heard: list[tuple[str, float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await stream(send)
        heard.append(((await receive())["type"], trio.current_time()))

    async def broken() -> None:
        raise trio.BrokenResourceError

    async with handed(app, idle=1000) as connection:
        client = await Http2(connection.peer).begin()
        await wait_all_tasks_blocked()
        connection.theirs.send_stream.send_all_hook = broken
        began = trio.current_time()
        await client.request()
        await wait_all_tasks_blocked()
        assert heard == [("http.disconnect", began)]


async def test_a_close_does_not_wait_for_a_client_that_does_not_read(autojump_clock):
    ours, _ = memory_stream_pair()
    async with handed(refusing, alpn="http/1.1", data=Talk(Peer(ours)).handshake(), idle=1000) as connection:
        theirs = connection.theirs

        async def close() -> None:
            """As TLS does: it says goodbye, unless it is cancelled."""
            try:
                await trio.sleep_forever()
            finally:
                theirs.send_stream.close()
                theirs.receive_stream.close()

        theirs.send_eof, theirs.aclose = trio.lowlevel.checkpoint, close
        began = trio.current_time()
        await connection.ended.wait()
        assert trio.current_time() == began + 1
        assert (await connection.peer.answer()).status == 403


async def test_a_stream_that_fails_ends_its_connection_alone(autojump_clock, caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise ValueError("of the stream")

    async with handed(echo) as connection:
        await wait_all_tasks_blocked()
        connection.theirs.receive_stream.receive_some_hook = fail
        await (await Http2(connection.peer).begin()).request()
        await connection.ended.wait()
    (record,) = caplog.records
    assert record.getMessage().startswith("a connection failed and was closed")
    assert "of the stream" in record.getMessage()


# Headers


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_a_header_that_would_split_the_response_is_500(
    alpn: str, value: bytes, autojump_clock, caplog: pytest.LogCaptureFixture
):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": [(b"x-a", value)]})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", value)]})
            await send({"type": "http.response.body"})

    ours, _ = memory_stream_pair()
    data = Talk(Peer(ours)).handshake() if alpn != "h2" else b""
    async with handed(app, alpn=alpn, data=data) as connection:
        if alpn == "h2":
            client = await Http2(connection.peer).begin()
            assert (await client.answer(await client.request()))[0] == 500
        else:
            answer = await connection.peer.answer()
            assert (answer.status, answer[b"x-a"], answer[b"b"]) == (500, None, None)
    (record,) = caplog.records
    assert "the application failed" in record.getMessage()
    assert "CR, LF or NUL" in str(record.exc_info)


# The access log


async def test_each_request_over_http_2_is_told_to_the_access_log(autojump_clock, caplog: pytest.LogCaptureFixture):
    records: list[tuple[Any, ...]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep(2)
        if scope["path"] == "/fail":
            raise ValueError
        if scope["path"] != "/silent":
            await echo(scope, receive, send)

    async with handed(app, log=records.append) as connection:
        client = await Http2(connection.peer).begin()
        for path in (b"/send?x", b"/fail", b"/silent"):
            await client.answer(await client.request(path, method=b"POST", body=b"abc"))
        slow = await client.request(b"/slow", method=b"POST", end=False)
        await client.answer(slow)
    assert records == [
        (None, "POST", b"/send", 200, 14, 2, "2"),
        (None, "POST", b"/fail", 500, 0, 2, "2"),
        (None, "POST", b"/silent", 500, 0, 2, "2"),
        (None, "POST", b"/slow", 408, 37, 62, "2"),
    ]


async def test_a_websocket_is_told_to_the_access_log_when_it_has_ended(autojump_clock):
    records: list[tuple[Any, ...]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep(1000)
        await send({"type": "websocket.send", "text": "caf\xe9"})
        await send({"type": "websocket.send", "bytes": b"12"})
        await send({"type": "websocket.close"})

    ours, _ = memory_stream_pair()
    talk = Talk(Peer(ours))
    async with handed(app, alpn="http/1.1", data=talk.handshake(), log=records.append) as connection:
        await connection.peer.until(b"12")
        assert await connection.peer.remains()
    assert records == [(None, "GET", b"/ws", 101, 7, 1002, "websocket")]  # its client does not answer the close for 2 s


@pytest.mark.parametrize(("app", "status"), [(refusing, 403), (failing, 500)])
async def test_a_refused_websocket_is_told_to_the_access_log(app: App, status: int, autojump_clock):
    records: list[tuple[Any, ...]] = []
    ours, _ = memory_stream_pair()
    async with handed(app, alpn="http/1.1", data=Talk(Peer(ours)).handshake(), log=records.append) as connection:
        await connection.peer.answer()
    assert records == [(None, "GET", b"/ws", status, 0, 0, "websocket")]


async def test_the_worker_passes_its_access_log_on():
    records: list[tuple[Any, ...]] = []
    async with served(refusing, log=records.append) as house:
        talk = Talk(await house.dial())
        await talk.peer.send(talk.handshake())
        await talk.peer.answer()
        client = talk.peer.stream.socket.getsockname()
        await talk.peer.leave()
        await house.quiet()
    assert [(record[0], record[3]) for record in records] == [(client, 403)]


async def test_a_client_that_does_not_read_is_cut_off_after_the_write_timeout(autojump_clock):
    cancelled: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await respond(send, b"x" * 10_000)
        finally:
            cancelled.append(True)

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        await wait_all_tasks_blocked()
        connection.theirs.send_stream.send_all_hook = trio.sleep_forever  # it stalls
        began = trio.current_time()
        await client.request()
        await connection.ended.wait()
        assert (cancelled, trio.current_time() - began) == ([True], 30)


async def test_work_and_streams_have_no_deadline_of_the_body(autojump_clock):
    messages: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with trio.move_on_after(10_000):
            messages.append((await receive())["type"])
        await respond(send, b"done")

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        assert await client.answer(await client.request()) == (200, b"done")
    assert messages == []


async def test_a_client_that_leaves_before_the_last_bytes_had_room_does_not_linger(autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"x" * 70_000)  # more than the window, less than what may wait behind it

    async with handed(app, idle=50) as connection:
        await (await Http2(connection.peer).begin()).request()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await connection.peer.leave()
        await connection.ended.wait()
        assert trio.current_time() == began


async def test_a_client_that_leaves_is_a_disconnect_also_where_it_left_no_room_to_write(autojump_clock):
    """The window is closed, so that the application waits for room for ever."""
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10):
            await send({"type": "http.response.body", "body": b"x" * 60_000, "more_body": True})
        ended.append((await receive())["type"])

    async with handed(app) as connection:
        client = await Http2(connection.peer).begin()
        await client.request()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await connection.peer.leave()
        await connection.ended.wait()
        assert (ended, trio.current_time()) == (["http.disconnect"], began)


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_an_application_that_does_not_go_with_its_client_is_cancelled(alpn: str, autojump_clock):
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    ours, _ = memory_stream_pair()
    talk = Talk(Peer(ours))
    async with handed(app, alpn=alpn, data=talk.handshake() if alpn != "h2" else b"") as connection:
        if alpn == "h2":
            await (await Http2(connection.peer).begin()).request()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await connection.peer.leave()
        await connection.ended.wait()
        assert trio.current_time() - began == 5


async def test_a_websocket_client_that_vanishes_is_a_disconnect_behind_what_it_said(autojump_clock):
    messages: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep(1)
        while not messages or messages[-1] != "websocket.disconnect":
            message = await receive()
            messages.append(message.get("text") or message["type"])

    ours, _ = memory_stream_pair()
    talk = Talk(Peer(ours))
    async with handed(app, alpn="http/1.1", data=talk.handshake()) as connection:
        talk.peer = connection.peer
        await talk.hear()
        for number in range(5):
            await talk.say(str(number))
        await talk.peer.leave()
        await connection.ended.wait()
    assert messages == ["0", "1", "2", "3", "4", "websocket.disconnect"]


async def test_an_idle_connection_is_closed_and_one_that_its_client_closed_does_not_linger(autojump_clock):
    async with handed(echo, idle=50) as connection:
        client = await Http2(connection.peer).begin()
        await client.answer(await client.request())
        began = trio.current_time()
        await connection.ended.wait()
        assert trio.current_time() - began == pytest.approx(50, abs=1)
    async with handed(echo, idle=50) as connection:
        client = await Http2(connection.peer).begin()
        await client.answer(await client.request())
        began = trio.current_time()
        await connection.peer.leave()
        await connection.ended.wait()
        assert trio.current_time() == began


async def test_garbage_instead_of_http_2_ends_the_connection_alone(autojump_clock, caplog: pytest.LogCaptureFixture):
    async with handed(echo, data=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff") as connection:
        await connection.peer.send(b"\xff" * 100)
        await connection.peer.remains()
        await connection.ended.wait()


# Cleartext HTTP/2


async def test_http_2_without_tls_is_served_where_it_is_switched_on():
    async with served(echo, http2=True) as house:
        peer = await house.dial()
        client = await Http2(peer).begin()
        assert await client.answer(await client.request(b"/x")) == (200, b"GET /x ")
        await peer.leave()
        await house.quiet()
        assert not house.worker.hangups._watched


async def test_http_1_is_served_where_http_2_is_switched_on():
    async with served(echo, http2=True) as house:
        peer = await house.dial()
        await peer.send(GET)
        assert (await peer.answer()).status == 200
        await peer.leave()


async def test_shutdown_ends_websockets_whose_application_obeys_a_cancellation():
    async with served(talkative) as house:
        talk = Talk(await house.dial())
        await talk.peer.send(talk.handshake())
        await talk.hear()
        house.shutdown.set()
        await until(partial(lambda worker: worker.closing, house.worker))
        await talk.peer.leave()
