"""Who hung up, where the kernel tells: closes, resets, half-closes, at every moment of a request."""

import http.client
import os
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from tests.http.lane_kit import (
    GET,
    HOST,
    Peer,
    Served,
    Worked,
    descriptors,
    post,
    respond,
    served,
    stream,
    tcp_pair,
    until,
)
from trio_mcp.http.asgi import CONNECTION_EXTENSION, Receive, Scope, Send
from trio_mcp.http.hangup import Hangups


class Told:
    """What wants to know, and what it was told."""

    def __init__(self) -> None:
        self.gone: list[bool] = []

    def hung_up(self, *, gone: bool) -> None:
        self.gone.append(gone)


@asynccontextmanager
async def watching() -> AsyncIterator[Hangups]:
    hangups = Hangups()
    async with trio.open_nursery() as nursery:
        await nursery.start(hangups.run)
        with trio.fail_after(10):
            yield hangups
        nursery.cancel_scope.cancel()


# The watcher


async def test_a_watcher_that_does_not_run_has_nothing_open_and_watches_nobody():
    before = descriptors()
    hangups = Hangups()
    assert descriptors() == before
    assert not hangups.watch(0, Told())
    async with trio.open_nursery() as nursery:
        await nursery.start(hangups.run)
        assert descriptors() != before
        nursery.cancel_scope.cancel()
    assert descriptors() == before


async def test_a_half_close_and_a_close_are_told_apart_once_something_is_written():
    server, client = tcp_pair()
    async with watching() as hangups:
        with server, client:
            told = Told()
            assert hangups.watch(server.fileno(), told)
            client.sendall(b"unread")
            client.shutdown(socket.SHUT_WR)
            await until(lambda: told.gone == [False])
            server.send(b"probe")
            client.close()
            await until(lambda: told.gone[-1])
            hangups.forget(server.fileno(), told)


async def test_a_reset_is_told_also_behind_bytes_that_nobody_reads():
    server, client = tcp_pair()
    async with watching() as hangups:
        with server:
            told = Told()
            hangups.watch(server.fileno(), told)
            client.sendall(b"unread")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            await until(lambda: told.gone == [True])
            hangups.forget(server.fileno(), told)


async def test_who_was_forgotten_is_told_nothing():
    server, client = tcp_pair()
    other_server, other_client = tcp_pair()
    async with watching() as hangups:
        with server, other_server:
            told, other = Told(), Told()
            hangups.watch(server.fileno(), told)
            hangups.watch(other_server.fileno(), other)
            hangups.forget(server.fileno(), told)
            client.close()
            other_client.close()
            await until(lambda: bool(other.gone))
            assert told.gone == []
            hangups.forget(other_server.fileno(), other)
            assert hangups.watch(server.fileno(), told), "it can be watched anew"
            await until(lambda: bool(told.gone))
            hangups.forget(server.fileno(), told)


async def test_forgetting_who_is_closed_already_does_not_forget_the_next_with_the_same_descriptor():
    server, client = tcp_pair()
    other_server, other_client = tcp_pair()
    async with watching() as hangups:
        with client, other_server:
            told, other, fd = Told(), Told(), server.fileno()
            hangups.watch(fd, told)
            server.close()
            os.dup2(other_server.fileno(), fd)
            hangups.watch(fd, other)
            hangups.forget(fd, told)
            other_client.close()
            await until(lambda: bool(other.gone))
            assert told.gone == []
            hangups.forget(fd, other)
            os.close(fd)
            hangups.forget(fd, other)


async def test_forgetting_who_is_closed_already_is_nothing():
    server, client = tcp_pair()
    async with watching() as hangups:
        told, fd = Told(), server.fileno()
        hangups.watch(fd, told)
        server.close()
        client.close()
        hangups.forget(fd, told)
        hangups.forget(fd, told)


