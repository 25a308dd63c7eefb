"""`serve_http`, `serve_stdio`, `mcp.run` and `mcp` as an ASGI application, over real sockets and processes.

What waits on a clock that is real is bounded by `PATIENCE`; no test sleeps for a while and hopes.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import hypercorn.trio
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.utils import LifespanFailureError

from tests.http.client import Web, request
from tests.http.servers import Diary, small_server
from tests.http.sockets import Wire, call, open_session
from trio_mcp import Host, MemoryEventStore, Server, Shutdown, serve_http
from trio_mcp.testing import living_tasks

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 30
LOGS = {"io.modelcontextprotocol/logLevel": "debug"}


class Lifespan:
    """A lifespan that tells how far it got."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.has_left = trio.Event()

    @asynccontextmanager
    async def __call__(self, server: Server) -> AsyncIterator[str]:
        self.steps.append("entered")
        try:
            yield "value"
        finally:
            await trio.lowlevel.checkpoint()
            self.steps.append("left")
            self.has_left.set()


@pytest.fixture
def lifespan() -> Lifespan:
    return Lifespan()


Serve = Callable[[trio.Nursery], Any]


async def serving(nursery: trio.Nursery, server: Server, **options: Any) -> str:
    """Start to serve on a port that the system chooses; the endpoint's URL."""
    urls = await nursery.start(partial(serve_http, server, port=0, **options))
    assert len(urls) == 1
    return str(urls[0])


def refuses(url: str) -> bool:
    """Whether nobody listens there any more."""
    with socket.socket() as probe:
        host, port = url.partition("://")[2].partition("/")[0].split(":")
        return probe.connect_ex((host, int(port))) != 0


# serve_http


async def test_it_tells_its_urls_once_it_accepts(lifespan: Lifespan):
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(lifespan=lifespan))
            assert url.startswith("http://127.0.0.1:")
            assert url.endswith("/mcp")
            assert ":0/" not in url
            assert lifespan.steps == ["entered"]
            assert (await call(url, "echo", message="hi"))["content"][0]["text"] == "hi"
            nursery.cancel_scope.cancel()


async def test_the_path_is_an_option_and_a_setting():
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for url in (
                await serving(nursery, small_server(), path="/here"),
                await serving(nursery, small_server(path="/here")),
            ):
                assert url.endswith("/here")
                await call(url, "echo", message="hi")
            nursery.cancel_scope.cancel()


async def test_ipv6_is_served_and_its_url_has_brackets():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            try:
                url = await serving(nursery, small_server(), host="::1")
            except* OSError:
                pytest.skip("this machine has no IPv6 loopback")
            assert url.startswith("http://[::1]:")
            await call(url, "echo", message="hi")
            nursery.cancel_scope.cancel()


async def test_two_servers_live_in_one_nursery_and_one_ends_alone(lifespan: Lifespan):
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            shutdown = Shutdown()
            first = await serving(nursery, small_server(lifespan=lifespan), shutdown=shutdown)
            second = await serving(nursery, small_server())
            shutdown.begin.set()
            await lifespan.has_left.wait()
            await settled(lambda: 1 - refuses(first), 0)
            await call(second, "echo", message="hi")
            nursery.cancel_scope.cancel()


async def test_cancelling_it_cancels_calls_and_tears_the_lifespan_down(lifespan: Lifespan):
    diary = Diary()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary, lifespan=lifespan))
            wire = await Wire.to(url)
            await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
            await diary.reads("wait began")
            nursery.cancel_scope.cancel()
        await wire.aclose()
    assert "wait ended" in diary
    assert lifespan.steps == ["entered", "left"]
    assert refuses(url)


async def test_a_port_that_is_taken_is_an_error_before_the_lifespan_is_entered(lifespan: Lifespan):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with trio.fail_after(PATIENCE), pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            await serve_http(small_server(lifespan=lifespan), port=taken.getsockname()[1])
    assert lifespan.steps == []
    gc.collect()


async def test_what_the_lifespan_raises_on_entering_comes_out_and_the_port_is_free_again():
    @asynccontextmanager
    async def failing(server: Server) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise ValueError("the database is not there")
        yield

    with trio.fail_after(PATIENCE):
        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="database"), flatten_subgroups=True):
            await serve_http(small_server(lifespan=failing), port=0)


