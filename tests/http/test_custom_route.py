"""Custom routes over HTTP: what reaches the function, what comes back, and how it ends."""

import functools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.http.client import Web, served
from tests.http.servers import Diary, small_server
from trio_mcp import HttpRequest, HttpResponse, Server, Settings
from trio_mcp.serve import http_app


@asynccontextmanager
async def routed(server: Server, *, lane: bool = False) -> AsyncIterator[Web]:
    async with served(server, lane=lane, wrap=lambda app, host: http_app(host, loopback=True)) as web:
        yield web


def asked(**scope: Any) -> Any:
    """Prepare a fetch with these parts of its ASGI scope."""
    return lambda fetch: fetch.scope.update(scope)


async def test_the_function_sees_the_request(autojump_clock, lane: bool):
    seen: list[HttpRequest] = []

    @asynccontextmanager
    async def lifespan(server: Server) -> AsyncIterator[str]:
        yield "the database"

    server = small_server(lifespan=lifespan)

    @server.route("/report/{name}/{number}", methods=["POST"])
    async def report(number: int, request: HttpRequest) -> Any:
        seen.append(request)
        return [number, await request.json()]

    async with routed(server, lane=lane) as web:
        prepare = asked(query_string=b"a=1&a=2", client=("192.0.2.7", 1), principal="ada")
        fetch = web.open("POST", {"x": [1]}, path="/report/é/7", headers={"x-mine": "yes"}, prepare=prepare)
        await fetch.done()
        assert (fetch.status, fetch.json) == (200, [7, {"x": [1]}])
    [request] = seen
    assert (request.method, request.path) == ("POST", "/report/é/7")
    assert request.path_params == {"name": "é", "number": "7"}
    assert request.query.all("a") == ["1", "2"]
    assert request.headers["x-mine"] == "yes"
    assert (request.client, request.principal, request.lifespan) == ("192.0.2.7", "ada", "the database")


@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        ("é", 200, "text/plain; charset=utf-8", "é".encode()),
        ({"a": 1}, 200, "application/json", b'{"a":1}'),
        (b"x", 200, "application/octet-stream", b"x"),
        (None, 204, None, b""),
        (HttpResponse("no", 404, headers={"X-A": "b"}), 404, "text/plain; charset=utf-8", b"no"),
        (HttpResponse("<p>", headers={"Content-Type": "text/html"}), 200, "text/html", b"<p>"),
    ],
)
async def test_what_is_returned_is_sent(
    value: Any, status: int, content_type: str | None, body: bytes, autojump_clock, lane: bool
):
    server = small_server()

    @server.route("/x")
    async def x() -> Any:
        return value

    async with routed(server, lane=lane) as web:
        fetch = await web.fetch("GET", path="/x")
        assert (fetch.status, fetch.headers.get("content-type"), fetch.body) == (status, content_type, body)
        assert fetch.headers.get("x-a") == ("b" if status == 404 else None)


async def test_head_comes_with_get_and_has_no_body(autojump_clock):
    methods: list[str] = []
    server = small_server()

    @server.route("/x", thread=False)
    def x(request: HttpRequest) -> str:
        methods.append(request.method)
        return "text"

    async with routed(server) as web:
        fetch = await web.fetch("HEAD", path="/x")
        assert (fetch.status, fetch.body, fetch.headers["content-length"]) == (200, b"", "4")
    assert methods == ["HEAD"]


async def test_another_method_is_405_with_those_there_are(autojump_clock):
    server = small_server()
    server.add_route("/x", lambda: "get", thread=False)
    server.add_route("/x", lambda: "put", methods=["PUT"], thread=False)
    async with routed(server) as web:
        fetch = await web.fetch("POST", path="/x")
        assert (fetch.status, fetch.headers["allow"]) == (405, "GET, HEAD, PUT")
        assert (await web.fetch("PUT", path="/x")).body == b"put"


@pytest.mark.parametrize("thread", [None, False])
async def test_a_plain_function_runs_in_a_thread_unless_it_says_otherwise(thread: bool | None, lane: bool):
    server = small_server()

    @server.route("/x", methods=["POST"], thread=thread)
    def where(request: HttpRequest) -> Any:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return trio.from_thread.run(request.json)
        return "in the task"

    async with routed(server, lane=lane) as web:
        fetch = await web.fetch("POST", [1], path="/x")
        assert fetch.body == (b"[1]" if thread is None else b"in the task")


async def test_a_plain_function_that_gives_a_coroutine_is_awaited(autojump_clock):
    async def late(name: str) -> str:
        await trio.sleep(1)
        return f"late {name}"

    server = small_server()
    server.add_route("/{name}", functools.partial(late))
    server.add_route("/plain/{name}", lambda name: late(name), thread=False)
    async with routed(server) as web:
        assert (await web.fetch("GET", path="/x")).body == b"late x"
        assert (await web.fetch("GET", path="/plain/y")).body == b"late y"


# What is wrong with a request


async def test_what_does_not_fit_the_function_is_400_with_its_place(autojump_clock):
    server = small_server()

    @server.route("/{number}", methods=["GET", "POST"])
    async def get(number: int, request: HttpRequest) -> Any:
        return await request.json()

    async with routed(server) as web:
        fetch = await web.fetch("GET", path="/x")
        assert (fetch.status, b"number" in fetch.body) == (400, True)
        fetch = await web.fetch("POST", b"{", path="/1")
        assert (fetch.status, b"the body is not JSON" in fetch.body) == (400, True)
        fetch = web.open("POST", path="/1", prepare=asked(query_string=b"a&" * 2000))
        assert (await fetch.done()).status == 400


