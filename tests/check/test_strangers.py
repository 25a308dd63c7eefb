"""Whatever bytes come, there is a row or one clear line, in time: garbage, silence, the endless, mutated answers."""

import json
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.check.kit import PLACE, Asked, Raw, Told, Wrong, column_of, in_memory, notes
from trio_mcp.check.connection import MAX_BYTES, Web
from trio_mcp.check.findings import Outcome
from trio_mcp.check.report import Report, as_json, markdown, table
from trio_mcp.check.runner import CHECK_TIMEOUTS, TRANSPORTS, CannotBeginError, run_checks
from trio_mcp.check.scene import Options

ACCIDENT = "what came could not be read"
SECONDS = 5.0
#: More virtual seconds than a run may take that meets silence wherever it can.
LONG = 10 * len(TRANSPORTS) * CHECK_TIMEOUTS * SECONDS


async def met(*says: bytes, closes: bool = True) -> str:
    """What a run says to a peer that says only this: its rows, or its one line."""
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            web = Web(PLACE, dial=Raw(nursery, *says, closes=closes).dial, timeout=SECONDS)
            try:
                report = Report("http://x", "today", await run_checks(web, Options()))
            except CannotBeginError as error:
                return str(error)
            finally:
                await web.aclose()
                nursery.cancel_scope.cancel()
    text = markdown(report)
    assert text.isascii() or text.isprintable() or text
    assert list(table(report))
    json.dumps(as_json(report))
    rows = list(report.rows())
    assert not [row.note for row in rows if ACCIDENT in row.note]
    reasons = [column.not_offered for section in report.sections for column in section.columns]
    return "\n".join([row.note for row in rows] + reasons)


def run(*says: bytes, closes: bool = True) -> str:
    return trio.run(lambda: met(*says, closes=closes), clock=MockClock(autojump_threshold=0))


def response(
    body: bytes, type: bytes = b"application/json", status: bytes = b"200 OK", *, length: bool = True
) -> bytes:
    lines = b"HTTP/1.1 %b\r\nContent-Type: %b\r\n" % (status, type)
    return lines + (b"Content-Length: %d\r\n\r\n" % len(body) if length else b"\r\n") + body


def test_a_peer_that_speaks_no_http_gets_a_row():
    assert "no valid HTTP/1.1" in run(b"SSH-2.0-OpenSSH_9\r\n")


def test_a_peer_that_closes_at_once_gets_a_row():
    assert "the connection was closed before an answer" in run(b"")


def test_a_silent_peer_gets_a_row_in_time():
    assert "no answer within 5 s" in run(b"", closes=False)


def test_a_body_without_an_end_is_cut_short():
    found = run(response(b'"' + b"x" * 100_000, length=False) * 60, closes=False)
    assert f"longer than {MAX_BYTES // 1024 // 1024} MiB" in found


def test_a_head_without_an_end_is_cut_short():
    assert "no valid HTTP/1.1" in run(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_000)


def test_interim_answers_without_an_end_are_cut_short():
    assert "longer than 4 MiB" in run(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200_000)


def test_json_that_nests_without_an_end_gets_a_row():
    assert "nested deeper" in run(response(b"[" * 10_000 + b"]" * 10_000))


def test_a_stream_that_never_answers_gets_a_row():
    event = b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n'
    assert "and no answer" in run(response(event * 20_000, b"text/event-stream", length=False))


def test_a_page_for_everything_is_no_server():
    page = run(response(b"<html>", b"text/html"))
    assert "no JSON-RPC message" in page
    found = run(response(b"not here", b"text/html", b"404 Not Found"))
    assert found.startswith("nothing at http://127.0.0.1:8000 speaks MCP: POST /mcp was answered with 404; ")


def test_a_server_that_wants_authorization_is_named_so():
    assert "the server wants authorization: it answered 401 (--token-env" in run(response(b"", status=b"401 No"))


def test_what_a_stranger_says_does_not_reach_the_terminal_as_it_is():
    error = {"jsonrpc": "2.0", "id": 0, "error": {"code": -1, "message": "\x1b[2J\u202e|`<b>\n# x"}}
    found = run(response(json.dumps(error).encode()))
    assert "\x1b" not in found
    assert "\\x1b[2J\\u202e" in found


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from([b"application/json", b"text/event-stream", b"text/html", b""])
STATUSES = st.sampled_from([b"200 OK", b"202 Accepted", b"101 Switching Protocols", b"204 No Content", b"400 Bad",
                            b"404 No", b"500 Oops", b"999 ?"])  # fmt: skip
MESSAGES = st.builds(
    lambda id, key, value: {"jsonrpc": "2.0", "id": id, key: value},
    st.sampled_from([1, 0, "1", None]),
    st.sampled_from(["result", "error", "method", "params"]),
    JSONS | st.fixed_dictionaries({"protocolVersion": JSONS | st.just("2025-11-25"), "capabilities": JSONS}),
)
BODIES = st.binary(max_size=60) | (JSONS | MESSAGES).map(lambda value: json.dumps(value).encode())
EVENTS = st.builds(lambda name, body: b"event: %b\ndata: %b\n\n" % (name, body),
                   st.sampled_from([b"endpoint", b"message", b""]), BODIES | st.just(b"/messages?id=1"))  # fmt: skip
RESPONSES = st.builds(response, BODIES | EVENTS, TYPES, STATUSES, length=st.booleans())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=200) | RESPONSES, min_size=1, max_size=4), st.booleans())
def test_any_bytes_at_all_get_a_row_or_a_line(says: list[bytes], closes: bool):
    assert run(*says, closes=closes)


def mutated(value: Any, path: int, put: Any) -> Any:
    """A copy of JSON with one part of it replaced; `path` says which."""
    parts: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in list(inner) if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            parts.append((inner, key))
            walk(inner[key])

    value = json.loads(json.dumps(value))
    walk(value)
    if parts:
        owner, key = parts[path % len(parts)]
        owner[key] = put
    return value


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([("http", "2025-11-25"), ("http", "2026-07-28"), ("message", "2025-11-25")]),
    st.integers(0, 10_000),
    JSONS,
    st.integers(1, 12),
)
def test_an_answer_with_any_part_replaced_gets_rows(where: tuple[str, str], path: int, put: Any, every: int):
    seen = []

    def change(asked: Asked, told: Told) -> None:
        seen.append(1)
        if len(seen) % every == 0 and told.body:
            told.message = mutated(told.message, path, put)

    async def main() -> None:
        with trio.fail_after(LONG):
            async with in_memory(Wrong(response=change).around) as web:
                column = await column_of(web, *where)
        found = notes(column, *Outcome)
        assert column.not_offered or found
        assert [note for note in found.values() if ACCIDENT in note] == []

    trio.run(main, clock=MockClock(autojump_threshold=0))
