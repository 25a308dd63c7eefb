"""Replays every transcript beside this file against the server of `server.py`; `transcript.py` tells the format."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tests.conversations.server import conversing_server
from tests.conversations.transcript import Line, Transcript, TranscriptError, differs, read, said
from tests.http.client import PATIENCE, Web, served
from tests.http.fetch import Event, Fetch
from trio_mcp import Host, Settings
from trio_mcp.serve import mcp_app
from trio_mcp.transports.memory import serve_stream

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.txt"))
#: Headers that mean something in the protocol: one that is there must be written, one that is written must be there.
MEANT = ("mcp-session-id", "allow", "retry-after")


class Mismatch(AssertionError):
    """The conversation went otherwise."""


class Conversation(ABC):
    """The client's side of one transcript."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def follow(self, transcript: Transcript) -> None:
        """Say and hear everything that is written."""
        for line in transcript.lines:
            try:
                if line.speaker == "C":
                    await self.settle()
                    await self.say(line)
                else:
                    await trio.testing.wait_all_tasks_blocked()
                    self.hear(line)
            except Mismatch as error:
                raise Mismatch(f"line {line.number}: {error}") from None
        await self.settle()

    async def settle(self) -> None:
        """Everything that the server said so far must have been written."""
        await trio.testing.wait_all_tasks_blocked()
        unheard = self.unheard()
        if unheard:
            raise Mismatch(f"the server said what is not written: {unheard}")

    def compare(self, expected: str, actual: Any) -> None:
        difference = differs(json.loads(expected), actual, self.known)
        if difference:
            raise Mismatch(f"{difference}\n  in {json.dumps(actual)}")

    async def say(self, line: Line) -> None:
        """Act as the client does."""
        if line.words.startswith("wait "):
            await trio.sleep(float(line.words.removeprefix("wait ")))
        else:
            await self.speak(line)

    @abstractmethod
    async def speak(self, line: Line) -> None: ...

    @abstractmethod
    def hear(self, line: Line) -> None: ...

    @abstractmethod
    def unheard(self) -> list[str]: ...


class Piped(Conversation):
    """Over lines, as on stdio."""

    def __init__(self, stream: trio.StapledStream) -> None:
        super().__init__()
        self.stream = stream
        self.lines: list[bytes] = []
        self.ended = False

    async def collect(self) -> None:
        rest = b""
        while piece := await self.stream.receive_some():
            *lines, rest = (rest + piece).split(b"\n")
            self.lines += lines
        assert not rest, f"the server ended inside a line: {rest!r}"
        self.ended = True

    async def speak(self, line: Line) -> None:
        if line.words == "end":
            await self.stream.send_stream.aclose()
        else:
            await self.stream.send_all(said(line.body, self.known).encode() + b"\n")

    def hear(self, line: Line) -> None:
        if line.words == "end":
            if not self.ended:
                raise Mismatch("the server did not close")
            self.ended = False
        elif not self.lines:
            raise Mismatch(f"the server did not say {line.body}")
        else:
            self.compare(line.body, json.loads(self.lines.pop(0)))

    def unheard(self) -> list[str]:
        return [text.decode() for text in self.lines] + ["end"] * self.ended


