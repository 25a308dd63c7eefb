"""`trio-mcp serve --workers N` as real processes: what is served, what is shared, and how the end comes to all."""

import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.cli.commands import (
    INITIALIZE,
    PATIENCE,
    Command,
    alive,
    exchanged,
    gone,
    opened,
    parsed,
    ran,
    started,
    until,
)
from tests.http.client import modern
from tests.http.sockets import Wire
from trio_mcp import Server, Settings, Shutdown
from trio_mcp.cli.balance import ABSENT, Balance, shared_memory
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.running import run_parent
from trio_mcp.cli.supervisor import MARGIN, Bounds, Order
from trio_mcp.cli.workers import LINK, Worker, check_platform

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to see processes end")

SERVER = """
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio_mcp import Context, Server, Settings


def say(text):
    print(text, file=sys.stderr, flush=True)


@asynccontextmanager
async def lifespan(server):
    if Path("broken").exists():
        raise RuntimeError("no database")
    yield
    await trio.lowlevel.checkpoint()
    Path(f"torn_down_{os.getpid()}").touch()


mcp = Server("fixture", version="1.2", lifespan=lifespan, settings=Settings(shutdown_grace=1000))


@mcp.tool
async def wait() -> str:
    say(f"waiting in {os.getpid()}")
    while not Path("go").exists():
        await trio.sleep(0.01)
    return "finished"


@mcp.tool
def where() -> int:
    return os.getpid()


@mcp.tool
async def hang() -> str:
    say("hanging")
    await trio.sleep_forever()


@mcp.tool
async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}}, key="who")
    return f"Hello {answer.content['name']}"
"""
UP = r"\(process (\d+)\) is up"
ACCEPT = "application/json, text/event-stream"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fixture.py").write_text(SERVER)
    return tmp_path


@asynccontextmanager
async def crew(folder: Path, count: int = 2, *arguments: str, **options: Any) -> AsyncIterator[Command]:
    """The command with so many workers, all up; those that are left at the end are killed."""
    address = ("--port", "0", "--workers", str(count))
    async with started("serve", "fixture.py", *address, *arguments, cwd=folder, **options) as command:
        try:
            await command.hears_numbers(UP, count)
            yield command
        finally:
            for number in await command.hears_numbers(UP, 0):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


async def called(port: int, tool: str, **params: Any) -> trio.SocketStream:
    """Call a tool; the answer is still to be read."""
    body, headers = modern("tools/call", {"name": tool, "arguments": {}, **params})
    return await opened(port, "POST", "/mcp", body, Accept=ACCEPT, **headers)


async def health(wire: Wire) -> Any:
    """What `/health` says on this connection."""
    wire.path = "/health"
    await wire.send("GET")
    answer = await wire.answer()
    wire.path = "/mcp"
    return answer


async def dialled(port: int) -> Wire:
    with trio.fail_after(PATIENCE):
        return await Wire.to(f"http://127.0.0.1:{port}/mcp")


@asynccontextmanager
async def one_to_each(port: int, count: int = 2) -> AsyncIterator[dict[int, Wire]]:
    """A connection to each worker, by its number."""
    wires: list[Wire] = []
    found: dict[int, Wire] = {}
    try:
        with trio.fail_after(PATIENCE):
            while len(found) < count:
                wires.append(await dialled(port))
                found.setdefault((await health(wires[-1]))["worker"], wires[-1])
        yield found
    finally:
        for wire in wires:
            await wire.aclose()