async def test_where_nothing_can_tell_a_watch_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(select, "epoll")
    server, client = tcp_pair()
    async with watching() as hangups:
        with server, client:
            assert not hangups.watch(server.fileno(), Told())
            hangups.forget(server.fileno(), Told())


# Connections


class Raw:
    """A client in one breath: what it does is in the kernel before the server gets to run."""

    def __init__(self, house: Served) -> None:
        self.socket = socket.create_connection(("127.0.0.1", house.port))

    def send(self, data: bytes) -> "Raw":
        self.socket.sendall(data)
        return self

    def half_close(self) -> "Raw":
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def peer(self) -> Peer:
        return Peer(trio.SocketStream(trio.socket.from_stdlib_socket(self.socket)))


async def told_of(house: Served) -> None:
    """Once the server's one connection was told that its client hung up."""
    await until(lambda: any(connection._hangup is not None for connection in house.worker.connections))


REQUESTS = {
    "alone": GET,
    "with a body": post(b"abc"),
    "with another request behind it": GET + GET,
    "with part of another behind it": GET + b"GET / HT",
    "with garbage behind it": GET + b"\x00",
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("tls", [False, True])
async def test_a_client_that_leaves_is_seen_while_the_application_works(request_: bytes, way: str, tls: bool):
    app = Worked()
    async with served(app, tls=tls) as house:
        peer = await (house.dial_tls() if tls else house.dial())
        await peer.send(request_)
        await until(lambda: app.began == 1)
        if way == "close":
            await peer.leave()
        elif tls:
            Peer(peer.stream.transport_stream).reset()
        else:
            peer.reset()
        await until(lambda: len(app.ended) >= 1)
        await house.quiet()
    assert set(app.ended) == {"the client disconnected"}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_client_that_left_before_its_request_was_read_is_seen(request_: bytes):
    app = Worked()
    async with served(app) as house:
        Raw(house).send(request_).close()
        await until(lambda: len(app.ended) >= 1)
        await house.quiet()
    assert set(app.ended) == {"the client disconnected"}


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_client_that_leaves_with_the_end_of_its_body_is_seen(way: str):
    """Whatever comes first, the bytes to the reader or the end to the watcher."""
    app = Worked()
    async with served(app) as house:
        for _ in range(20):
            raw = Raw(house).send(post(b"abc")[:-1])
            await until(lambda: len(house.worker.connections) == 1)
            await until(lambda: next(iter(house.worker.connections))._phase == "body")
            raw.send(b"c")
            getattr(raw, way)()
            await house.quiet()
    assert set(app.ended) <= {"the client disconnected"}
    assert len(app.ended) == app.began
    assert way == "reset" or app.began == 20  # a reset may take the last byte with it


@pytest.mark.parametrize("request_", [GET, post(b"abc"), b"GET / HTTP/1.0\r\n\r\n"], ids=["GET", "POST", "HTTP/1.0"])
@pytest.mark.parametrize("early", [True, False], ids=["before it was read", "while it is worked on"])
async def test_a_client_that_only_sends_no_more_gets_its_answer(request_: bytes, early: bool):
    app = Worked()
    async with served(app) as house:
        raw = Raw(house).send(request_)
        if early:
            raw.half_close()
        await until(lambda: app.began == 1)
        raw.half_close()
        await told_of(house)
        app.go_on.set()
        peer = raw.peer()
        answer = await peer.answer()
        assert (answer.status, answer.body, answer.interim) == (200, b"done", [])
        assert await peer.remains() == b""
        await peer.leave()
        await house.quiet()
    assert app.ended == ["answered"]


async def test_all_pipelined_requests_of_a_client_that_sends_no_more_are_answered():
    app = Worked()
    app.go_on.set()
    async with served(app) as house:
        peer = Raw(house).send(GET * 5).half_close().peer()
        assert [(await peer.answer()).status for _ in range(5)] == [200] * 5
        await peer.leave()


async def test_a_client_that_sends_no_more_and_then_leaves_is_seen():
    app = Worked()
    async with served(app) as house:
        raw = Raw(house).send(GET)
        await until(lambda: app.began == 1)
        raw.half_close()
        await told_of(house)
        assert app.ended == []
        raw.close()
        await until(lambda: app.ended == ["the client disconnected"])


@pytest.mark.parametrize("end", ["fail", "silent"])
async def test_an_application_that_fails_on_a_half_closed_connection_is_500(end: str, caplog: pytest.LogCaptureFixture):
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        if end == "fail":
            raise ValueError

    async with served(app) as house:
        peer = Raw(house).send(GET).half_close().peer()
        await told_of(house)
        go_on.set()
        assert (await peer.answer()).status == 500
        await peer.leave()
    assert len(caplog.records) == 1


async def test_http_client_understands_what_a_half_closing_client_is_told():
    """It takes an interim 102 for the answer, so none is sent."""
    app = Worked()
    async with served(app) as house:

        def ask() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=10)
            connection.request("GET", "/")
            connection.sock.shutdown(socket.SHUT_WR)
            response = connection.getresponse()
            answer = response.status, response.read()
            connection.close()
            return answer

        async def finish() -> None:
            await until(lambda: app.began == 1)
            await told_of(house)
            app.go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            assert await trio.to_thread.run_sync(ask) == (200, b"done")


