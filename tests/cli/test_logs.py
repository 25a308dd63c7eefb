"""What log records look like, for people and for programs; nothing that is logged can break logging."""

import io
import json
import logging
import re
from pathlib import Path

import pytest

from tests.cli.commands import INITIALIZE, INITIALIZED, call, exchanged, session, started
from trio_mcp.cli.logs import JsonLines, TextLines, is_coloured, set_up_logging


def record(message="said %s", arguments=("it",), error=None, level=logging.INFO, **facts) -> logging.LogRecord:
    made = logging.LogRecord("trio_mcp.part", level, __file__, 1, message, arguments, error)
    vars(made).update(facts)
    return made


def raised(error: BaseException):
    try:
        raise error
    except BaseException as caught:
        return type(caught), caught, caught.__traceback__


def as_json(made: logging.LogRecord) -> dict:
    text = JsonLines().format(made)
    assert "\n" not in text
    return json.loads(text)


class Odd:
    """Something without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


# For programs


def test_a_json_line_has_its_own_fields_and_the_facts_of_the_record():
    made = record(session="abc", duration_ms=1.5, nothing=None, many=[1, {"a": 2}])
    made.created = 1_700_000_000.1234
    assert as_json(made) == {
        "ts": "2023-11-14T22:13:20.123Z",
        "level": "info",
        "logger": "trio_mcp.part",
        "event": "said it",
        "session": "abc",
        "duration_ms": 1.5,
        "nothing": None,
        "many": [1, {"a": 2}],
    }


def test_an_exception_is_a_field():
    line = as_json(record("failed", (), raised(ValueError("why\nnot"))))
    assert line["event"] == "failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: why\nnot")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Odd(), "<Odd>"),
        ({1, 2}, [1, 2]),
        (Path("a"), "a"),
        (b"\xff", "/w=="),
        ("\udcff", "\\udcff"),
        (["\udcff"], "['\\udcff']"),
        ([Odd()], "<list>"),
        ({Odd: 1}, None),
        (10**400, None),
        (float("nan"), None),
    ],
)
def test_a_field_that_cannot_be_encoded_never_breaks_a_line(value, shown):
    line = as_json(record(fact=value))
    assert line["event"] == "said it"
    assert "fact" in line
    if shown is not None:
        assert line["fact"] == shown


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
@pytest.mark.parametrize(
    ("message", "arguments"), [("said %s %s", ("it",)), ("%d", ("x",)), ("%s", (Odd(),)), ("100%", (1,))]
)
def test_arguments_that_do_not_fit_never_break_a_line(lines: logging.Formatter, message: str, arguments: tuple):
    assert f"{message} (its arguments do not fit: " in lines.format(record(message, arguments))


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
def test_an_exception_without_a_text_never_breaks_a_line(lines: logging.Formatter):
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert "failed" in lines.format(record("failed", (), raised(SilentError())))


def test_a_fact_does_not_take_the_place_of_a_field_of_the_line():
    line = as_json(record(event="mine", ts=1, logger="x"))
    assert (line["event"], line["logger"]) == ("said it", "trio_mcp.part")
    assert (line["event_"], line["logger_"], line["ts_"]) == ("mine", "x", 1)


def test_the_process_is_named_where_several_write():
    assert json.loads(JsonLines("worker 2").format(record()))["process"] == "worker 2"
    assert " INFO worker 2 trio_mcp.part: said it" in TextLines("worker 2").format(record())


# For people


def test_a_text_line_has_time_level_logger_and_text():
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO trio_mcp\.part: said it", TextLines().format(record(hidden=1)))


def test_a_text_line_tells_the_session_and_the_request_and_a_traceback_below():
    text = TextLines().format(record("failed", (), raised(ValueError("why")), request_id=7, session="abc"))
    assert ": failed session=abc request_id=7\nTraceback" in text
    assert text.endswith("ValueError: why")


def test_colours_are_for_terminals_that_take_them(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_coloured(Terminal())
    assert not is_coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_coloured(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert is_coloured(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_coloured(Terminal())


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_a_coloured_line_is_the_plain_one_with_colours(level: str):
    made = record(level=getattr(logging, level))
    coloured, plain = TextLines(coloured=True).format(made), TextLines().format(made)
    assert f"m{level}\033[0m" in coloured
    assert re.sub(r"\033\[[\d;]*m", "", coloured) == plain


def test_logging_is_set_up_once_and_for_one_stream(monkeypatch: pytest.MonkeyPatch):
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    stream = io.StringIO()
    set_up_logging("info", "json", stream=stream)
    set_up_logging("debug", "text", stream=stream)
    root.debug("hidden")
    root.info("shown")
    assert json.loads(stream.getvalue())["event"] == "shown"


# In a server

FAILING = """
from trio_mcp import Server

mcp = Server("failing")

@mcp.tool
def fail(secret: str) -> str:
    raise RuntimeError("no " + secret)
"""


async def test_a_server_logs_json_lines_of_requests_calls_and_failures(tmp_path: Path):
    (tmp_path / "failing.py").write_text(FAILING)
    options = ("--log-format", "json", "--access-log", "--call-log", "--shutdown-grace", "0")
    async with started("serve", "failing.py", "--port", "0", *options, cwd=tmp_path) as command:
        port = await command.port()
        made = await session(port)
        assert (await made.call("fail", secret="hush")).message["error"]["code"] == -32603
        command.process.terminate()
        lines = [json.loads(line) for line in (await command.said()).splitlines() if line.startswith("{")]
    by_logger = {
        name: [line for line in lines if line["logger"] == name] for name in {line["logger"] for line in lines}
    }
    [finished] = by_logger["trio_mcp.calls"]
    assert finished["duration_ms"] >= 0
    assert {key: finished[key] for key in ("method", "tool", "request_id", "session", "outcome", "error_code")} == {
        "method": "tools/call",
        "tool": "fail",
        "request_id": 2,
        "session": made.id[:8],
        "outcome": "error",
        "error_code": -32603,
    }
    [failed] = by_logger["trio_mcp.dispatch"]
    assert failed["exception"].endswith("RuntimeError: no hush")
    assert (failed["session"], failed["tool"], failed["request_id"]) == (made.id[:8], "fail", 2)
    assert [line["path"] for line in by_logger["trio_mcp.access"]] == ["/mcp"] * 3
    assert made.id not in command.heard


async def test_on_stdio_calls_are_logged_too(tmp_path: Path):
    async with started("serve", "--transport", "stdio", "--call-log", cwd=tmp_path) as command:
        await command.send(INITIALIZE, INITIALIZED, call("echo", message="hush"))
        await command.answers(2)
        line = await command.hears("trio_mcp.calls")
    assert re.search(r"INFO trio_mcp\.calls: tools/call echo ok [\d.]+ms request_id=2$", line)
    assert "hush" not in command.heard


async def test_without_the_option_no_call_is_logged(tmp_path: Path):
    async with started("serve", "--port", "0", cwd=tmp_path) as command:
        port = await command.port()
        await (await session(port)).call("echo", message="x")
        assert (await exchanged(port, "GET", "/health")).status == 200
        command.process.terminate()
        assert "trio_mcp.calls" not in await command.said()
