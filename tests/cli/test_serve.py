"""`trio-mcp serve` over HTTP, as a process: what it says, what it answers, how it ends."""

import signal
import socket
from pathlib import Path

import pytest

from tests.cli.commands import SERVER, call, exchanged, opened, parsed, ran, request, session, started, until
from trio_mcp import Server, Settings, Shutdown
from trio_mcp.cli import running
from trio_mcp.cli.address import check_address
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.running import Banner
from trio_mcp.cli.serve import configured

FAILING = """
from contextlib import asynccontextmanager
import trio
from trio_mcp import Server

@asynccontextmanager
async def lifespan(server):
    async with trio.open_nursery() as nursery:
        {enter}
        yield
        {leave}

mcp = Server("failing", lifespan=lifespan)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a server in it."""
    (tmp_path / "fixture.py").write_text(SERVER)
    return tmp_path


# Serving


async def test_the_demo_is_served_where_no_target_is_given(tmp_path: Path):
    async with started("serve", "--port", "0", cwd=tmp_path) as command:
        port = await command.port()
        health = await exchanged(port, "GET", "/health")
        assert (health.status, health.message["status"]) == (200, "healthy")
        answer = await (await session(port)).call("add", a=2, b=3)
        assert answer.message["result"]["structuredContent"] == {"result": 5}


async def test_only_what_is_named_is_served_and_the_banner_says_where(tmp_path: Path):
    options = ("--only", "sse", "--only", "message", "--sse-heartbeat", "event")
    async with started("serve", "--port", "0", *options, cwd=tmp_path) as command:
        assert "/sse (3 tools" in await command.hears("Ctrl-C")
        port = await command.port()
        assert (await exchanged(port, "POST", "/message", request("tools/list"))).status == 200
        answer = await exchanged(port, "POST", "/mcp", request("tools/list"))
        assert answer.status == 404
        assert answer.body.startswith(b"Not Found. This server has /sse, /messages, /message, /tools")
        stream = await opened(port, "GET", "/sse")
        async with stream:
            assert b"event: connected" in await until(stream, b"connected")