class Streaming:
    """A stream of events that goes on until its client leaves."""

    def __init__(self) -> None:
        self.more = trio.Event()
        self.gone = trio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

        def gone(reason: str) -> None:
            self.gone.set()
            scope_.cancel(reason)

        with trio.CancelScope() as scope_:
            scope["extensions"][CONNECTION_EXTENSION].on_gone(gone)
            await stream(send)
            await self.more.wait()
            await send({"type": "http.response.body", "body": b"data: more\n\n"})


async def test_a_stream_goes_on_for_a_client_that_only_sends_no_more():
    app = Streaming()
    async with served(app) as house:
        raw = Raw(house).send(GET)
        peer = raw.peer()
        begun = await peer.until(b"data: begun\n\n\r\n")
        raw.half_close()
        comment = await peer.until(b"\r\n:\n\n\r\n")
        app.more.set()
        peer.rest = begun + comment + peer.rest
        answer = await peer.answer()
        assert (answer.body, answer.whole) == (b"data: begun\n\n:\n\ndata: more\n\n", True)
        assert not app.gone.is_set()
        await peer.leave()


async def test_what_fails_when_it_is_told_that_the_client_is_gone_ends_its_connection_alone(
    caplog: pytest.LogCaptureFixture,
):
    told: list[str] = []
    ended = trio.Event()

    def fail(reason: str) -> None:
        raise ValueError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/fail":
            scope["extensions"][CONNECTION_EXTENSION].on_gone(fail)
            scope["extensions"][CONNECTION_EXTENSION].on_gone(told.append)
            try:
                await trio.sleep_forever()
            finally:
                ended.set()
        await respond(send)

    async with served(app) as house:
        good, bad = await house.dial(), await house.dial()
        await bad.send(GET.replace(b"/", b"/fail", 1))
        await until(lambda: any(connection._callbacks for connection in house.worker.connections))
        await bad.leave()
        await ended.wait()
        await until(lambda: house.worker._open == 1)
        await good.send(GET)
        assert (await good.answer()).status == 200
        await good.leave()
    assert told == ["the client disconnected"], "the others are told all the same"
    assert [record.getMessage() for record in caplog.records] == ["what was to end with the client failed"]


