"""The checker's own client: ids, retries, pages, what a server asks in between, and what it leaves behind."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Message, Ping, Pong, Request, TextMessage

from tests.check.kit import PLACE, Asked, Told, Wrong, column_of, in_memory, notes, respond
from tests.http.lane_kit import CERTIFICATE, served
from trio_mcp.check.connection import Web
from trio_mcp.check.findings import Fault, Outcome, Silence, TransportFault, printable, quoted, shown
from trio_mcp.check.http_talk import HttpTalk, header_value
from trio_mcp.check.place import parse
from trio_mcp.check.report import plain
from trio_mcp.check.runner import PATIENCE
from trio_mcp.check.scene import MAX_PAGES, Options, Scene
from trio_mcp.check.schemas import fault_in_schema, fault_in_value
from trio_mcp.check.stream_talk import SocketTalk, SseTalk
from trio_mcp.check.talk import Question
from trio_mcp.check.websocket import WebSocket
from trio_mcp.http.asgi import Receive, Scope, Send
from trio_mcp.protocol.revisions import LATEST_SESSION, V2024_11_05, V2026_07_28
from trio_mcp.wire.sse import Event

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


def answered(body: bytes, *, close: bool = False) -> bytes:
    ends = b"Connection: close\r\n" if close else b""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        ends,
        len(body),
        body,
    )


def dialled(nursery: trio.Nursery, *serve: Serve) -> tuple[Web, list[int]]:
    """A peer that serves its connections by these, in turn; and how many there were."""
    count: list[int] = []

    async def dial() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(serve[min(len(count), len(serve) - 1)], theirs)
        count.append(1)
        return ours

    return Web(PLACE, dial=dial), count


# Connections


async def test_a_connection_is_used_again(autojump_clock):
    async def serve(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            await stream.send_all(answered(b"{}"))

    async with trio.open_nursery() as nursery:
        web, count = dialled(nursery, serve)
        for _ in range(3):
            assert (await web.send("POST", "/", b"{}")).body == b"{}"
        assert len(count) == 1
        await web.aclose()


async def test_an_idle_connection_that_was_closed_is_made_anew(autojump_clock):
    async def once(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(answered(b"{}"))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        web, count = dialled(nursery, once)
        for _ in range(3):
            assert (await web.send("POST", "/", b"{}")).body == b"{}"
        assert len(count) == 3


async def test_what_met_silence_is_not_sent_twice(autojump_clock):
    async def tired(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(answered(b"{}"))
        while await stream.receive_some():
            pass

    async with trio.open_nursery() as nursery:
        web, count = dialled(nursery, tired)
        await web.send("POST", "/", b"{}")
        with pytest.raises(Silence):
            await web.send("POST", "/", b"{}")
        assert len(count) == 1


async def test_a_first_connection_that_is_closed_is_told(autojump_clock):
    async with trio.open_nursery() as nursery:
        web, count = dialled(nursery, lambda stream: stream.aclose())
        with pytest.raises(TransportFault, match="closed before an answer"):
            await web.send("POST", "/", b"{}")
        assert len(count) == 1


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await respond(send, Told(200, {}, b"hello"))


async def test_https_is_spoken_with_those_who_prove_who_they_are(monkeypatch: pytest.MonkeyPatch):
    async with served(hello, tls=True) as house:
        web = Web(parse(f"https://localhost:{house.port}/mcp"))
        with pytest.raises(TransportFault, match=r"^TLS with localhost failed: .*certificate verify failed"):
            await web.send("GET", "/")
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert (await web.send("GET", "/")).body == b"hello"
        await web.aclose()


# Ids


@pytest.mark.parametrize(("asked", "came"), [(7, '"7"'), ("7", "7"), (1, "true"), (1, "null"), (1, "2")])
async def test_an_answer_with_another_id_is_none(asked: Any, came: str, autojump_clock):
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(answered(b'{"jsonrpc":"2.0","result":{},"id":%b}' % came.encode()))

    async with trio.open_nursery() as nursery:
        web, _ = dialled(nursery, serve)
        with pytest.raises(Fault):
            await HttpTalk(web, V2026_07_28).ask("server/discover", id=asked)


def socket_server(*says: dict[str, Any], heard: list[Any]) -> Serve:
    """A WebSocket that says this to the first message, and then only notes what it hears."""

    async def serve(stream: trio.abc.Stream) -> None:
        frames, waiting = WSConnection(ConnectionType.SERVER), list(says)
        while data := await stream.receive_some():
            frames.receive_data(bytes(data))
            for event in frames.events():
                if isinstance(event, Request):
                    await stream.send_all(frames.send(AcceptConnection(subprotocol="mcp")))
                    await stream.send_all(frames.send(Ping(b"there?")))
                elif isinstance(event, TextMessage):
                    heard.append(json.loads(event.data))
                    while waiting:
                        await stream.send_all(frames.send(Message(json.dumps(waiting.pop(0)))))
                elif isinstance(event, Pong):
                    heard.append("pong")

    return serve


def said(id: Any, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": {}, **more}


@pytest.mark.parametrize("says", [[said("0")], [said(5)], [said(0), said(0)]], ids=["type", "number", "twice"])
async def test_an_answer_that_was_not_asked_for_is_found_on_a_stream(says: list[Any], autojump_clock):
    async with trio.open_nursery() as nursery:
        web, _ = dialled(nursery, socket_server(*says, heard=[]))
        talk = SocketTalk(web, V2026_07_28)
        await talk.begin()
        questions = [Question("server/discover")] * (2 if says[1:] else 1)
        with pytest.raises(Fault, match="which was not asked for"):
            await talk.ask_all(questions)
        await talk.aclose()
        nursery.cancel_scope.cancel()


async def test_pings_of_the_server_are_answered_on_both_levels(autojump_clock):
    heard: list[Any] = []
    ping = {"jsonrpc": "2.0", "id": "are-you-there", "method": "ping"}
    roots = {"jsonrpc": "2.0", "id": "roots", "method": "roots/list"}
    async with trio.open_nursery() as nursery:
        web, _ = dialled(nursery, socket_server(ping, roots, said(1), heard=heard))
        talk = SocketTalk(web, LATEST_SESSION)
        await talk.begin()
        await talk.ask("ping")
        assert isinstance(talk.socket, WebSocket)
        await trio.testing.wait_all_tasks_blocked()
        await talk.aclose()
        nursery.cancel_scope.cancel()
    asked, *others = [one for one in heard if one != "pong"]
    assert asked["method"] == "ping"
    assert {"jsonrpc": "2.0", "id": "are-you-there", "result": {}} in others
    assert "pong" in heard


async def test_a_request_in_the_era_without_them_is_a_fault(autojump_clock):
    ping = {"jsonrpc": "2.0", "id": 5, "method": "ping"}
    async with trio.open_nursery() as nursery:
        web, _ = dialled(nursery, socket_server(ping, said(0), heard=[]))
        talk = SocketTalk(web, V2026_07_28)
        await talk.begin()
        with pytest.raises(Fault, match="the server sent a request"):
            await talk.ask("server/discover")
        await talk.aclose()
        nursery.cancel_scope.cancel()


# Sessions and lists


async def test_every_session_is_ended(autojump_clock):
    ended: list[str] = []
    opened: list[str] = []

    def note(asked: Asked, told: Told) -> None:
        if asked.verb == "DELETE" and told.status == 204:
            ended.append(asked.headers["mcp-session-id"])
        if asked.method == "initialize" and "mcp-session-id" in told.headers:
            opened.append(told.headers["mcp-session-id"])

    async with in_memory(Wrong(response=note).around) as web:
        await column_of(web)
    assert opened
    assert set(ended) == set(opened)


async def test_after_a_failure_the_conversation_begins_anew(autojump_clock):
    """A server that loses its first session harms one check, and not those after it."""
    lost: set[str] = set()

    def lose(asked: Asked) -> None:
        id = asked.headers.get("mcp-session-id", "")
        if asked.method == "ping" and not lost:
            lost.add(id)
        if id in lost:
            asked.headers["mcp-session-id"] = "gone"

    async with in_memory(Wrong(request=lose).around) as web:
        column = await column_of(web)
    assert list(notes(column, Outcome.FAILED, Outcome.WARNING)) == ["ping"]


async def test_a_server_that_cannot_begin_anew_is_left_alone(autojump_clock):
    opened: list[int] = []

    def refuse(asked: Asked) -> Told | None:
        opened.append(asked.method == "initialize")
        harmed = asked.method == "ping" or sum(opened) > 2
        return Told(500, {}, b"") if harmed else None

    async with in_memory(Wrong(request=refuse).around) as web:
        column = await column_of(web)
    assert list(notes(column, Outcome.FAILED, Outcome.WARNING)) == ["ping"]
    assert set(notes(column, Outcome.SKIPPED).values()) == {
        "the conversation could not be begun again: initialize was answered with 500 and no body"
    }


async def test_a_server_that_falls_silent_is_left_alone(autojump_clock):
    def sleep(asked: Asked) -> None:
        if asked.method == "ping":
            asked.body = json.dumps({**asked.message, "method": "tools/call",
                                     "params": {"name": "sleep", "arguments": {"seconds": 600}}}).encode()  # fmt: skip

    async with in_memory(Wrong(request=sleep).around) as web:
        column = await column_of(web, read_only={"sleep"})
    silent = f"the server was silent {PATIENCE} times in a row"
    assert silent in notes(column, Outcome.SKIPPED).values()
    assert len(notes(column, Outcome.FAILED, Outcome.WARNING)) == PATIENCE


@pytest.mark.parametrize(("cursor", "told"), [("same", "the list has no end"), (None, f"more than {MAX_PAGES} pages")])
async def test_a_list_without_an_end_is_a_fault(cursor: str | None, told: str, autojump_clock):
    pages: list[int] = []

    def endless(asked: Asked, response: Told) -> None:
        if asked.method == "prompts/list":
            pages.append(1)
            message = response.message
            message["result"] = {"prompts": [], "nextCursor": cursor or f"{len(pages)}"}
            response.message = message

    def without_cursor(asked: Asked) -> None:
        if asked.method == "prompts/list":
            asked.body = json.dumps({**asked.message, "params": {}}).encode()

    async with in_memory(Wrong(request=without_cursor, response=endless).around) as web:
        scene = Scene(web, lambda: HttpTalk(web, LATEST_SESSION), Options())
        await scene.talk.open()
        with pytest.raises(Fault, match=told):
            await scene.listing("prompts/list", "prompts")
        await scene.talk.aclose()


async def test_lists_are_read_over_their_pages(autojump_clock):
    cursors: list[Any] = []

    def paged(asked: Asked, response: Told) -> None:
        if asked.method == "prompts/list":
            cursors.append(asked.message.get("params", {}).get("cursor"))
            more = {} if cursors[-1] == "" else {"nextCursor": ""}  # the empty string is a cursor, too
            response.message = {"jsonrpc": "2.0", "id": asked.message["id"], "result": {"prompts": [{}], **more}}

    async with in_memory(Wrong(response=paged).around) as web:
        scene = Scene(web, lambda: HttpTalk(web, LATEST_SESSION), Options())
        await scene.talk.open()
        assert await scene.listing("prompts/list", "prompts") == [{}, {}]
        await scene.talk.aclose()
    assert cursors == [None, ""]


# Words and places


@pytest.mark.parametrize(
    "uri", ["http://evil.example/messages", "//evil.example/x", "https://127.0.0.1:8000/x", "ws:x"]
)
def test_an_endpoint_elsewhere_is_refused(uri: str):
    with pytest.raises(Fault, match="endpoint"):
        SseTalk(Web(PLACE), V2024_11_05).find_target(Event(uri, "endpoint"))


@pytest.mark.parametrize(
    ("uri", "target"), [("/m?id=1", "/m?id=1"), ("m", "/m"), ("http://127.0.0.1:8000/m", "/m"), ("?a=b", "/sse?a=b")]
)
def test_an_endpoint_is_read_as_a_reference(uri: str, target: str):
    assert SseTalk(Web(PLACE), V2024_11_05).find_target(Event(uri, "endpoint")) == target


@pytest.mark.parametrize(
    ("url", "endpoint", "sse", "authority"),
    [
        ("http://h:1", "/mcp", "/sse", "h:1"),
        ("http://h/mcp", "/mcp", "/sse", "h"),
        ("https://h:443/api/mcp?key=1", "/api/mcp?key=1", "/api/sse", "h"),
        ("http://h/api/sse", "/api/mcp", "/api/sse", "h"),
        ("ws://[::1]:80/ws", "/mcp", "/sse", "[::1]"),
        ("wss://h:9/x/ws", "/x/mcp", "/x/sse", "h:9"),
    ],
)
def test_a_url_says_where_the_transports_are(url: str, endpoint: str, sse: str, authority: str):
    place = parse(url)
    assert (place.endpoint, place.path("sse"), place.authority) == (endpoint, sse, authority)


def test_text_of_a_stranger_is_shown_on_one_printable_line():
    assert printable("a\n\x1b[2Jb\u202e") == "a\\n\\x1b[2Jb\\u202e"
    assert len(printable("x" * 1000)) == 121
    assert quoted({"a": "\x00"}) == '"{"a":"\\u0000"}"'
    assert shown(b"\xff") == "\ufffd"
    assert plain("a|b `c` <d> *e* [f](g) \\") == "a\\|b \\`c\\` \\<d\\> \\*e\\* \\[f\\](g) \\\\"


def test_names_are_put_into_headers_as_the_revision_says():
    assert header_value("us-west1") == "us-west1"
    assert header_value("Hello, 世界") == "=?base64?SGVsbG8sIOS4lueVjA==?="
    assert header_value(" padded ") == "=?base64?IHBhZGRlZCA=?="
    assert header_value("=?base64?literal?=") == "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="


@pytest.mark.parametrize("validator", [True, False])
def test_schemas_are_looked_at_with_and_without_a_validator(validator: bool):
    good = {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": True}, "required": ["a"]}
    assert fault_in_schema(good, validator=validator) == ""
    for bad in ({"type": "strin"}, {"properties": {"a": {"type": 5}}}, {"required": "a"}, {"items": {"type": "x"}}, 5):
        assert fault_in_schema(bad, validator=validator) != "", bad


def test_values_are_held_against_their_schema():
    assert fault_in_value({"type": "object", "required": ["a"]}, {"a": 1}) == ""
    assert '"a" is a required property' in fault_in_value({"type": "object", "required": ["a"]}, {})
