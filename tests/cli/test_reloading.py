"""`trio-mcp serve --reload` with real processes and files."""

import signal
import sys
from pathlib import Path

import pytest
import trio

from tests.cli.commands import Command, call, exchanged, parsed, ran, session, started, until
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.running import folders_of
from trio_mcp.cli.watch import FileWatch, check_watcher

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sockets are handed down on Unix only")

VERSION = """
import sys
import trio
from trio_mcp import Server

mcp = Server("changing", version="{version}")

@mcp.tool
async def wait() -> str:
    print("waiting", file=sys.stderr, flush=True)
    await trio.sleep(0.2)
    return "{version}"

@mcp.tool
async def hang() -> str:
    print("hanging", file=sys.stderr, flush=True)
    try:
        await trio.sleep_forever()
    finally:
        print("cleaned up", file=sys.stderr, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.py").write_text(VERSION.format(version="1"))
    return tmp_path


async def version(port: int) -> str:
    """Which server answers; a connection that is made while there is none waits."""
    answer = await exchanged(port, "GET", "/health")
    assert answer.status == 200
    found: str = answer.message["version"]
    return found


async def reload(command: Command, folder: Path, text: str) -> None:
    """Change the file and wait until that is noticed."""
    command.heard = ""
    (folder / "server.py").write_text(text)
    await command.hears("changed: server.py; loading again")


async def test_a_change_is_served_on_the_same_port_and_the_old_streams_end_properly(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    async with started("serve", "server.py", "--reload", "--port", "0", cwd=folder) as command:
        assert "watching" in await command.hears("for changes")
        port = await command.port()
        assert await version(port) == "1"
        made = await session(port)
        async with await made.listen() as stream:
            assert b"text/event-stream" in await until(stream, b"\r\n\r\n")
            await reload(command, folder, VERSION.format(version="2"))
            assert (await until(stream)).endswith(b"0\r\n\r\n")
        assert await version(port) == "2"
        assert (await exchanged(port, "POST", "/mcp", call("wait"), **made.headers)).status == 404
        command.process.send_signal(signal.SIGINT)
        assert await command.exit_code() == 0
        assert "Traceback" not in await command.said()
    assert not (folder / "__pycache__").exists()


async def test_a_connection_made_meanwhile_waits_for_the_new_server(folder: Path):
    options = ("--set", "reload_grace=1")
    async with started("serve", "server.py", "--reload", "--port", "0", *options, cwd=folder) as command:
        port = await command.port()
        made = await session(port)
        async with await made.listen() as stream, await made.post(call("hang")):
            await command.hears("hanging")
            await until(stream, b"\r\n\r\n")
            await reload(command, folder, VERSION.format(version="2"))
            await until(stream)  # now the old one accepts no more, and it waits for its call
            assert "cleaned up" not in command.heard
            assert await version(port) == "2"


async def test_a_call_in_flight_may_finish_within_the_grace(folder: Path):
    options = ("--set", "reload_grace=20")
    async with started("serve", "server.py", "--reload", "--port", "0", *options, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.post(call("wait")) as stream:
            await command.hears("waiting")
            await reload(command, folder, VERSION.format(version="2"))
            assert b'"1"' in parsed(await until(stream)).body
        await command.hears("changing 2 at")


async def test_a_call_that_does_not_finish_is_cancelled_after_the_grace(folder: Path):
    options = ("--set", "reload_grace=0.1")
    async with started("serve", "server.py", "--reload", "--port", "0", *options, cwd=folder) as command:
        made = await session(await command.port())
        async with await made.post(call("hang")):
            await command.hears("hanging")
            await reload(command, folder, VERSION.format(version="2"))
            await command.hears("cleaned up")
            await command.hears("changing 2 at")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("def x(:\n", "trio-mcp: cannot import server.py: SyntaxError: invalid syntax (server.py, line 1)"),
        ("x = 1\n1 / 0\n", "trio-mcp: cannot import server.py: ZeroDivisionError: division by zero, line 2"),
        ("x = 1\n", "trio-mcp: there is no Server in server.py"),
    ],
)
async def test_a_fault_is_told_in_one_line_and_waited_out(fault: str, says: str, folder: Path):
    async with started("serve", "server.py", "--reload", "--port", "0", cwd=folder) as command:
        port = await command.port()
        await reload(command, folder, fault)
        assert (await command.hears("trio-mcp:")).startswith(says)
        await command.hears("the server did not start; waiting for a change")
        async with trio.open_nursery() as nursery:
            answers: list[str] = []

            async def ask() -> None:
                answers.append(await version(port))

            nursery.start_soon(ask)
            await reload(command, folder, VERSION.format(version="2"))
        assert answers == ["2"]
        command.process.send_signal(signal.SIGINT)
        assert await command.exit_code() == 0
        assert "Traceback" not in command.heard


async def test_a_fault_at_the_very_beginning_is_waited_out_too_and_a_signal_ends_it(folder: Path):
    (folder / "server.py").write_text("import nowhere\n")
    async with started("serve", "server.py", "--reload", "--port", "0", cwd=folder) as command:
        assert "No module named 'nowhere', line 1" in await command.hears("trio-mcp:")
        await command.hears("waiting for a change")
        command.process.send_signal(signal.SIGTERM)
        assert await command.exit_code() == 0


async def test_a_module_in_a_watched_folder_and_a_pattern_count(folder: Path):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    options = ("--reload-dir", "elsewhere", "--reload-include", "*.json")
    async with started("serve", "server.py", "--reload", "--port", "0", *options, cwd=folder) as command:
        await command.port()
        (folder / "server.py").write_text(VERSION.format(version="2"))
        (elsewhere / "data.txt").write_text("x")
        (elsewhere / "data.json").write_text("{}")
        assert await command.hears("changed:") == "changed: data.json; loading again"
        await command.hears("changing 2 at")


async def test_the_server_ends_with_its_supervisor_however_that_goes(folder: Path):
    async with started("serve", "server.py", "--reload", "--port", "0", cwd=folder) as command:
        port = await command.port()
        command.process.kill()
        await command.exit_code()
        assert "parent is gone" in await command.said()  # its end of stderr is closed by its end, too
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)


# The watcher


async def test_waiting_for_changes_can_be_cancelled_and_leaves_no_thread_for_long(tmp_path: Path):
    watch = FileWatch([tmp_path])
    await watch.begin()
    with trio.move_on_after(0.05) as scope:
        await watch.next()
    assert scope.cancelled_caught
    with trio.fail_after(5):
        while trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            await trio.lowlevel.checkpoint()


async def test_a_change_after_the_beginning_is_seen_though_nobody_waited_yet(tmp_path: Path):
    watch = FileWatch([tmp_path])
    await watch.begin()
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.txt").write_text("")
    with trio.fail_after(10):
        assert await watch.next() == [Path("a.py")]


async def test_what_cannot_be_watched_is_told(tmp_path: Path):
    with pytest.raises(CliError, match=r"cannot watch for changes: there is no folder .*lost"):
        await FileWatch([tmp_path / "lost"]).begin()


# What is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--workers", "2"), "--reload is for one process: leave out --workers"),
        (("--transport", "stdio"), "--reload is for HTTP and does nothing with --transport stdio"),
        (("--reload-dir", "lost"), "Directory 'lost' does not exist"),
        (("--set", "reload_quiet=-1"), "'reload_quiet' must be >= 0: -1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], says: str, folder: Path):
    done = ran("serve", "server.py", "--reload", *options, cwd=folder)
    assert done.returncode == 2
    assert says in done.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    check_watcher()
    monkeypatch.setattr("trio_mcp.cli.watch.find_spec", lambda name: None)
    with pytest.raises(CliError, match=r"pip install 'trio-mcp\[reload\]'"):
        check_watcher()


def test_the_folder_of_a_file_elsewhere_is_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert folders_of(None) == folders_of("package.module") == folders_of("sub/server.py:mcp") == [here]
    assert folders_of("../there/server.py") == [here, tmp_path / "there"]
