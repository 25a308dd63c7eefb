"""`trio-mcp serve --transport stdio`, as a process: stdout is the protocol's alone, and the end comes at once."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli.commands import INITIALIZE, INITIALIZED, SERVER, Command, call, request, started
from trio_mcp import Server
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.running import run_stdio

STDIO = ("serve", "fixture.py", "--transport", "stdio")
AT_ONCE = 1
"""Seconds that the issue gives to end of input and Ctrl-C."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a server in it, which prints wherever it can."""
    (tmp_path / "fixture.py").write_text(SERVER)
    return tmp_path


async def shake_hands(command: Command) -> None:
    await command.send(INITIALIZE)
    (answer,) = await command.answers(1)
    assert answer["result"]["serverInfo"]["name"] == "fixture"
    await command.send(INITIALIZED)


async def close_stdin(command: Command) -> None:
    assert command.process.stdin is not None
    await command.process.stdin.aclose()


async def test_requests_are_answered_and_the_end_of_input_ends_it_with_zero(folder: Path):
    async with started(*STDIO, cwd=folder) as command:
        await shake_hands(command)
        await command.send(call("greet", name="Ada"), request("ping", 3))
        answers = {answer["id"]: answer["result"] for answer in await command.answers(2)}
        assert answers[2]["content"] == [{"type": "text", "text": "Hello Ada"}]
        assert answers[3] == {}
        await close_stdin(command)
        assert await command.exit_code(AT_ONCE) == 0
        assert (folder / "torn_down").exists()


async def test_what_is_printed_never_reaches_stdout(folder: Path):
    async with started(*STDIO, cwd=folder) as command:
        await shake_hands(command)
        await command.send(call("greet", name="Ada"))
        assert len(await command.answers(1)) == 1
        await close_stdin(command)
        assert await command.rest_of_stdout() == b""
        said = await command.said()
        for where in ("on import", "on entering", "in a tool", "on leaving"):
            assert f"printed {where}" in said


async def test_everything_piped_in_at_once_is_answered_before_the_end(folder: Path):
    async with started(*STDIO, cwd=folder) as command:
        await command.send(INITIALIZE, INITIALIZED, call("greet", name="Ada"))
        await close_stdin(command)
        lines = (await command.rest_of_stdout()).splitlines()
        assert len(lines) == 2
        assert b"Hello Ada" in lines[1]
        assert await command.exit_code() == 0


async def test_a_call_in_flight_at_the_end_of_input_is_cancelled_and_cleaned_up(folder: Path):
    async with started(*STDIO, cwd=folder) as command:
        await shake_hands(command)
        await command.send(call("hang"))
        await command.hears("hanging")
        await close_stdin(command)
        assert await command.exit_code(AT_ONCE) == 0
        assert (folder / "cleaned_up").exists()
        assert (folder / "torn_down").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [False, True])
async def test_a_signal_ends_it_within_a_second_teardown_included(number: signal.Signals, busy: bool, folder: Path):
    async with started(*STDIO, cwd=folder) as command:
        await shake_hands(command)
        if busy:
            await command.send(call("hang"))
            await command.hears("hanging")
        command.process.send_signal(number)
        assert await command.exit_code(AT_ONCE) == 0
        assert (folder / "torn_down").exists()
        assert (folder / "cleaned_up").exists() is busy
        said = [json.loads(line)["error"]["code"] for line in (await command.rest_of_stdout()).splitlines()]
        assert said == [503] * busy  # the call that was cut is told so, and nothing else is said
        assert "Traceback" not in await command.said()


async def test_the_demo_is_served_where_no_target_is_given(tmp_path: Path):
    async with started("serve", "--transport", "stdio", cwd=tmp_path) as command:
        await command.send(INITIALIZE, INITIALIZED, call("echo", message="hear me"))
        _, answer = await command.answers(2)
        assert answer["result"]["content"] == [{"type": "text", "text": "hear me"}]


def test_a_closed_stdin_is_told(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(CliError, match="stdin is closed"):
        run_stdio(Server("s"))


def test_somebody_at_a_terminal_is_told_what_to_expect(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", _Terminal())
    monkeypatch.setattr("trio_mcp.cli.running._run", lambda *arguments, begun: None)
    run_stdio(Server("house"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("house speaks JSON-RPC on stdin and stdout")
    assert "Ctrl-C to stop" in shown.err


class _Terminal:
    """What stdin is to somebody who types."""

    closed = False

    def isatty(self) -> bool:
        return True


async def test_logs_go_to_stderr_with_their_level(folder: Path):
    async with started(*STDIO, "--debug", cwd=folder) as command:
        await shake_hands(command)
        await command.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}})
        assert " DEBUG trio_mcp." in await command.hears("DEBUG")