async def test_the_event_store_that_is_given_is_used():
    store = MemoryEventStore()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(), event_store=store)
            wire = await Wire.to(url)
            session = await open_session(wire)
            await wire.send(
                "POST", request(1, "tools/call", {"name": "talk", "arguments": {"gap": 0}}), mcp_session_id=session
            )
            await wire.head()
            assert b"talked" in await wire.body()
            assert len(store) > 0
            await wire.aclose()
            nursery.cancel_scope.cancel()


# A graceful end


async def test_shutdown_ends_streams_finishes_calls_and_returns(lifespan: Lifespan):
    diary, shutdown = Diary(), Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary, lifespan=lifespan), shutdown=shutdown)
            stream, listening, calling, idle = [await Wire.to(url) for _ in range(4)]
            session = await open_session(stream)
            await stream.send("GET", mcp_session_id=session)
            assert await stream.head() == 200
            await listening.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            assert await listening.head() == 200
            await listening.event()
            await calling.ask("tools/call", {"name": "wait", "arguments": {"seconds": 0.2}})
            await diary.reads("wait began")
            shutdown.begin.set()
            await stream.body()  # up to its terminator
            assert b"resultType" in await listening.body()
            assert (await calling.answer())["result"]["content"][0]["text"] == "waited 0.2"
            for wire in (stream, listening, calling, idle):
                await wire.closed()
                await wire.aclose()
    assert lifespan.steps == ["entered", "left"]
    assert refuses(url)


async def test_shutdown_cancels_what_outlasts_the_grace_and_says_so_to_the_client():
    diary, shutdown = Diary(), Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary, shutdown_grace=0.05), shutdown=shutdown)
            wire = await Wire.to(url)
            await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
            await diary.reads("wait began")
            shutdown.begin.set()
            assert await wire.head() == 503
            await wire.closed()
            await wire.aclose()
    assert "wait ended" in diary


async def test_a_hurried_shutdown_waits_for_no_call():
    diary, shutdown = Diary(), Shutdown()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary, shutdown_grace=1000), shutdown=shutdown)
            wire = await Wire.to(url)
            await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
            await diary.reads("wait began")
            shutdown.begin.set()
            shutdown.hurry.set()
        await wire.aclose()
    assert "wait ended" in diary


async def test_told_to_go_while_the_lifespan_begins_it_never_serves():
    shutdown, entered = Shutdown(), trio.Event()

    @asynccontextmanager
    async def slow(server: Server) -> AsyncIterator[None]:
        entered.set()
        await trio.sleep(1000)
        yield

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(serve_http, small_server(lifespan=slow), port=0, shutdown=shutdown))
            await entered.wait()
            shutdown.begin.set()


# Clients that leave


async def test_a_client_that_disconnects_cancels_its_per_request_call():
    diary = Diary()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary))
            for meta in ({}, LOGS):
                diary.entries.clear()
                wire = await Wire.to(url)
                tool = "talk" if meta else "wait"
                arguments = {"gap": 1000} if meta else {"seconds": 1000}
                await wire.ask("tools/call", {"name": tool, "arguments": arguments}, **meta)
                if meta:
                    assert await wire.head() == 200
                    await wire.event()
                else:
                    await diary.reads("wait began")
                await wire.aclose()
                await diary.reads(f"{tool} ended")
            nursery.cancel_scope.cancel()


async def test_a_client_that_disconnects_leaves_its_session_call_running():
    diary = Diary()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary))
            wire = await Wire.to(url)
            session = await open_session(wire)
            body = request(1, "tools/call", {"name": "talk", "arguments": {"times": 2, "gap": 0.1}})
            await wire.send("POST", body, mcp_session_id=session)
            assert await wire.head() == 200
            first = await wire.chunk()
            await wire.aclose()
            event_id = first.decode().split("id: ")[1].split("\n")[0]
            await diary.reads("talk ended")
            again = await Wire.to(url)
            await again.send("GET", mcp_session_id=session, last_event_id=event_id)
            assert await again.head() == 200
            assert b"talked" in await again.body()
            await again.aclose()
            nursery.cancel_scope.cancel()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
