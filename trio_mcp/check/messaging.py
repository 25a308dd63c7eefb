"""Checks of messages as such: ids, errors, notifications, batches, cancellation, progress, and how long it takes."""

import statistics
from typing import Final

import msgspec

from trio_mcp.check.findings import Doubt, Fault, NotOffered, Silence, Skipped, demand, quoted
from trio_mcp.check.messages import read_messages
from trio_mcp.check.registry import MCP, SESSIONS, Level, check
from trio_mcp.check.scene import Scene
from trio_mcp.check.talk import DuplexTalk, Question, params_of
from trio_mcp.protocol.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR
from trio_mcp.protocol.revisions import LATEST_SESSION, V2025_03_26, V2025_06_18, V2026_07_28
from trio_mcp.wire.jsonrpc import encode_request

AT_ONCE: Final = 8
"""Requests that are sent at the same time."""
SAMPLES: Final = 15
"""Requests whose time is taken."""
CANCELLED: Final = (0.2, 0.4)
"""Seconds of a call that is cancelled, and of one that outlasts it."""
NO_METHOD: Final = "trio-mcp-check/no-such-method"
MANY: Final = (*MCP, "notifications")


def harmless(scene: Scene) -> str:
    """A request that every server of the revision answers."""
    return "server/discover" if scene.revision.per_request else "ping"


@check(
    "ping",
    "basic/utilities/ping: Behavior Requirements",
    on=MANY,
    until=LATEST_SESSION,
)
async def ping(scene: Scene) -> str | None:
    """Ping is answered with an empty result."""
    result = await scene.talk.result("ping")
    demand(not result, "the result is not empty")
    return None


@check("messages.ids", "basic/index: Responses", on=MANY)
async def ids(scene: Scene) -> str | None:
    """An answer has the id of its request, with its type."""
    for id in ("trio-mcp-check", "7", 7, 0, 9_007_199_254_740_991):
        answer = await scene.talk.ask(harmless(scene), id=id)
        demand(answer.id == id, f"a request with the id {quoted(id)} was answered with {quoted(answer.id)}")
        answer.expect_result()
    return None


@check("messages.concurrent", "basic/index: Messages", on=MANY)
async def concurrent(scene: Scene) -> str | None:
    """Eight requests at once get eight answers."""
    questions = [Question(harmless(scene), id=f"at-once-{number}") for number in range(AT_ONCE)]
    for answer in await scene.talk.ask_all(questions):
        answer.expect_result()
    return None


@check("errors.unknown-method", "JSON-RPC 2.0: Error object", on=MANY)
async def unknown_method(scene: Scene) -> str | None:
    """An unknown method is -32601."""
    answer = await scene.talk.ask(NO_METHOD)
    answer.expect_error(METHOD_NOT_FOUND)
    if scene.revision.per_request and scene.talk.transport == "http":
        answer.expect_status(404)
    return None


@check(
    "errors.invalid-params",
    "JSON-RPC 2.0: Error object",
    level=Level.SHOULD,
)
async def invalid_params(scene: Scene) -> str | None:
    """A tools/call without a name is -32602."""
    if "tools" not in scene.capabilities:
        raise NotOffered("no tools are declared")
    answer = await scene.talk.ask("tools/call", {"arguments": {}})
    answer.expect_error()
    answer.expect_error(INVALID_PARAMS)
    return None


@check("errors.parse", "JSON-RPC 2.0: Error object")
async def parse_error(scene: Scene) -> str | None:
    """Text that is no JSON is refused, and harms nothing."""
    return await _refused(scene, b'{"jsonrpc": "2.0", "id": 1, "method": ', PARSE_ERROR)


@check("errors.invalid-request", "JSON-RPC 2.0: Error object")
async def invalid_request(scene: Scene) -> str | None:
    """JSON that is no JSON-RPC is refused, and harms nothing."""
    return await _refused(scene, b'{"jsonrpc": "1.0", "id": 1, "method": 5}', INVALID_REQUEST)


async def _refused(scene: Scene, body: bytes, code: int) -> str | None:
    try:
        answer = await scene.talk.throw(body)
    except Silence:
        if scene.talk.transport != "sse":
            raise
        answer = None  # a POST that was taken is answered on the stream, or never: its id could not be read
    except Fault as fault:
        if scene.talk.transport != "sse" or "was answered with 4" not in str(fault):
            raise
        answer = None  # what is no message need not be taken in at all
    if answer is not None:
        if answer.status is not None:
            demand(answer.error or answer.status >= 400, f"it was answered with {answer.status}")
            demand(answer.status < 500, f"it was answered with {answer.status}")
        elif answer.error is None:
            raise Fault("it was answered with a result")
    (await scene.talk.ask(harmless(scene))).expect_result()
    if answer is not None and answer.error is not None and answer.error.code != code:
        raise Doubt(f"the code is {answer.error.code}, not {code}")
    return None


@check(
    "notifications.unanswered",
    "basic/index: Notifications",
    on=(*SESSIONS, "notifications"),
)
async def unanswered(scene: Scene) -> str | None:
    """A notification is not answered."""
    await scene.talk.tell("notifications/trio-mcp-check")
    (await scene.talk.ask(harmless(scene))).expect_result()
    return None