async def refused(port: int) -> None:
    """Until nobody listens."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                return
            await stream.aclose()


def torn_down(folder: Path) -> int:
    """How many workers left their lifespan."""
    return len(list(folder.glob("torn_down_*")))


# Serving


async def test_all_workers_serve_one_port_and_each_says_which_it_is(folder: Path):
    async with crew(folder, 3) as command:
        port = await command.port()
        banner = await command.hears("Ctrl-C")
        workers = [(await command.hears_numbers(rf"worker {number} {UP}", 1))[0] for number in (1, 2, 3)]
        assert banner.startswith("fixture 1.2 at http://127.0.0.1:")
        assert banner.endswith("/mcp (4 tools, 0 resources, 0 prompts), 3 workers. Ctrl-C to stop")
        async with one_to_each(port, 3) as wires:
            assert set(wires) == {1, 2, 3}
            for number, wire in wires.items():
                await wire.ask("tools/call", {"name": "where", "arguments": {}})
                assert (await wire.answer())["result"]["structuredContent"] == {"result": workers[number - 1]}


async def test_connections_are_shared_out_evenly_also_when_they_come_all_at_once(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        wires: list[Wire] = []
        counts: Counter[int] = Counter()

        async def dial() -> None:
            wires.append(await dialled(port))
            counts[(await health(wires[-1]))["worker"]] += 1

        for _ in range(16):  # left to the kernel, all go to whoever is awake
            await dial()
        assert min(counts[1], counts[2]) >= 5, counts
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(dial)
        assert min(counts[1], counts[2]) >= 10, counts
        for wire in wires:
            await wire.aclose()


async def test_one_worker_is_the_plain_server(folder: Path):
    async with started("serve", "fixture.py", "--port", "0", "--workers", "1", cwd=folder) as command:
        port = await command.port()
        assert "worker" not in (await exchanged(port, "GET", "/health")).message
        answer = await exchanged(port, "POST", "/mcp", INITIALIZE, Accept=ACCEPT)
        assert answer.status == 200
        assert "is up" not in command.heard


async def test_initialize_is_refused_with_what_to_do(folder: Path):
    async with crew(folder) as command:
        answer = await exchanged(await command.port(), "POST", "/mcp", INITIALIZE, Accept=ACCEPT)
        assert answer.status == 400
        error = answer.message["error"]
        assert error["code"] == -32022
        assert error["data"] == {"supported": ["2026-07-28"], "requested": "2025-11-25"}
        assert "--workers 1" in error["message"]
        assert "affinity" in error["message"]


async def test_a_question_of_one_worker_may_be_answered_to_another(folder: Path):
    """The sealed `requestState` opens with the secret that both have."""
    async with crew(folder) as command:
        port = await command.port()
        async with one_to_each(port) as wires:
            capabilities: Any = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
            asked = {"name": "greet", "arguments": {}}
            await wires[1].ask("tools/call", asked, **capabilities)
            question = (await wires[1].answer())["result"]
            assert question["resultType"] == "input_required"
            responses = {key: {"action": "accept", "content": {"name": "Ada"}} for key in question["inputRequests"]}
            retry = {**asked, "inputResponses": responses, "requestState": question["requestState"]}
            await wires[2].ask("tools/call", retry, id=2, **capabilities)
            assert (await wires[2].answer())["result"]["content"] == [{"type": "text", "text": "Hello Ada"}]


async def test_the_secret_is_in_no_argument_and_no_environment(folder: Path):
    async with crew(folder) as command:
        for number in await command.hears_numbers(UP, 2):
            arguments = Path(f"/proc/{number}/cmdline").read_bytes()  # noqa: ASYNC240  # no disk
            assert arguments.endswith(b"--workers\x002\x00")
            environment = Path(f"/proc/{number}/environ").read_bytes()  # noqa: ASYNC240
            [link] = [line for line in environment.split(b"\0") if line.startswith(LINK.encode())]
            assert link.partition(b"=")[2].isdigit()


# Workers that end


async def test_a_killed_worker_is_replaced_and_the_other_serves_meanwhile(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        workers = await command.hears_numbers(UP, 2)
        async with await called(port, "wait") as stream:
            (busy,) = await command.hears_numbers(r"waiting in (\d+)", 1)
            (idle,) = [number for number in workers if number != busy]
            os.kill(idle, signal.SIGKILL)
            await command.hears(f"(process {idle}) was killed by SIGKILL; starting it again in 0.5 s")
            assert (await exchanged(port, "GET", "/health")).status == 200
            await command.hears_numbers(UP, 3)
            (folder / "go").touch()
            assert b'"finished"' in parsed(await until(stream)).body
        async with one_to_each(port) as wires:
            assert set(wires) == {1, 2}
        command.process.send_signal(signal.SIGTERM)
        assert await command.exit_code() == 0


async def test_a_worker_that_somebody_tells_to_go_takes_no_more_finishes_and_is_replaced(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        async with await called(port, "wait") as stream:
            (busy,) = await command.hears_numbers(r"waiting in (\d+)", 1)
            for _ in range(3):  # three signals to a worker are no more than one
                os.kill(busy, signal.SIGTERM)
            await command.hears("received SIGTERM: shutting down")
            for _ in range(8):
                assert (await exchanged(port, "GET", "/health")).status == 200  # the sibling's, not the draining one's
            (folder / "go").touch()
            assert b'"finished"' in parsed(await until(stream)).body
        await command.hears(f"(process {busy}) ended with exit code 0; starting it again")
        await command.hears_numbers(UP, 3)


# The end


async def test_responses_in_flight_in_every_worker_are_finished_before_the_parent_ends(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        async with one_to_each(port) as wires:
            for wire in wires.values():
                await wire.ask("tools/call", {"name": "wait", "arguments": {}})
            assert len(set(await command.hears_numbers(r"waiting in (\d+)", 2))) == 2
            command.process.send_signal(signal.SIGTERM)
            await command.hears("telling 2 workers to stop")
            (folder / "go").touch()
            for wire in wires.values():
                assert (await wire.answer())["result"]["structuredContent"] == {"result": "finished"}
        assert await command.exit_code() == 0
        assert "Traceback" not in await command.said()
        assert torn_down(folder) == 2


async def test_nobody_can_connect_any_more_once_the_workers_were_told_to_stop(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        async with await called(port, "wait") as stream:
            await command.hears("waiting in")
            command.process.send_signal(signal.SIGTERM)
            await refused(port)
            (folder / "go").touch()
            assert b'"finished"' in parsed(await until(stream)).body
        assert await command.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_the_whole_group_and_to_each_process_still_lets_calls_finish(
    number: signal.Signals, folder: Path
):
    """The terminal's Ctrl-C reaches a group; systemd signals every process by itself, beside what the parent says."""
    async with crew(folder, own_group=True) as command:
        port = await command.port()
        async with await called(port, "wait") as stream:
            (busy,) = await command.hears_numbers(r"waiting in (\d+)", 1)
            (idle,) = [worker for worker in await command.hears_numbers(UP, 2) if worker != busy]
            os.killpg(command.process.pid, number)
            os.kill(busy, number)
            with trio.fail_after(PATIENCE):
                while alive(idle):  # also in its last moment
                    with suppress(ProcessLookupError):
                        os.kill(idle, number)
                    await trio.lowlevel.checkpoint()
            await command.hears("telling 2 workers to stop")
            (folder / "go").touch()
            assert b'"finished"' in parsed(await until(stream)).body
        assert await command.exit_code() == 0
        assert "again" not in (await command.said()).partition("(again to hurry)")[2]