async def test_a_body_is_bounded(autojump_clock, lane: bool):
    server = small_server(max_body=100)

    @server.route("/x", methods=["POST"])
    async def size(request: HttpRequest) -> str:
        return str(len(await request.body()))

    async with routed(server, lane=lane) as web:
        assert (await web.fetch("POST", b"x" * 100, path="/x")).body == b"100"
        fetch = await web.fetch("POST", [b"x" * 60, b"x" * 60], path="/x")
        assert (fetch.status, fetch.headers["connection"]) == (413, "close")
        assert fetch.body == b"Content Too Large: a body may have 100 bytes\n"


# How it ends


@pytest.mark.parametrize("error", [ValueError("a secret"), SystemExit(3), ExceptionGroup("", [KeyError("a secret")])])
async def test_a_function_that_fails_is_500_without_its_words_and_one_record(
    error: BaseException, autojump_clock, lane: bool, caplog: pytest.LogCaptureFixture
):
    server = small_server()

    @server.route("/x")
    async def x() -> None:
        raise error

    async with routed(server, lane=lane) as web:
        with caplog.at_level(logging.ERROR):
            fetch = await web.fetch("GET", path="/x")
        assert (fetch.status, fetch.body) == (500, b"Internal Server Error: see the server's log\n")
        assert [record.getMessage() for record in caplog.records] == ["GET /x failed"]
        assert caplog.records[0].exc_info is not None
        assert (await web.call("echo", message="hi").done()).status == 200


@pytest.mark.parametrize("value", [object(), {"a": object()}, HttpResponse({1, object()})])
async def test_a_value_that_cannot_be_sent_is_500(
    value: Any, autojump_clock, lane: bool, caplog: pytest.LogCaptureFixture
):
    server = small_server()
    server.add_route("/x", lambda: value, thread=False)
    async with routed(server, lane=lane) as web:
        assert (await web.fetch("GET", path="/x")).status == 500
    assert len(caplog.records) == 1


async def test_the_client_leaving_cancels_the_function(autojump_clock, lane: bool):
    diary, server = Diary(), small_server()

    @server.route("/x", methods=["POST"])
    async def x() -> None:
        diary.write("began")
        try:
            await trio.sleep(1000)
        finally:
            diary.write("ended")

    async with routed(server, lane=lane) as web:
        fetch = web.open("POST", b"x", path="/x")
        await diary.reads("began")
        await trio.sleep(5)
        fetch.drop()
        assert await diary.reads("ended") == 5
        await fetch.done()
        assert (fetch.status, fetch.late) == (0, [])


async def test_a_function_that_fails_in_cleaning_up_is_logged_and_stays_cancelled(
    autojump_clock, lane: bool, caplog: pytest.LogCaptureFixture
):
    server = small_server()

    @server.route("/x")
    async def x() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the clean-up")

    async with routed(server, lane=lane) as web:
        fetch = web.open("GET", path="/x")
        await trio.sleep(1)
        fetch.drop()
        await fetch.done()
        assert [record.getMessage() for record in caplog.records] == ["GET /x failed"]


@pytest.mark.parametrize("own", [True, False])
async def test_a_function_that_takes_too_long_is_503(own: bool, autojump_clock, lane: bool):
    server = small_server(tool_timeout=None if own else 7)

    @server.route("/x", timeout=7 if own else None)
    async def x() -> None:
        await trio.sleep_forever()

    async with routed(server, lane=lane) as web:
        fetch = await web.fetch("GET", path="/x")
        assert trio.current_time() == 7
        assert (fetch.status, fetch.body) == (503, b"/x took longer than 7 s\n")


async def test_a_client_that_does_not_read_ends_it_quietly(
    autojump_clock, lane: bool, caplog: pytest.LogCaptureFixture
):
    server = small_server(write_timeout=3)
    server.add_route("/x", lambda: "text", thread=False)
    async with routed(server, lane=lane) as web:
        fetch = web.open("GET", path="/x", prepare=lambda fetch: fetch.stall())
        await fetch.done()
        assert trio.current_time() == 3
    assert caplog.records == []


# Where it stands


async def test_routes_are_behind_what_else_is_there(autojump_clock):
    server = small_server()
    server.add_route("/x", lambda: "text", thread=False)
    async with routed(server) as web:
        assert (await web.fetch("GET", path="/x", headers={"host": "rebound.example"})).status == 421
        assert (await web.fetch("GET", path="/x", headers={"origin": "https://evil.example"})).status == 403


async def test_a_route_takes_nothing_new_while_the_server_drains(autojump_clock):
    server = small_server()
    server.add_route("/x", lambda: "text", thread=False)
    async with routed(server) as web:
        await web.host.drain()
        fetch = await web.fetch("GET", path="/x")
        assert (fetch.status, fetch.headers["retry-after"]) == (503, "1")
        web.host.stop()
        await web.host_ended()
        assert (await web.fetch("GET", path="/x")).status == 503


async def test_routes_come_while_the_server_runs_and_below_a_mount_point(autojump_clock):
    server = small_server()
    async with routed(server) as web:
        assert (await web.fetch("GET", path="/x/y")).status == 404
        server.add_route("/x/{name}", lambda name: f"{name}", thread=False)
        assert (await web.fetch("GET", path="/x/y")).body == b"y"
        assert (await web.open("GET", path="/below/x/z/", prepare=asked(root_path="/below")).done()).body == b"z"


async def test_a_route_hides_nothing_of_the_servers_own(autojump_clock):
    server = Server("s", settings=Settings())
    server.add_route("/{anything}", lambda anything: anything, thread=False)
    async with routed(server) as web:
        assert (await web.fetch("GET", path="/health")).json["status"] == "healthy"
        assert "tools" in (await web.fetch("GET", path="/tools")).json
        assert (await web.fetch("GET", path="/mcp")).status == 400
        assert (await web.fetch("GET", path="/other")).body == b"other"
