"""Malformed input of any kind is answered, ends no session and no server, and is never answered with 500."""

import json
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.http.client import META, MODERN, V2025_03, V2025_11, modern, request, served
from tests.http.servers import small_server
from trio_mcp.wire.jsonrpc import depth_exceeds

DEEP = b"[" * 100_000 + b"]" * 100_000
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":%b}}}'

# A row: the body, the code, and the id that could still be read.
BROKEN: list[tuple[bytes, int, Any]] = [
    (b"", -32700, None),
    (b" ", -32700, None),
    (b"{", -32700, None),
    (b"nonsense", -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"', -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"} {}', -32700, None),
    (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', -32700, None),
    ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\xc3("}}', -32700, None),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, -32700, None),
    (CALL % DEEP, -32700, None),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32700, None),
    (b"1", -32600, None),
    (b"null", -32600, None),
    (b'"ping"', -32600, None),
    (b"{}", -32600, None),
    (b'{"jsonrpc":"2.0"}', -32600, None),
    (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', -32600, 7),
    (b'{"id":7,"method":"ping"}', -32600, 7),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":8,"method":5}', -32600, 8),
    (b'{"jsonrpc":"2.0","id":8,"method":null}', -32600, 8),
    (b'{"jsonrpc":"2.0","id":8}', -32600, None),  # neither a request nor a response: nothing to echo for
    (b'{"jsonrpc":"2.0","id":8,"error":"no"}', -32600, None),
    (b'{"jsonrpc":"2.0","id":8,"method":"ping","params":[1]}', -32602, 8),
    (b'{"jsonrpc":"2.0","id":8,"method":"ping","params":"x"}', -32602, 8),
    (b'{"jsonrpc":"2.0","id":8,"method":"tools/call","params":null}', -32602, 8),
]


@pytest.mark.parametrize("body", [row[0] for row in BROKEN], ids=range(len(BROKEN)))
async def test_what_is_no_message_is_400_and_the_session_goes_on(body: bytes, autojump_clock):
    code, id = next((code, id) for row, code, id in BROKEN if row == body)
    async with served(small_server()) as web:
        session = await web.initialize()
        for open in (session.open, web.open):
            fetch = await open(body=body).done()
            assert fetch.status == 400
            assert fetch.error["code"] == code, fetch.body
            if id is not None:
                assert fetch.json["id"] == id
            elif code == -32700:
                assert "id" not in fetch.json
        assert await session.answers()


async def test_params_that_are_no_object_are_answered_where_the_call_would_be(autojump_clock):
    rows: list[tuple[str, Any]] = [
        ("tools/call", {"name": 5}),
        ("tools/list", {"_meta": 5}),
        ("tools/list", {"_meta": {"progressToken": []}}),
        ("resources/read", {"uri": None}),
        ("completion/complete", {"ref": {"type": "ref/none"}, "argument": {"name": "a", "value": "b"}}),
        ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": {"name": "a", "value": "b"}}),
    ]
    async with served(small_server()) as web:
        session = await web.initialize()
        for method, params in rows:
            fetch = await session.ask(method, params, id="p").done()
            assert (fetch.status, fetch.json["id"]) == (200, "p")
            assert fetch.error["code"] == -32602, (method, params)
        assert await session.answers()


@pytest.mark.parametrize("id", ["1" * 400, "1e400", "-" + "9" * 30, str(2**63), str(2**64)])
async def test_a_giant_number_as_id_is_answered_and_no_crash(id: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetch = await session.open(body=b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % id.encode()).done()
        assert fetch.status in (200, 400)
        assert "result" in fetch.json or fetch.error["code"] in (-32600, -32700)
        assert await session.answers()


async def test_a_giant_text_as_id_comes_back_whole(autojump_clock):
    id = "é\n\r\u2028" * 10_000
    async with served(small_server(json_response=False)) as web:
        session = await web.initialize()
        assert (await session.ask("ping", id=id).done()).messages[0]["id"] == id


async def test_keys_that_come_twice_are_no_crash_and_the_answer_has_one_of_the_ids(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        body = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","method":"ping","params":{},"params":{}}'
        fetch = await session.open(body=body).done()
        assert (fetch.status, fetch.json["id"]) == (200, 2)


async def test_lone_surrogates_are_answered(autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        for fetch in (
            await session.open(body=CALL % rb'"\ud800"').done(),
            await session.open(body=rb'{"jsonrpc":"2.0","id":"\ud800","method":"ping"}').done(),
        ):
            assert fetch.status in (200, 400)
        assert await session.answers()


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\u2028", "\x85", "data: x\n\n", ":\n"])
async def test_line_breaks_in_texts_do_not_break_the_stream(line_break: str, autojump_clock):
    async with served(small_server(json_response=False)) as web:
        session = await web.initialize()
        message = f"before{line_break}after"
        fetch = await session.call("echo", message=message).done()
        assert fetch.result["content"][0]["text"] == message


@pytest.mark.parametrize("depth", [1, 59, 60, 61, 200])
async def test_nesting_is_bounded_where_the_setting_says(depth: int, autojump_clock):
    async with served(small_server(max_depth=64)) as web:
        session = await web.initialize()
        body = CALL % (b"[" * depth + b"]" * depth)
        fetch = await session.open(body=body).done()
        assert fetch.status == (400 if depth_exceeds(body, 64) else 200)
        assert (fetch.status == 400) == (depth > 61)
        assert await session.answers()


@pytest.mark.parametrize("name", ["mcp-session-id", "mcp-protocol-version", "accept", "last-event-id", "mcp-method"])
@pytest.mark.parametrize("value", ["\xff\xfe", "", " ", "a" * 20_000, "\x00", "," * 1000, ";q=;q=0;;"])
async def test_nonsense_in_headers_is_no_crash(name: str, value: str, autojump_clock):
    async with served(small_server()) as web:
        session = await web.initialize()
        fetches = [
            await session.ask("tools/list", headers={name: value}).done(),
            await web.ask("tools/list", headers={name: value}).done(),
            await session.open("GET", headers={name: value}).answered(),
        ]
        assert all(200 <= fetch.status < 500 for fetch in fetches)
        assert await session.answers()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
METHODS = st.sampled_from(
    [
        *("initialize", "ping", "tools/list", "tools/call", "resources/read", "prompts/get", "completion/complete"),
        *("notifications/cancelled", "notifications/progress", "logging/setLevel", "subscriptions/listen", "no/such"),
    ]
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | st.text(max_size=5) | JSON,
        "method": METHODS | JSON,
        "params": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("echo") | JSON,
                "arguments": st.fixed_dictionaries({"message": JSON}) | JSON,
                "uri": st.just("config://app") | JSON,
                "requestId": JSON,
                "notifications": JSON,
                "requestState": JSON,
                "inputResponses": JSON,
                "_meta": JSON
                | st.fixed_dictionaries(
                    {}, optional={f"{META}protocolVersion": st.just(MODERN) | JSON, f"{META}clientCapabilities": JSON}
                ),
            },
        ),
        "result": JSON,
        "error": JSON,
    },
)
BODIES = (
    st.binary(max_size=200)
    | MESSAGES.map(lambda message: json.dumps(message).encode())
    | st.lists(MESSAGES, max_size=4).map(lambda messages: json.dumps(messages).encode())
    | st.tuples(MESSAGES, st.integers(0, 100)).map(lambda cut: json.dumps(cut[0]).encode()[: cut[1]])
)
REASONABLE = {200, 202, 400, 404, 406, 429}


@given(bodies=st.lists(BODIES, min_size=1, max_size=5), revision=st.sampled_from([V2025_03, V2025_11]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_whatever_ends_a_session_or_the_server(bodies: list[bytes], revision: str):
    async def run() -> None:
        async with served(small_server(request_timeout=5, session_idle=100)) as web:
            session = await web.initialize(revision)
            for body in bodies:
                method = {"mcp-method": "tools/call", "mcp-name": "echo", "mcp-protocol-version": MODERN}
                for fetch in (
                    session.open(body=body),
                    web.open(body=body),
                    web.open(body=body, headers=method),
                ):
                    await fetch.answered()
                    assert fetch.status in REASONABLE, (fetch.status, fetch.body)
                    if not fetch.streams:
                        await fetch.done()
                        assert fetch.body == b"" or fetch.json is not None
            assert await session.answers()
            answer = await web.ask("tools/list").done()
            assert answer.result["tools"]

    trio.run(run, clock=MockClock(autojump_threshold=0))


NAMES = st.sampled_from([b"accept", b"mcp-session-id", b"mcp-name", b"mcp-method", b"mcp-protocol-version", b"host"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=6))
@settings(max_examples=100)
def test_no_headers_whatever_end_the_server(raw: list[tuple[bytes, bytes]]):
    async def run() -> None:
        async with served(small_server()) as web:
            body, _ = modern("tools/list")
            for message in (body, request(1, "initialize", {})):
                headers = [(name.decode(), value.decode("latin-1")) for name, value in raw]
                fetch = await web.fetch(body=message, headers=headers)
                assert fetch.status in REASONABLE, (fetch.status, fetch.body)

    trio.run(run, clock=MockClock(autojump_threshold=0))
