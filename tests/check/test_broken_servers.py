"""Servers that are wrong in one way: the row that says so fails, and no other; each check can fail."""

from typing import Any

import pytest

from tests.check.kit import Wrong, column_of, in_memory, notes
from tests.check.wrongs import (
    BAD_TYPE,
    LOG,
    META,
    MIRRORED,
    MODERN,
    PING,
    V2024,
    V2025_03,
    V2025_11,
    SocketWrong,
    agrees_to_anything,
    all_sessions,
    another_order,
    drops,
    error,
    fills_in_capabilities,
    forgets_the_cursor,
    header_of_body,
    is_answer,
    is_batch,
    other_id,
    plainly_named,
    posted,
    puts,
    refuses_text,
    result,
    retold,
    rewrites,
    says,
    served_anyway,
    session_for_all,
    session_ids,
    sets,
    short_sessions,
    streams,
    takes_any_stream,
    tired_of,
    tool,
    typed_as_text,
    undeletable,
    unsupported,
    without,
    wrong_status,
)
from trio_mcp.check.findings import Outcome
from trio_mcp.check.registry import CHECKS

FAILED = {
    # The handshake
    "initialize.result": (V2025_11, result("initialize", sets(instructions=5))),
    "initialize.server-info": (V2025_11, result("initialize", lambda found: found["serverInfo"].pop("version"))),
    "initialize.capabilities": (V2025_11, result("initialize", lambda found: found["capabilities"].update(a=True))),
    "initialize.unknown-version": (V2025_11, retold(agrees_to_anything)),
    "discover.result": (MODERN, result("server/discover", sets(supportedVersions=["1"]))),
    "discover.capabilities": (MODERN, result("server/discover", lambda found: found["capabilities"].update(a=1))),
    "discover.result-type": (MODERN, result("tools/list", drops("resultType"))),
    # Messages
    "ping": (V2025_11, result("ping", sets(pong=True))),
    "messages.ids": (V2025_11, retold(lambda asked, told: other_id(asked, told, "0", of=0))),
    "messages.concurrent": (V2025_11, retold(lambda asked, told: other_id(asked, told, of="at-once-3"))),
    "errors.unknown-method": (V2025_11, error("trio-mcp-check/no-such-method", -32600)),
    "errors.parse": (V2025_11, says(lambda asked: asked.body.endswith(b": "), 200, PING)),
    "errors.invalid-request": (V2025_11, says(lambda asked: b'"1.0"' in asked.body, 500)),
    "notifications.unanswered": (V2025_11, posted("notifications/trio-mcp-check", status=400)),
    "batch.accepted": (V2025_03, says(is_batch, 400)),
    "progress.token": (V2025_11, streams(b'"trio-mcp-check-progress"', b'"other"')),
    "messages.posted-answers": (V2025_11, says(is_answer, 500)),
    # HTTP
    "http.media-type": (V2025_11, retold(typed_as_text)),
    "http.notification": (V2025_11, posted("notifications/initialized", status=202, body="ok")),
    "http.origin": (V2025_11, rewrites(without("origin"))),
    "http.origin-403": (MODERN, wrong_status(403, 400)),
    "http.version-unsupported": (V2025_11, rewrites(puts("mcp-protocol-version", V2025_11, instead_of="1999-12-31"))),
    "session.id": (V2025_11, session_ids(lambda id: id + " x")),
    "session.delete": (V2025_11, undeletable()),
    "stream.get": (V2025_11, says(lambda asked: asked.headers.get("accept") == "text/event-stream", 200, {})),
    "stream.event-ids": (V2025_11, streams(rb"id: \S+\ndata: \{", b"id: 1\ndata: {")),
    "stream.resume": (V2025_11, streams(b"slept", b"slapt", verb="GET")),
    # 2026-07-28
    "version.unsupported": (MODERN, unsupported(supported=[])),
    "meta.missing": (MODERN, rewrites(fills_in_capabilities)),
    "headers.version": (
        MODERN,
        rewrites(header_of_body("mcp-protocol-version", "params", "_meta", META + "protocolVersion")),
    ),
    "headers.method": (MODERN, rewrites(header_of_body("mcp-method", "method"))),
    "headers.name": (MODERN, rewrites(header_of_body("mcp-name", "params", "name"))),
    "headers.base64": (MODERN, rewrites(plainly_named)),
    "subscriptions.acknowledged": (MODERN, streams(b'"listen-1"', b'"listen-2"')),
    "logging.unasked": (MODERN, streams(rb"\A(?=data: .*progress)", LOG)),
    "errors.codes": (MODERN, error("trio-mcp-check/no-such-method", -32099)),
    "lists.caching": (MODERN, result("tools/list", sets(ttlMs=-1))),
    "tools.headers": (MODERN, result("tools/list", tool(inputSchema=MIRRORED))),
    "resources.unknown-params": (MODERN, error("resources/read", -32603)),
    # What servers offer
    "tools.list": (V2025_11, result("initialize", lambda found: found["capabilities"].pop("tools"))),
    "resources.list": (V2025_11, result("resources/templates/list", sets(resourceTemplates=None))),
    "prompts.list": (V2025_11, result("prompts/list", sets(nextCursor=5))),
    "tools.schemas": (V2025_11, result("tools/list", tool(outputSchema=BAD_TYPE))),
    "tools.call": (V2025_11, result("tools/call", sets(content=[{"type": "smell"}]))),
    "resources.read": (V2025_11, result("resources/read", lambda found: found["contents"][0].update(blob=""))),
    "resources.subscribe": (V2025_11, says(lambda asked: asked.method == "resources/unsubscribe", 404)),
    "prompts.get": (V2025_11, result("prompts/get", lambda found: found["messages"][0].update(role="robot"))),
    "completion": (V2025_11, result("completion/complete", sets(completion={"values": "x1"}))),
    "logging.level": (V2025_11, says(lambda asked: b"emergency" in asked.body, 400)),
}