@check(
    "batch.accepted",
    "basic/index: Batching",
    on=("http",),
    since=V2025_03_26,
    until=V2025_03_26,
)
async def batch(scene: Scene) -> str | None:
    """A batch of two requests gets both answers."""
    talk = scene.http
    ids = ["batch-1", "batch-2"]
    body = b"[%b]" % b",".join(encode_request(id, "ping") for id in ids)
    received = await talk.post(body, talk.headers("ping"), ids)
    if not received.messages:
        received.messages = read_messages(received.body)
    answered = {response.id for response in received.responses() if response.error is None}
    demand(answered == set(ids), f"{len(answered)} of 2 were answered; the status is {received.status}")
    return None


@check(
    "batch.refused",
    "basic/transports: Sending Messages to the Server",
    level=Level.SHOULD,
    on=("http",),
    since=V2025_06_18,
)
async def no_batch(scene: Scene) -> str | None:
    """A batch is refused."""
    talk = scene.http
    method = harmless(scene)
    params = {"_meta": talk.meta()} if scene.revision.per_request else msgspec.UNSET
    body = b"[%b]" % encode_request("batch-1", method, params)
    received = await talk.post(body, talk.headers(method), ["batch-1"])
    demand(received.status >= 400, f"it was answered with {received.status}")
    return f"{received.status}"


@check(
    "cancel.unknown",
    "basic/utilities/cancellation: Error Handling",
    level=Level.SHOULD,
    on=SESSIONS,
    until=LATEST_SESSION,
)
async def cancel_unknown(scene: Scene) -> str | None:
    """The cancellation of an unknown request is ignored."""
    await scene.talk.tell("notifications/cancelled", {"requestId": "nobody-asked", "reason": "a check"})
    (await scene.talk.ask("ping")).expect_result()
    return None


@check(
    "cancel.running",
    "basic/utilities/cancellation: Behavior Requirements",
    level=Level.SHOULD,
    on=("sse", "websocket"),
    until=LATEST_SESSION,
)
async def cancel_running(scene: Scene) -> str | None:
    """A call that was cancelled is not answered any more."""
    talk = scene.talk
    assert isinstance(talk, DuplexTalk)
    name = await scene.sleeper()
    params, longer = ({"name": name, "arguments": {"seconds": seconds}} for seconds in CANCELLED)
    id, body = talk.encode(Question("tools/call", params))
    await talk.write(body)
    (await talk.ask("ping")).expect_result()
    await talk.tell("notifications/cancelled", {"requestId": id, "reason": "a check"})
    (await talk.ask("tools/call", longer)).expect_result()  # an answer to the first would come before
    return None


@check(
    "progress.token",
    "basic/utilities/progress: Behavior Requirements",
    on=SESSIONS,
)
async def progress(scene: Scene) -> str | None:
    """Progress carries the token of its request, and increases."""
    name = await scene.sleeper()
    token = "trio-mcp-check-progress"
    params = {"name": name, "arguments": {"seconds": 0.05}}
    answer = await scene.talk.ask("tools/call", params, progressToken=token)
    answer.expect_result()
    before = float("-inf")
    seen = 0
    for notification in answer.notifications:
        if notification.method != "notifications/progress":
            continue
        told = params_of(notification)
        if told.get("progressToken") != token:
            raise Fault(f"the token is {quoted(told.get('progressToken'))}, not the request's")
        value = told.get("progress")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= before:
            raise Fault(f"progress went from {before:g} to {quoted(value)}")
        before, seen = float(value), seen + 1
    if not seen:
        raise Skipped("the tool reported none")
    return f"{seen} reports"


@check(
    "logging.unasked",
    "server/utilities/logging: Per-request log level",
    on=("http", "websocket"),
    since=V2026_07_28,
    last=True,
)
async def logs(scene: Scene) -> str | None:
    """Log messages come only to a request that asked for them."""
    messages = [one for one in scene.talk.notified if one.method == "notifications/message"]
    demand(not messages, f"{len(messages)} came, and nobody set a log level")
    return None


@check(
    "latency",
    "—",
    level=Level.INFO,
    on=MANY,
    last=True,
)
async def latency(scene: Scene) -> str | None:
    """How long an answer takes."""
    method = harmless(scene)
    times = []
    for _ in range(SAMPLES):
        answer = await scene.talk.ask(method)
        times.append(answer.seconds)
    return f"p50 {statistics.median(times) * 1000:.1f} ms of {SAMPLES} × {method}"


@check(
    "messages.posted-answers",
    "basic/transports: Sending Messages to the Server",
    on=("http",),
    until=LATEST_SESSION,
)
async def posted_answer(scene: Scene) -> str | None:
    """An answer to nothing is taken or refused, and harms nothing."""
    talk = scene.http
    body = b'{"jsonrpc":"2.0","id":"nobody-asked","result":{}}'
    reply = await scene.web.send("POST", talk.path, body, talk.headers())
    demand(reply.status == 202 or 400 <= reply.status < 500, f"it was answered with {reply.status}, not 202 or 4xx")
    demand(reply.status != 202 or not reply.body, "202 came with a body")
    (await talk.ask("ping")).expect_result()
    return f"{reply.status}"