async def test_sessions_and_clients_that_are_gone_leave_no_task_and_no_descriptor():
    diary = Diary()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            url = await serving(nursery, small_server(diary))
            await call(url, "echo", message="warm")
            await settled(connections, 0)
            tasks, before = living_tasks(), descriptors()
            for number in range(5):
                wires = [await Wire.to(url) for _ in range(4)]
                session = await open_session(wires[0])
                await wires[0].send("GET", mcp_session_id=session)
                await wires[0].head()
                body = request(1, "tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
                await wires[1].send("POST", body, mcp_session_id=session)
                await wires[2].ask("tools/call", {"name": "talk", "arguments": {"gap": 1000}}, **LOGS)
                await wires[2].head()
                if number % 2:
                    await wires[2].aclose()
                await wires[3].send("DELETE", mcp_session_id=session)
                assert await wires[3].head() == 204
                for wire in wires:
                    await wire.aclose()
            await settled(connections, 0)
            await settled(lambda: len(descriptors()), len(before))
            await settled(lambda: len(living_tasks()), len(tasks))
            assert living_tasks() == tasks
            nursery.cancel_scope.cancel()


def connections() -> int:
    """Connections that the servers of this test still hold, by their tasks."""
    return sum(task.name.startswith("serve connection") for task in living_tasks())


async def settled(measure: Callable[[], int], expected: int) -> None:
    """Until it is so; the patience of the test bounds it."""
    while measure() > expected:
        gc.collect()
        await trio.sleep(0.01)


# mcp as an ASGI application, in memory


class Mount:
    """An ASGI server in memory: runs the lifespan on demand."""

    def __init__(self, server: Server, nursery: trio.Nursery) -> None:
        self.server = server
        self.web = Web(server, Host(server), nursery, lane=False)
        self.sent: list[dict[str, Any]] = []
        self._nursery = nursery
        self._to_app, self._receives = trio.open_memory_channel[dict[str, Any]](2)
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self, event: str) -> None:
        """`startup` or `shutdown`, to its end."""
        if event == "startup":
            self._nursery.start_soon(self.server, {"type": "lifespan"}, self._receives.receive, self._send)
        self._to_app.send_nowait({"type": f"lifespan.{event}"})
        count = len(self.sent)
        while len(self.sent) == count:
            await self._changed.park()
        assert self.sent[-1]["type"] == f"lifespan.{event}.complete", self.sent

    async def _send(self, message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)
        self._changed.unpark_all()


async def test_as_an_application_it_serves_between_startup_and_shutdown(lifespan: Lifespan, autojump_clock):
    async with trio.open_nursery() as nursery:
        mount = Mount(small_server(lifespan=lifespan), nursery)
        await mount.run("startup")
        session = await mount.web.initialize()
        assert await session.answers()
        assert (await mount.web.call("echo", message="x").done()).status == 200
        assert (await mount.web.fetch("GET", path="/health")).json["sessions"] == 1
        await mount.run("shutdown")
        assert lifespan.steps == ["entered", "left"]
        assert (await mount.web.call("echo", message="x").done()).status == 503


async def test_as_an_application_its_shutdown_lets_calls_finish(autojump_clock):
    async with trio.open_nursery() as nursery:
        mount = Mount(small_server(shutdown_grace=5), nursery)
        await mount.run("startup")
        session = await mount.web.initialize()
        calls = [mount.web.call("wait", seconds=3), session.call("wait", seconds=3)]
        await trio.testing.wait_all_tasks_blocked()
        await mount.run("shutdown")
        for call in calls:
            assert call.complete
            assert call.result["content"][0]["text"] == "waited 3"


async def test_as_an_application_it_may_start_again(lifespan: Lifespan, autojump_clock):
    async with trio.open_nursery() as nursery:
        mount = Mount(small_server(lifespan=lifespan), nursery)
        for _ in range(2):
            await mount.run("startup")
            assert (await mount.web.call("echo", message="x").done()).status == 200
            await mount.run("shutdown")
        assert lifespan.steps == ["entered", "left"] * 2