async def test_ctrl_c_at_the_terminal_while_a_worker_starts_is_quiet(folder: Path):
    slow = "import time\nsay('importing')\nwhile not Path('go').exists():\n    time.sleep(0.01)\n"
    (folder / "fixture.py").write_text(SERVER + slow)
    arguments = ("serve", "fixture.py", "--port", "0", "--workers", "2")
    async with started(*arguments, cwd=folder, own_group=True) as command:
        await command.hears("importing")
        os.killpg(command.process.pid, signal.SIGINT)
        await command.hears("received SIGINT: telling 1 worker to stop")
        (folder / "go").touch()
        assert await command.exit_code() == 0
        assert "Traceback" not in await command.said()
        assert command.heard.count("importing") == 1


async def test_a_second_signal_hurries_all(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        async with await called(port, "hang"):
            await command.hears("hanging")
            command.process.send_signal(signal.SIGINT)
            await command.hears("telling 2 workers to stop")
            command.process.send_signal(signal.SIGINT)
            assert await command.exit_code() == 0
        assert torn_down(folder) == 2


async def test_a_third_signal_kills_all(folder: Path):
    (folder / "fixture.py").write_text(
        SERVER.replace("await trio.lowlevel.checkpoint()", "import time; time.sleep(60)")
    )
    async with crew(folder) as command:
        await command.port()
        for told in ("telling 2 workers", "hurrying 2 workers", "killing 2 workers"):
            command.process.send_signal(signal.SIGTERM)
            await command.hears(told)
        assert await command.exit_code(10) == 1
        for worker in await command.hears_numbers(UP, 2):
            assert not alive(worker)


async def test_workers_without_a_parent_finish_what_they_do_and_end(folder: Path):
    async with crew(folder) as command:
        port = await command.port()
        workers = await command.hears_numbers(UP, 2)
        async with await called(port, "wait") as stream:
            (busy,) = await command.hears_numbers(r"waiting in (\d+)", 1)
            command.process.kill()
            for worker in workers:
                if worker != busy:
                    await gone(worker)
            await command.hears("the parent is gone")
            assert alive(busy)
            (folder / "go").touch()
            assert b'"finished"' in parsed(await until(stream)).body
        await gone(busy)
        assert torn_down(folder) == 2
        with socket.create_server(("127.0.0.1", port)):
            """The port is free."""


# What cannot begin


def test_a_taken_port_is_one_line_and_nothing_is_started(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = str(owner.getsockname()[1])
        done = ran("serve", "fixture.py", "--port", port, "--workers", "3", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith(f"trio-mcp: cannot listen on 127.0.0.1:{port}: the port is taken")
    assert done.stderr.count("\n") == 1


def test_a_port_that_somebody_takes_in_between_is_told_the_same(monkeypatch):
    def taken(host: str, port: int) -> list[socket.socket]:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("trio_mcp.cli.address.listen_on", taken)
    with pytest.raises(CliError, match="the port is taken"):
        run_parent({"host": "127.0.0.1", "port": 0, "workers": 2, "certfile": None, "keyfile": None})


def test_a_lifespan_that_does_not_begin_is_told_once_and_not_tried_again(folder: Path):
    (folder / "broken").touch()
    done = ran("serve", "fixture.py", "--port", "0", "--workers", "3", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == "trio-mcp: fixture did not start: RuntimeError: no database (--debug shows where)\n"


def test_a_target_that_is_not_there_is_told_once(folder: Path):
    done = ran("serve", "fixtures.py", "--port", "0", "--workers", "2", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("trio-mcp: there is no file fixtures.py")
    assert done.stderr.count("\n") == 1


def test_systems_that_cannot_hand_sockets_down_are_told(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(CliError, match="needs a Unix system") as caught:
        check_platform()
    monkeypatch.undo()
    assert caught.value.exit_code == 2


# The link, from inside


def test_without_a_link_it_is_no_worker(monkeypatch):
    monkeypatch.delenv(LINK, raising=False)
    assert Worker.inherited() is None


@pytest.mark.parametrize("value", ["", "x", "1000000"])
def test_a_link_that_makes_no_sense_is_told(value: str, monkeypatch):
    monkeypatch.setenv(LINK, value)
    with pytest.raises(CliError, match="unset it"):
        Worker.inherited()
    assert LINK not in os.environ  # what this process starts is no worker


def test_a_link_without_a_word_is_told(monkeypatch):
    ours, theirs = socket.socketpair()
    ours.close()
    monkeypatch.setenv(LINK, str(theirs.detach()))
    with pytest.raises(CliError, match="the parent is gone"):
        Worker.inherited()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Worker, socket.socket]]:
    """A worker of which only the link is real, and the parent's end of it."""
    ours, theirs = socket.socketpair()
    memory = shared_memory(1)
    load = Balance(memory, 1)
    os.close(memory)
    with ours, theirs:
        yield Worker(1, [], load, b"secret" * 8, theirs), ours
    load.close()


def test_a_server_keeps_a_secret_of_its_own():
    for own, expected in ((None, b"parent" * 8), (b"own" * 16, b"own" * 16)):
        server = Server("s", settings=Settings(state_secret=own, session_idle=7))
        worker: Any = Worker(1, [], None, b"parent" * 8, None)  # type: ignore[arg-type]
        worker.prepare(server)
        assert server.settings == Settings(state_secret=expected, session_idle=7, sessions=False)


async def test_orders_are_obeyed_in_whatever_pieces_they_come():
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with linked() as (worker, parent), trio.open_nursery() as nursery:
            nursery.start_soon(worker._obey, Bounds(grace=1, cleanup=1), shutdown)
            parent.send(b"sto")
            await trio.testing.wait_all_tasks_blocked()
            assert not shutdown.begin.is_set()
            parent.send(b"p\n" + Order.HURRY.value.encode())
            await shutdown.begin.wait()
            assert not shutdown.hurry.is_set()
            parent.send(b"\n")
            await shutdown.hurry.wait()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("grace", "alarms"), [(5.0, [5.0 + 15 + MARGIN]), (float("inf"), [])])
async def test_a_worker_without_a_parent_lets_the_kernel_bound_its_end(
    grace: float, alarms: list[float], monkeypatch, caplog
):
    set_to: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: set_to.append(seconds))
    shutdown = Shutdown()
    with trio.fail_after(PATIENCE):
        async with linked() as (worker, parent):
            parent.close()
            await worker._obey(Bounds(grace=grace, cleanup=15), shutdown)
    assert shutdown.begin.is_set()
    assert set_to == alarms
    assert "the parent is gone" in caplog.text


# The balance


@pytest.mark.parametrize("by_file", [False, True])
def test_memory_is_shared_with_or_without_a_file(by_file: bool, monkeypatch):
    if by_file:
        monkeypatch.delattr(os, "memfd_create")
    memory = shared_memory(2)
    assert not os.get_inheritable(memory)
    one, other = Balance(memory, 1), Balance(memory, 2)
    os.close(memory)
    one.holds(5)
    assert list(other._slots) == [5, ABSENT]
    one.close()
    other.close()


def test_who_has_more_than_a_sibling_defers_until_that_one_is_gone():
    memory = shared_memory(3)
    first, second, seen = Balance(memory, 1), Balance(memory, 2), Balance(memory, 3)
    os.close(memory)
    first.holds(1)
    assert not first.defers()  # the others are not there yet
    second.holds(1)
    assert not first.defers()
    second.holds(0)
    assert first.defers()
    assert not second.defers()
    second.leave()
    second.holds(0)  # a connection that ends later
    assert not first.defers()
    assert list(seen._slots) == [1, ABSENT, ABSENT]
    for balance in (first, second, seen):
        balance.close()