WARNED = {
    "discover.server-info": (MODERN, result("server/discover", drops("_meta"))),
    "errors.invalid-params": (V2025_11, error("tools/call", -32603, only='"params":{"arguments":{}}')),
    "batch.refused": (V2025_11, says(is_batch, 200)),
    "cancel.unknown": (V2025_11, posted("notifications/cancelled", status=400)),
    "http.put": (V2025_11, says(lambda asked: asked.verb == "PUT", 405)),
    "http.content-type": (V2025_11, rewrites(puts("content-type", "application/json"))),
    "http.accept": (V2025_11, rewrites(refuses_text)),
    "http.version-absent": (V2025_11, says(lambda a: a.verb == "POST" and a.method == "ping"
                                           and "mcp-protocol-version" not in a.headers, 400)),
    "session.id-unique": (V2025_11, session_ids(lambda id: id[:8])),
    "session.missing": (V2025_11, all_sessions()),
    "session.unknown": (V2025_11, says(lambda a: set(a.headers.get("mcp-session-id", "")) == {"0"}, 400)),
    "stream.get-accept": (V2025_11, rewrites(takes_any_stream)),
    "stream.ends": (V2025_11, Wrong(hold=True)),
    "stream.unbuffered": (MODERN, retold(lambda asked, told: told.headers.pop("x-accel-buffering", None))),
    "stream.priming": (V2025_11, streams(rb"data: \n", b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n')),
    "headers.version-missing": (MODERN, says(lambda a: "mcp-protocol-version" not in a.headers, 400, {
        "jsonrpc": "2.0", "error": {"code": -32600, "message": "no session"}})),
    "methods.removed": (MODERN, served_anyway("ping")),
    "http.no-session": (MODERN, retold(session_for_all)),
    "http.get-405": (MODERN, says(lambda asked: asked.verb == "GET", 200, {})),
    "messages.posted-answers-refused": (MODERN, says(is_answer, 202)),
    "lists.cursor": (V2025_11, rewrites(forgets_the_cursor)),
    "lists.stable": (MODERN, another_order()),
    "tools.names": (V2025_11, result("tools/list", lambda found: found["tools"][1].update(name="my tool"))),
    "tools.unknown": (V2025_11, error("tools/call", -32000, only="no-such-tool")),
    "resources.unknown": (V2025_11, error("resources/read", -32602)),
    "prompts.unknown": (V2025_11, error("prompts/get", -32603)),
    "logging.invalid-level": (V2025_11, error("logging/setLevel", -32603)),
}  # fmt: skip


async def broken(wrong: Wrong | SocketWrong, transport: str, version: str) -> dict[str, str]:
    """What fails and warns, with the notes."""
    async with in_memory(wrong.around) as web:
        column = await column_of(web, transport, version, read_only={"sleep"})
    assert column.rows, column.not_offered
    found = notes(column, Outcome.FAILED, Outcome.WARNING)
    accidents = {id: note for id, note in found.items() if note.startswith("what came could not be read")}
    assert accidents == {}
    outcomes = {row.check.id: row.outcome for row in column.rows}
    return {id: f"{outcomes[id].value}: {note}" for id, note in found.items()}


#: On other transports: which, and what else cannot but be found.
OTHERS: dict[str, tuple[str, str, Any, set[str]]] = {
    "cancel.running": ("sse", V2024, posted("notifications/cancelled"), set()),
    "sse.endpoint": ("sse", V2024, streams(b"event: endpoint", b"event: message"), {"initialize.result"}),
    "sse.message": ("sse", V2024, wrong_status(202, 200), set()),
    "sse.unknown-session": ("sse", V2024, says(lambda a: "0000000" in a.query, 202), set()),
    "stream.origin": ("sse", V2024, rewrites(without("origin")), set()),
    "dialect.greeting": ("notifications", V2025_03, short_sessions(), set()),
    "dialect.accepted": ("notifications", V2025_03, wrong_status(202, 200, method="ping"), {"dialect.header"}),
    "dialect.initialize": ("notifications", V2025_03, streams(b'"tools":true', b'"tools":{}'), set()),
    "dialect.by-name": ("notifications", V2025_03, says(lambda a: a.method in ("echo", "add"), 404), set()),
    "dialect.fan-out": ("notifications", V2025_03, says(lambda a: a.verb == "GET" and a.query != "", 404), set()),
    "dialect.header": ("notifications", V2025_03, says(lambda a: "x-session-id" in a.headers, 400), set()),
    "dialect.unknown-session": (
        "notifications",
        V2025_03,
        says(lambda a: "session_id=00000000" in a.query, 202),
        set(),
    ),
    "direct.json": ("message", V2025_11, retold(typed_as_text), set()),
    "direct.plain": ("message", V2025_11, says(lambda a: "accept" not in a.headers, 400, PING), set()),
    "direct.notification": ("message", V2025_11, posted("notifications/initialized", status=200), set()),
    "direct.origin": ("message", V2025_11, rewrites(without("origin")), set()),
    "websocket.subprotocol": ("websocket", V2025_11, SocketWrong(subprotocol=None), set()),
    "websocket.binary": ("websocket", MODERN, SocketWrong(code=1000), set()),
    "latency": ("message", V2025_11, tired_of("ping", 20), set()),
}


@pytest.mark.parametrize("id", FAILED)
async def test_what_a_server_must_do_fails_alone(id: str, autojump_clock):
    version, wrong = FAILED[id]
    also = {"errors.unknown-method"} if id == "errors.codes" else set()
    found = await broken(wrong, "http", version)
    assert (found.get(id, "")[:7], set(found)) == ("failed:", {id} | also)


@pytest.mark.parametrize("id", WARNED)
async def test_what_a_server_should_do_warns_alone(id: str, autojump_clock):
    version, wrong = WARNED[id]
    found = await broken(wrong, "http", version)
    assert (found.get(id, "")[:8], set(found)) == ("warning:", {id})


@pytest.mark.parametrize("id", OTHERS)
async def test_what_is_wrong_on_another_transport_is_found_alone(id: str, autojump_clock):
    transport, version, wrong, also = OTHERS[id]
    assert set(await broken(wrong, transport, version)) == ({id} - {"sse.endpoint"}) | also


def test_every_check_is_seen_to_fail():
    assert {check.id for check in CHECKS} == {*FAILED, *WARNED, *OTHERS}