async def test_mounted_without_its_lifespan_it_answers_503_with_what_to_do(autojump_clock):
    async with trio.open_nursery() as nursery:
        mount = Mount(small_server(), nursery)
        fetch = await mount.web.call("echo", message="x").done()
        assert fetch.status == 503
        assert "lifespan" in fetch.error["message"]
        assert (await mount.web.fetch("GET", path="/ready")).status == 503
        assert (await mount.web.fetch("GET", path="/health")).json["state"] == "starting"


async def test_over_sockets_an_unchanged_list_is_304_and_the_connection_goes_on():
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            wire = await Wire.to(await serving(nursery, small_server()))
            wire.path = "/tools"
            await wire.send("GET")
            assert await wire.head() == 200
            tag = wire.headers["etag"]
            assert b'"echo"' in await wire.body()
            await wire.send("GET", if_none_match=tag)
            assert await wire.head() == 304
            assert {"content-length", "transfer-encoding"}.isdisjoint(wire.headers)
            wire.path = "/metrics"
            await wire.send("GET")
            assert await wire.head() == 200
            assert b'mcp_http_requests_total{status="3xx"} 1.0' in await wire.body()
            await wire.aclose()
            nursery.cancel_scope.cancel()


async def test_as_an_application_host_and_origin_are_checked(autojump_clock):
    async with trio.open_nursery() as nursery:
        mount = Mount(small_server(), nursery)
        await mount.run("startup")
        assert (await mount.web.fetch(headers={"host": "evil.example"})).status == 421
        assert (await mount.web.fetch(headers={"origin": "http://evil.example"})).status == 403
        await mount.run("shutdown")


# Under hypercorn as it comes


@asynccontextmanager
async def under_hypercorn(server: Server) -> AsyncIterator[str]:
    """Serve with hypercorn's own worker; the endpoint's URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 1
    stop = trio.Event()
    app: Any = server
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait))
        yield f"{address}/mcp"
        stop.set()


async def test_under_stock_hypercorn_both_eras_are_served(lifespan: Lifespan):
    with trio.fail_after(PATIENCE):
        async with under_hypercorn(small_server(lifespan=lifespan)) as url:
            assert (await call(url, "echo", message="hi"))["content"][0]["text"] == "hi"
            wire = await Wire.to(url)
            session = await open_session(wire)
            body = request(1, "tools/call", {"name": "talk", "arguments": {"gap": 0}})
            await wire.send("POST", body, mcp_session_id=session)
            assert await wire.head() == 200
            assert b"talked" in await wire.body()
            await wire.send("DELETE", mcp_session_id=session)
            assert await wire.head() == 204
            await wire.aclose()
        assert lifespan.steps == ["entered", "left"]


async def test_under_stock_hypercorn_a_client_that_leaves_cancels_its_call():
    diary = Diary()
    with trio.fail_after(PATIENCE):
        async with under_hypercorn(small_server(diary)) as url:
            wire = await Wire.to(url)
            await wire.ask("tools/call", {"name": "wait", "arguments": {"seconds": 1000}})
            await diary.reads("wait began")
            await wire.aclose()
            await diary.reads("wait ended")


async def test_under_stock_hypercorn_a_startup_that_fails_says_why():
    @asynccontextmanager
    async def failing(server: Server) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        raise ValueError("the database is not there")
        yield

    expected = pytest.RaisesExc(LifespanFailureError, match="ValueError: the database is not there")
    with trio.fail_after(PATIENCE), pytest.RaisesGroup(expected, flatten_subgroups=True):
        async with under_hypercorn(small_server(lifespan=failing)):
            await trio.sleep_forever()  # hypercorn accepts for a moment, then gives up


# Processes

PROGRAM = """
import sys
from contextlib import asynccontextmanager
import trio
from trio_mcp import Server, Settings, Shutdown, serve_stdio

@asynccontextmanager
async def lifespan(server):
    try:
        yield
    finally:
        await trio.lowlevel.checkpoint()
        print("torn down", file=sys.stderr, flush=True)

mcp = Server("program", lifespan=lifespan, settings=Settings(shutdown_grace=0.2, eof_grace=0.2))
stop, scope = Shutdown(), trio.CancelScope()