def test_a_transport_that_there_is_not_is_refused_and_those_that_are_named(tmp_path: Path):
    ended = ran("serve", "--only", "smtp", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'http', 'sse', 'notifications', 'message', 'websocket'" in ended.stderr


async def test_the_banner_says_what_is_served_and_where(folder: Path):
    async with started("serve", "fixture.py", "--port", "0", "--path", "/here", cwd=folder) as command:
        banner = await command.hears("Ctrl-C")
        assert banner.startswith("fixture 1.2 at http://127.0.0.1:")
        assert "/here (3 tools, 0 resources, 0 prompts)" in banner
        port = await command.port()
        assert port != 0
        assert (await exchanged(port, "POST", "/mcp")).status == 404
        assert (await exchanged(port, "POST", "/here")).status != 404


async def test_a_tool_of_the_target_answers(folder: Path):
    async with started("serve", "fixture:mcp", "--port", "0", cwd=folder, module="trio_mcp.cli") as command:
        answer = await (await session(await command.port())).call("greet", name="Ada")
        assert answer.headers["content-type"] == "application/json"
        assert answer.message["result"]["content"] == [{"type": "text", "text": "Hello Ada"}]


async def test_replies_are_streams_where_that_is_asked_for(folder: Path):
    async with started("serve", "fixture.py", "--port", "0", "--sse-response", cwd=folder) as command:
        made = await session(await command.port())
        answer = await made.call("greet", name="Ada")
        assert answer.headers["content-type"] == "text/event-stream"
        assert b'"Hello Ada"' in answer.body


async def test_further_hosts_are_answered_for_when_they_are_named(folder: Path):
    async with started("serve", "fixture.py", "--port", "0", "--allowed-host", "mcp.example", cwd=folder) as command:
        port = await command.port()
        refused = await exchanged(port, "POST", "/mcp")  # as localhost
        assert refused.status == 421
        assert b"--allowed-host" in refused.body


# The end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_zero_and_runs_the_teardown(number: signal.Signals, folder: Path):
    async with started("serve", "fixture.py", "--port", "0", cwd=folder) as command:
        await command.port()
        command.process.send_signal(number)
        assert await command.exit_code() == 0
        assert "Traceback" not in await command.said()
        assert (folder / "torn_down").exists()


async def test_an_open_stream_ends_with_its_terminator_at_once(folder: Path):
    grace = ("--shutdown-grace", "1000")
    async with started("serve", "fixture.py", "--port", "0", *grace, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.listen() as stream:
            head = await until(stream, b"\r\n\r\n")
            assert b"text/event-stream" in head
            command.process.send_signal(signal.SIGTERM)
            assert (await until(stream)).endswith(b"0\r\n\r\n")
        assert await command.exit_code() == 0


async def test_a_call_in_flight_may_finish(folder: Path):
    grace = ("--shutdown-grace", "1000")
    async with started("serve", "fixture.py", "--port", "0", *grace, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.post(call("wait")) as stream:
            await command.hears("waiting")
            command.process.send_signal(signal.SIGTERM)
            await command.hears("received SIGTERM")
            (folder / "go").touch()
            answer = parsed(await until(stream))
        assert answer.status == 200
        assert b'"finished"' in answer.body
        assert await command.exit_code() == 0


async def test_a_call_that_does_not_finish_is_cancelled_and_its_finally_awaited(folder: Path):
    grace = ("--shutdown-grace", "0.1")
    async with started("serve", "fixture.py", "--port", "0", *grace, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.post(call("hang")):
            await command.hears("hanging")
            command.process.send_signal(signal.SIGTERM)
            assert await command.exit_code() == 0
        assert (folder / "cleaned_up").exists()
        assert (folder / "torn_down").exists()
        assert "Traceback" not in await command.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_hurries(number: signal.Signals, folder: Path):
    grace = ("--shutdown-grace", "1000")
    async with started("serve", "fixture.py", "--port", "0", *grace, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.post(call("hang")):
            await command.hears("hanging")
            command.process.send_signal(number)
            await command.hears("shutting down")
            assert not (folder / "cleaned_up").exists()
            command.process.send_signal(number)
            assert await command.exit_code() == 0
        assert (folder / "cleaned_up").exists()
        assert (folder / "torn_down").exists()
        assert "Traceback" not in await command.said()


async def test_a_lifespan_that_holds_a_nursery_ends_quietly(tmp_path: Path):
    (tmp_path / "failing.py").write_text(FAILING.format(enter="pass", leave="pass"))
    async with started("serve", "failing.py", "--port", "0", cwd=tmp_path) as command:
        await command.port()
        command.process.send_signal(signal.SIGTERM)
        assert await command.exit_code() == 0
        assert "trio-mcp:" not in await command.said()


@pytest.mark.parametrize("transport", ["http", "stdio"])
async def test_a_signal_ends_it_while_the_lifespan_begins(transport: str, tmp_path: Path):
    enter = "print('beginning', flush=True, file=__import__('sys').stderr); await trio.sleep_forever()"
    (tmp_path / "failing.py").write_text(FAILING.format(enter=enter, leave="pass"))
    address = ("--port", "0") if transport == "http" else ()
    async with started("serve", "failing.py", "--transport", transport, *address, cwd=tmp_path) as command:
        await command.hears("beginning")
        command.process.send_signal(signal.SIGINT)
        assert await command.exit_code(10) == 0
        assert "Traceback" not in await command.said()


def test_a_ctrl_c_that_comes_too_late_or_too_early_for_the_signal_receiver_is_quiet():
    async def interrupted() -> None:
        raise KeyboardInterrupt

    running._run(Server("s"), interrupted, Shutdown(), begun=lambda: True)


# What cannot begin


def test_a_taken_port_is_told_before_the_lifespan_begins(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        done = ran("serve", "fixture.py", "--port", str(port), cwd=folder)
    assert done.returncode == 2
    assert f"trio-mcp: cannot listen on 127.0.0.1:{port}: the port is taken" in done.stderr
    assert "--port 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "torn_down").exists()


@pytest.mark.parametrize(
    ("host", "says"),
    [("no host at all", "'no host at all' is no address"), ("192.0.2.1", "try --host 127.0.0.1")],
)
def test_an_address_of_another_machine_is_refused(host: str, says: str):
    with pytest.raises(CliError, match="cannot listen on") as caught:
        check_address(host, 0)
    assert says in str(caught.value)


def test_an_address_that_is_free_passes():
    check_address("127.0.0.1", 0)


def test_a_port_that_needs_rights_is_told_so(monkeypatch):
    monkeypatch.setattr("trio_mcp.cli.address.socket.socket", _Forbidden)
    with pytest.raises(CliError, match="not permitted; take a port above 1023"):
        check_address("127.0.0.1", 80)


class _Forbidden:
    """A socket of somebody without rights."""

    def __init__(self, *arguments: object) -> None: ...
    def __enter__(self):
        return self

    def __exit__(self, *arguments: object) -> None: ...
    def setsockopt(self, *arguments: object) -> None: ...
    def bind(self, address: object) -> None:
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_a_lifespan_that_does_not_begin_is_told_out_of_its_groups(transport: str, tmp_path: Path):
    (tmp_path / "failing.py").write_text(FAILING.format(enter="raise RuntimeError('no database')", leave="pass"))
    address = ("--port", "0") if transport == "http" else ()
    arguments = ("serve", "failing.py", "--transport", transport, *address)
    plain, debug = ran(*arguments, cwd=tmp_path), ran(*arguments, "--debug", cwd=tmp_path)
    assert (plain.returncode, debug.returncode) == (2, 2)
    assert plain.stderr == "trio-mcp: failing did not start: RuntimeError: no database (--debug shows where)\n"
    assert "Traceback" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)
    assert plain.stdout == ""


async def test_a_lifespan_that_fails_at_the_end_is_exit_code_one(tmp_path: Path):
    (tmp_path / "failing.py").write_text(FAILING.format(enter="pass", leave="raise RuntimeError('not saved')"))
    async with started("serve", "failing.py", "--port", "0", cwd=tmp_path) as command:
        await command.port()
        command.process.send_signal(signal.SIGTERM)
        assert await command.exit_code() == 1
        assert "trio-mcp: failing failed: RuntimeError: not saved" in await command.said()
        assert "Traceback" not in command.heard


# Settings


def test_what_is_given_overrides_the_server_and_nothing_else():
    server = Server("s", settings=Settings(session_idle=7, path="/own", tool_timeout=3, json_response=False))
    options = {"path": None, "json_response": True, "allowed_host": ("a", "b"), "allowed_origin": (), "port": 1}
    configured(server, {**options, "tool_timeout": 9.5, "shutdown_grace": 0.0, "session_idle": None})
    assert server.settings == Settings(
        session_idle=7, path="/own", tool_timeout=9.5, json_response=True, allowed_hosts=("a", "b"), shutdown_grace=0
    )


@pytest.mark.parametrize(
    ("option", "lost", "kept"),
    [
        ("--no-routes", ["/health", "/ready", "/metrics", "/tools"], []),
        ("--no-metrics", ["/metrics"], ["/ready", "/tools"]),
    ],
)
async def test_routes_can_be_switched_off(option: str, lost: list[str], kept: list[str], folder: Path):
    async with started("serve", "fixture.py", "--port", "0", option, cwd=folder) as command:
        port = await command.port()
        assert [(await exchanged(port, "GET", path)).status for path in lost] == [404] * len(lost)
        assert [(await exchanged(port, "GET", path)).status for path in kept] == [200] * len(kept)
        assert (await (await session(port)).call("greet", name="Ada")).status == 200


def test_the_banner_counts_one_as_one(capsys):
    server = Server("s")
    server.register_tool("t", "A tool.", {"type": "object"}, lambda params: "")
    Banner(server).started(["http://a", "http://b"])
    assert "s 0.0.0 at http://a and http://b (1 tool, 0 resources, 0 prompts)" in capsys.readouterr().err


# An event store


def test_an_event_store_that_cannot_be_used_is_one_line_and_exit_code_2(tmp_path: Path):
    (tmp_path / "events.db").write_text("no database at all " * 100)
    for name, words in (("events.db", "no SQLite database"), ("missing/events.db", "cannot be opened")):
        done = ran("serve", "--port", "0", "--event-store", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        [line] = done.stderr.splitlines()
        assert words in line


def test_an_event_store_is_for_http(tmp_path: Path):
    done = ran("serve", "--transport", "stdio", "--event-store", "events.db", cwd=tmp_path)
    assert done.returncode == 2
    assert "--event-store is for HTTP" in done.stderr


def test_a_redirect_port_needs_a_certificate_and_one_worker(tmp_path: Path):
    ended = ran("serve", "--port", "0", "--redirect-port", "0", cwd=tmp_path)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "give --certfile and --keyfile" in ended.stderr
    ended = ran("serve", "--port", "0", "--redirect-port", "0", "--workers", "2", cwd=tmp_path)
    assert ended.returncode == 2
    assert "one worker" in ended.stderr