class Exchanged(Conversation):
    """Over HTTP requests, each with a name."""

    def __init__(self, web: Web) -> None:
        super().__init__()
        self.web = web
        self.fetches: dict[str, Fetch] = {}
        self.waiting: dict[str, list[Any]] = {}
        self._counted: dict[str, int] = {}

    async def speak(self, line: Line) -> None:
        if line.words == "drop":
            self.fetches[line.exchange].drop()
            await trio.testing.wait_all_tasks_blocked()
            return
        method, _, path = said(line.words, self.known).partition(" ")
        if line.exchange in self.fetches:
            raise TranscriptError(f"there is an exchange {line.exchange!r} already")
        headers = {name: None if value == "-" else said(value, self.known) for name, value in line.headers.items()}
        body = said(line.body, self.known).encode()
        self.fetches[line.exchange] = self.web.open(method, body, path=path or "/mcp", headers=headers)

    def hear(self, line: Line) -> None:
        items = self._items(line.exchange)
        if not items:
            raise Mismatch(f"the server did not say {line.words} {line.body}")
        item = items.pop(0)
        first, _, rest = line.words.partition(" ")
        if isinstance(item, Fetch):
            self._hear_head(line, item, first, rest)
        elif isinstance(item, Event):
            self._hear_event(line, item, first, rest)
        elif item != line.words:
            raise Mismatch(f"the server said {item!r}, not {line.words!r}")

    def _hear_head(self, line: Line, fetch: Fetch, status: str, type: str) -> None:
        if (str(fetch.status), fetch.headers.get("content-type", "")) != (status, type):
            raise Mismatch(f"{fetch.status} {fetch.headers.get('content-type')} {fetch.body!r}, not {line.words}")
        meant = {name: value for name, value in fetch.headers.items() if name in MEANT or name in line.headers}
        difference = differs(line.headers, meant, self.known, "headers")
        if difference:
            raise Mismatch(difference)
        if line.body and not type.startswith("application/json"):
            self.compare(json.dumps(line.body), fetch.body.decode().strip())
        elif line.body:
            self.compare(line.body, fetch.json)
        elif not fetch.streams and fetch.body:
            raise Mismatch(f"a body that is not written: {fetch.body!r}")

    def _hear_event(self, line: Line, event: Event, first: str, rest: str) -> None:
        rest, _, name = f" {rest}".partition(" named ")
        id, _, retry = rest.strip().partition(" retry ")
        if first != "event":
            raise Mismatch(f"an event, not {line.words!r}: {event.data}")
        for expected, actual in ((id, event.id), (retry, event.retry), (name, event.name)):
            difference = differs(expected or None, actual, self.known, "the id, retry or name")
            if difference:
                raise Mismatch(f"{difference}: {event.data}")
        if line.body:
            self.compare(line.body, _read(event.data))
        elif event.data:
            raise Mismatch(f"data that is not written: {event.data}")

    def _items(self, name: str) -> list[Any]:
        """What an exchange brought that was not heard yet: its head, events, comments and its end, in order."""
        fetch = self.fetches[name]
        everything: list[Any] = [fetch] if fetch.streams or fetch.complete else []
        if fetch.streams:
            everything += ["comment" if entry is None else entry for entry in fetch.log]
            everything += ["end"] * fetch.complete
        waiting = self.waiting.setdefault(name, [])
        waiting += everything[self._counted.get(name, 0) :]
        self._counted[name] = len(everything)
        return waiting

    def unheard(self) -> list[str]:
        return [f"{name}: {_shown(item)}" for name in self.fetches for item in self._items(name)]

    def check_ends(self) -> None:
        """Each exchange must have ended, and nothing may have been sent to who had left."""
        for name, fetch in self.fetches.items():
            if not fetch.returned:
                raise Mismatch(f"{name} is still open at the end of the transcript")
            if fetch.late:
                raise Mismatch(f"{name}: sent after the client had left: {fetch.late}")


def _read(data: str) -> Any:
    """The data of an event: a message, or plain text in the older transports."""
    try:
        return json.loads(data or "null")
    except ValueError:
        return data


def _shown(item: Any) -> str:
    if isinstance(item, Fetch):
        return f"{item.status} {item.headers} {item.body!r}"
    return f"event {item.id} retry {item.retry} {item.data}" if isinstance(item, Event) else str(item)


async def replay(transcript: Transcript) -> None:
    """Follow a transcript to its end; raises `Mismatch` where the server differs."""
    server = conversing_server(Settings(**transcript.settings))
    if transcript.over == "http":
        async with served(server, wrap=lambda app, host: mcp_app(host)) as web:
            exchanged = Exchanged(web)
            await exchanged.follow(transcript)
            exchanged.check_ends()
        return
    ours, theirs = trio.testing.memory_stream_pair()
    host = Host(server)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            piped = Piped(ours)
            nursery.start_soon(piped.collect)
            nursery.start_soon(serve_stream, host, theirs)
            await piped.follow(transcript)
            await ours.aclose()
            host.stop()


async def replayed(path: Path) -> None:
    """`replay` without the groups that its nurseries make of what it found."""
    try:
        await replay(read(path))
    except BaseExceptionGroup as group:
        leaf: BaseException = group
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise leaf from None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_the_conversation_goes_as_written(path: Path, autojump_clock, caplog):
    await replayed(path)


def test_there_are_transcripts():
    assert len(FILES) >= 20


# The runner itself: a transcript that is not what happens must fail.