@pytest.mark.parametrize(
    ("request_", "content_type"),
    [(b"GET / HTTP/1.0\r\n\r\n", "text/event-stream"), (GET, "text/plain")],
    ids=["not chunked", "no events"],
)
async def test_nothing_is_written_into_a_stream_that_has_no_place_for_it(request_: bytes, content_type: str):
    """Then a half-close counts as a close."""
    gone = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        scope["extensions"][CONNECTION_EXTENSION].on_gone(lambda _: gone.set())
        await stream(send, content_type=content_type)
        await gone.wait()
        await send({"type": "http.response.body", "body": b"end"})

    async with served(app) as house:
        raw = Raw(house).send(request_)
        peer = raw.peer()
        await peer.until(b"begun\n\n")
        raw.half_close()
        assert b":" not in await peer.remains()
        await peer.leave()


async def test_a_stream_ends_with_the_client():
    app = Streaming()
    async with served(app) as house:
        peer = await house.dial()
        await peer.send(GET)
        await peer.until(b"data: begun")
        await peer.leave()
        await until(app.gone.is_set)


async def test_a_half_close_does_not_write_into_a_write_that_waits():
    size = 20_000_000

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"x" * size, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with served(app) as house:
        raw = Raw(house).send(GET)
        await until(lambda: bool(house.worker.connections))
        connection = next(iter(house.worker.connections))
        await until(lambda: connection.bytes._waiting)  # type: ignore[attr-defined]  # it is a socket's
        raw.half_close()
        await told_of(house)
        peer = raw.peer()
        answer = await peer.answer()
        assert (answer.whole, len(answer.body), set(answer.body)) == (True, size, set(b"x"))
        await peer.leave()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_reader_that_stalls_ends_alone_and_is_no_error(whole: bool, caplog: pytest.LogCaptureFixture):
    ended: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b"x" * 20_000_000
        try:
            if whole:
                await scope["extensions"][CONNECTION_EXTENSION].respond(200, (), body)
            else:
                await respond(send, body)
        except OSError as error:
            ended.append(str(error))

    async with served(app, write_timeout=0.01) as house:
        stalled = await house.dial()
        await stalled.send(GET)
        await house.quiet()
        assert ended == ["the client did not read for 0.01 s"]
        await stalled.leave()
    assert caplog.records == []


async def test_after_a_stalled_reader_was_cut_the_next_client_is_still_watched():
    """Its descriptor may be the next connection's before its own task has ended."""
    app, slow_end = Worked(), trio.Event()

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/job":
            await app(scope, receive, send)
            return
        try:
            await respond(send, b"x" * 20_000_000)
        except OSError:
            with trio.CancelScope(shield=True):  # a fake of a slow clean-up
                await slow_end.wait()

    async with served(both, write_timeout=0.01) as house:
        client = socket.socket()  # now, so that it does not get the number that becomes free
        stalled = await house.dial()
        await stalled.send(GET)
        await until(lambda: bool(house.worker.connections))
        first = next(iter(house.worker.connections))
        fd = first.bytes.fileno()
        try:
            await until(lambda: first.bytes.fileno() == -1)
            client.connect(("127.0.0.1", house.port))
            client.sendall(GET.replace(b"/", b"/job", 1))
            await until(lambda: app.began == 1)
            second = next(connection for connection in house.worker.connections if connection is not first)
            assert second.bytes.fileno() == fd, "the kernel gives the lowest free number"
        finally:
            slow_end.set()
        await until(lambda: first not in house.worker.connections)
        client.close()
        await until(lambda: app.ended == ["the client disconnected"])
        await stalled.leave()


async def test_the_end_of_a_response_is_not_cancelled_by_a_client_that_leaves_with_it():
    """What the last write wakes must not cancel what comes after it."""
    ended: list[Any] = []
    go_on = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with trio.CancelScope() as work_scope:
            scope["extensions"][CONNECTION_EXTENSION].on_gone(work_scope.cancel)
            await respond(send, b"done")
            await told_of(house)
        ended.append(work_scope.cancelled_caught)

    async with served(app) as house:
        peer = await house.dial()
        await peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        await peer.answer()
        await peer.leave()
        await told_of(house)
        go_on.set()
        await until(partial(bool, ended))
    assert ended == [False]