@mcp.tool
async def hang() -> str:
    print("hanging", file=sys.stderr, flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("hung up", file=sys.stderr, flush=True)

@mcp.tool
async def cancel() -> str:
    scope.cancel()
    return ""

@mcp.tool
async def shut() -> str:
    stop.begin.set()
    return "shutting"

async def embedded():
    with scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_stdio, mcp) if sys.argv[1] == "cancel" else None
            if sys.argv[1] == "shut":
                async def serve():
                    await serve_stdio(mcp, shutdown=stop)
                nursery.start_soon(serve)
    print("after", file=sys.stderr, flush=True)

if sys.argv[1] == "http":
    mcp.run(port=0)
elif sys.argv[1] == "stdio":
    mcp.run("stdio")
else:
    trio.run(embedded)
"""


class Program:
    """A running `PROGRAM`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.heard = ""

    async def hears(self, text: str) -> str:
        assert self.process.stderr is not None
        while text not in self.heard:
            piece = await self.process.stderr.receive_some()
            assert piece, f"it ended without saying {text!r}: {self.heard}"
            self.heard += piece.decode()
        return self.heard

    async def ends(self) -> int:
        """Its exit code."""
        assert self.process.stderr is not None
        while piece := await self.process.stderr.receive_some():
            self.heard += piece.decode()
        return await self.process.wait()

    async def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def program(folder: Path, *arguments: str) -> AsyncIterator[Program]:
    path = folder / "program.py"
    path.write_text(PROGRAM)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-W", "error", str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        with trio.fail_after(PATIENCE):
            yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            assert stream is not None
            with suppress(trio.ClosedResourceError):
                await stream.aclose()


def tool_call(tool: str) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return request(1, "tools/call", {"name": tool, "_meta": meta})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_server_with_a_stream_and_a_call_in_flight_with_zero(number: int, tmp_path: Path):
    async with program(tmp_path, "http") as running:
        banner = await running.hears("(Ctrl-C to stop)")
        url = "http://" + banner.partition("http://")[2].split()[0]
        stream, calling, session_call = [await Wire.to(url) for _ in range(3)]
        session = await open_session(stream)
        await stream.send("GET", mcp_session_id=session)
        assert await stream.head() == 200
        await calling.ask("tools/call", {"name": "hang", "arguments": {}})
        await running.hears("hanging\n")
        await session_call.send("POST", request(1, "tools/call", {"name": "hang"}), mcp_session_id=session)
        await running.hears("hanging\nhanging\n")
        running.process.send_signal(number)
        await stream.body()
        assert await running.ends() == 0
        assert running.heard.count("hung up") == 2
        assert running.heard.index("hung up") < running.heard.index("torn down")
        assert "Traceback" not in running.heard
        for wire in (stream, calling, session_call):
            await wire.aclose()


async def test_a_cancelled_serve_stdio_cancels_its_calls_and_tears_the_lifespan_down(tmp_path: Path):
    async with program(tmp_path, "cancel") as running:
        await running.say(tool_call("hang"))
        await running.hears("hanging")
        await running.say({**tool_call("cancel"), "id": 2})
        assert await running.ends() == 0
        assert [line for line in running.heard.splitlines() if line] == ["hanging", "hung up", "torn down", "after"]


async def test_serve_stdio_told_to_shut_down_answers_what_it_can(tmp_path: Path):
    async with program(tmp_path, "shut") as running:
        await running.say(tool_call("hang"))
        await running.hears("hanging")
        await running.say({**tool_call("shut"), "id": 2})
        assert running.process.stdout is not None
        answer = json.loads(await running.process.stdout.receive_some())
        assert (answer["id"], answer["result"]["content"][0]["text"]) == (2, "shutting")
        assert await running.ends() == 0
        assert [line for line in running.heard.splitlines() if line] == ["hanging", "hung up", "torn down", "after"]


async def test_run_on_stdio_ends_with_its_input(tmp_path: Path):
    async with program(tmp_path, "stdio") as running:
        await running.say(tool_call("hang"))
        await running.hears("hanging")
        assert running.process.stdin is not None
        await running.process.stdin.aclose()
        assert await running.ends() == 0
        assert [line for line in running.heard.splitlines() if line] == ["hanging", "hung up", "torn down"]


def test_run_refuses_a_transport_that_it_does_not_know():
    with pytest.raises(ValueError, match="'http' or 'stdio'"):
        small_server().run("carrier pigeon")  # type: ignore[arg-type]  # the point of the test