PING = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
HANDSHAKE = """
C {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {},
    "clientInfo": {"name": "someone", "version": "0"}}}
S {"jsonrpc": "2.0", "id": 0, "result": {"<*>": "<*>"}}
"""
PONG = 'S {"jsonrpc": "2.0", "id": 1, "result": {}}'
COUNT = """C {"jsonrpc": "2.0", "id": 2, "method": "tools/call",
    "params": {"name": "count", "arguments": {"to": 1}, "_meta": {"progressToken": "p"}}}
"""
WRONG = {
    "an answer is not written": f"over stdio{HANDSHAKE}C {PING}",
    "an answer is written after the client spoke again": f"over stdio{HANDSHAKE}C {PING}\nC {PING}\n{PONG}\n{PONG}",
    "an answer is written that does not come": f"over stdio{HANDSHAKE}{PONG}",
    "an answer comes later than it is written": f"over stdio{HANDSHAKE}{COUNT}"
    'S {"<*>": "<*>"}\nS {"<*>": "<*>"}\nC wait 1',
    "an id differs": f"over stdio{HANDSHAKE}C {PING}\n{PONG.replace('1', '2')}",
    "an id has another type": f"over stdio{HANDSHAKE}C {PING}\n" + PONG.replace("1", '"1"'),
    "a member is written too many": f"over stdio{HANDSHAKE}C {PING}\n" + PONG.replace("{}", '{"a": 1}'),
    "a member is not written": f"over stdio{HANDSHAKE.replace('<*>', 'protocolVersion')}C {PING}\n{PONG}",
    "a placeholder is two things": f"over stdio{HANDSHAKE}"
    'C {"jsonrpc": "2.0", "id": "a", "method": "ping"}\nS {"jsonrpc": "2.0", "id": "<id>", "result": {}}\n'
    'C {"jsonrpc": "2.0", "id": "b", "method": "ping"}\nS {"jsonrpc": "2.0", "id": "<id>", "result": {}}',
    "the server's end is not written": f"over stdio{HANDSHAKE}C end",
    "the server does not end": f"over stdio{HANDSHAKE}S end",
    "a status differs": "over http\nC a: GET\nS a: 200 text/event-stream",
    "a body is not written": "over http\nC a: GET\nS a: 400 application/json",
    "an exchange is not heard": "over http\nC a: GET",
    "a header is not written": "over http\nC a: PUT\nS a: 405 application/json\n    {'<*>': '<*>'}".replace("'", '"'),
    "an event's name differs": "over http\nC a: GET /sse\nS a: 200 text/event-stream\n"
    'S a: event named message\n    "/messages?session_id=<session>"\nC a: drop',
    "a part of a text differs": "over http\nC a: GET /sse\nS a: 200 text/event-stream\n"
    'S a: event named endpoint\n    "/message?session_id=<session>"\nC a: drop',
    "a header is written that is not there": "over http\nC a: GET\nS a: 400 application/json\n    Allow: GET\n    {}",
}
HTTP_HANDSHAKE = """over http
C init: POST
    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "someone", "version": "0"}}}
S init: 200 application/json
    Mcp-Session-Id: <session>
    {"jsonrpc": "2.0", "id": 0, "result": {"<*>": "<*>"}}
C news: GET
    Mcp-Session-Id: <session>
S news: 200 text/event-stream
    Mcp-Session-Id: <session>
"""
WRONG |= {
    "a stream is left open": HTTP_HANDSHAKE + "S news: event <a> retry 1000",
    "an event is not written": HTTP_HANDSHAKE + "C news: drop",
    "an event has an id that is not written": HTTP_HANDSHAKE + "S news: event\nC news: drop",
    "an event has a retry that is not written": HTTP_HANDSHAKE + "S news: event <a>\nC news: drop",
    "a comment is not written": HTTP_HANDSHAKE + "S news: event <a> retry 1000\nC wait 15\nC news: drop",
    "a comment is written that does not come": HTTP_HANDSHAKE
    + "S news: event <a> retry 1000\nC wait 14\nS news: comment",
    "an end is written that does not come": HTTP_HANDSHAKE + "S news: event <a> retry 1000\nS news: end",
}


@pytest.mark.parametrize("why", WRONG)
async def test_a_transcript_fails_where(why: str, tmp_path: Path, autojump_clock):
    path = tmp_path / "wrong.txt"
    path.write_text(WRONG[why])
    with pytest.raises(Mismatch):
        await replayed(path)


@pytest.mark.parametrize(
    "text",
    ["C {}", "over carrier pigeon", "over http\nC {}", "over http\nX a: GET", "    {}", "over stdio\nC $NONE", "let A"],
)
def test_what_is_no_transcript_is_told_from_one_that_fails(text: str, tmp_path: Path):
    path = tmp_path / "none.txt"
    path.write_text(text)
    with pytest.raises(TranscriptError):
        read(path)
