"""The handshake and the requests in flight, on either side of a session."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from trio_mcp.protocol.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, McpError
from trio_mcp.protocol.events import (
    CancelReceived,
    Event,
    Ignored,
    Initialized,
    InitializeReceived,
    ProgressReceived,
    RequestReceived,
    ResponseReceived,
)
from trio_mcp.protocol.methods import METHODS
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.protocol.session import _TRANSITIONS, Role, SessionProtocol, State, Step, batch_fault
from trio_mcp.wire.jsonrpc import ErrorBody, Notification, Request, Response

CLIENT = {"name": "c", "version": "1"}
RESULT = {"capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def initialize(id: int | str = 0, version: str = "2025-11-25", **more: Any) -> Request:
    params = {"protocolVersion": version, "capabilities": {"roots": {}}, "clientInfo": CLIENT, **more}
    return Request(id, "initialize", raw(params))


def call(id: int | str = 1, method: str = "tools/call", **params: Any) -> Request:
    return Request(id, method, raw(params or {"name": "t"}))


def cancel(id: Any, **more: Any) -> Notification:
    return Notification("notifications/cancelled", raw({"requestId": id, **more}))


def server(version: str = "2025-11-25") -> SessionProtocol:
    """A server in operation."""
    protocol = SessionProtocol()
    protocol.receive(initialize(version=version))
    assert protocol.answer(0)
    assert protocol.state is State.READY
    return protocol


def client(version: str = "2025-11-25") -> SessionProtocol:
    """A client in operation."""
    protocol = SessionProtocol(Role.CLIENT)
    id = protocol.ask("initialize")
    protocol.receive(Response(id, result=raw({**RESULT, "protocolVersion": version})))
    assert protocol.state is State.READY
    return protocol


def refused(protocol: SessionProtocol, message: Request, code: int, said: str = "") -> None:
    """The message is refused, and nothing has changed."""
    before = msgspec.json.encode(
        [protocol.state, protocol.revision.version, dict(protocol.incoming), dict(protocol.outgoing)],
        enc_hook=str,
    )
    with pytest.raises(McpError) as caught:
        protocol.receive(message)
    assert caught.value.code == code
    assert said in caught.value.message
    after = [protocol.state, protocol.revision.version, dict(protocol.incoming), dict(protocol.outgoing)]
    assert msgspec.json.encode(after, enc_hook=str) == before


def ignored(event: Event, why: str) -> None:
    assert isinstance(event, Ignored)
    assert why in event.why


# The handshake


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", Step)
def test_only_the_steps_of_the_table_are_possible(state, step):
    protocol = SessionProtocol()
    protocol.state = state
    allowed = {
        (State.NEW, Step.INITIALIZE): State.INITIALIZING,
        (State.INITIALIZING, Step.ANSWERED): State.READY,
        (State.INITIALIZING, Step.REFUSED): State.NEW,
        (State.NEW, Step.REVIVE): State.READY,
        **{(each, Step.CLOSE): State.CLOSED for each in State},
    }
    assert allowed == _TRANSITIONS
    if (state, step) in allowed:
        protocol._move(step)
        assert protocol.state is allowed[state, step]
    else:
        with pytest.raises(McpError, match="is not possible"):
            protocol._move(step)
        assert protocol.state is state


def test_a_client_opens_a_session():
    protocol = SessionProtocol()
    assert (protocol.state, protocol.revision.version, protocol.client_info) == (State.NEW, "2025-11-25", None)
    event = protocol.receive(initialize("a", "2025-06-18"))
    assert isinstance(event, InitializeReceived)
    assert (event.id, event.params.client_info.name) == ("a", "c")
    assert (protocol.state, protocol.incoming) == (State.INITIALIZING, {"a": "initialize"})
    assert protocol.client_info is not None
    assert (protocol.client_info.name, protocol.client_capabilities.roots) == ("c", {})
    assert protocol.revision.version == "2025-06-18"
    assert protocol.answer("a")
    assert (protocol.state, protocol.incoming, protocol.initialized) == (State.READY, {}, False)
    assert isinstance(protocol.receive(Notification("notifications/initialized")), Initialized)
    assert protocol.initialized


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2026-07-28", "2025-11-25"),
        ("1900-01-01", "2025-11-25"),
    ],
)
def test_the_revision_is_the_one_asked_for_or_the_newest_of_the_era(asked, agreed):
    assert server(asked).revision.version == agreed


def test_a_refused_initialize_leaves_nothing_behind_and_may_be_tried_again():
    protocol = SessionProtocol()
    protocol.receive(initialize(version="2024-11-05"))
    assert protocol.answer(0, refused=True)
    assert (protocol.state, protocol.revision.version, protocol.client_info) == (State.NEW, "2025-11-25", None)
    assert protocol.client_capabilities.roots is None
    assert isinstance(protocol.receive(initialize(0)), InitializeReceived)


def test_a_session_is_initialized_once():
    protocol = SessionProtocol()
    protocol.receive(initialize(0, "2024-11-05"))
    refused(protocol, initialize(1), INVALID_REQUEST, "initialized already")
    protocol.answer(0)
    refused(protocol, initialize(0), INVALID_REQUEST, "initialized already")
    assert protocol.revision.version == "2024-11-05"


@pytest.mark.parametrize(
    "params", [{"protocolVersion": 5}, {"capabilities": None}, {"clientInfo": {}}, {"clientInfo": {"name": "x"}}]
)
def test_a_malformed_initialize_may_be_tried_again(params):
    protocol = SessionProtocol()
    refused(protocol, initialize(**params), INVALID_PARAMS)
    assert isinstance(protocol.receive(initialize()), InitializeReceived)


@pytest.mark.parametrize("method", [*METHODS, "unknown"])
def test_before_the_handshake_only_a_ping_is_answered(method):
    for protocol in (SessionProtocol(), SessionProtocol()):
        if method == "initialize":
            continue
        if method == "ping":
            assert isinstance(protocol.receive(call(1, "ping", x=1)), RequestReceived)
            assert protocol.answer(1)
        else:
            refused(protocol, call(1, method), INVALID_REQUEST, "send initialize first")
        protocol.receive(initialize())  # and while it is being answered


@pytest.mark.parametrize("method", ["initialize", "ping", "tools/call", "unknown"])
def test_after_the_end_nothing_is_answered(method):
    for protocol in (SessionProtocol(), server(), client()):
        protocol.close()
        assert (protocol.state, protocol.incoming, protocol.outgoing) == (State.CLOSED, {}, {})
        refused(protocol, call(1, method), INVALID_REQUEST, "after the end")
        protocol.close()
        assert protocol.state is State.CLOSED


def test_after_the_end_nothing_is_owed_awaited_or_asked():
    protocol = server()
    protocol.receive(call("a"))
    id = protocol.ask("roots/list")
    protocol.close()
    assert not protocol.answer("a")
    assert not protocol.abandon(id)
    ignored(protocol.receive(Response(id, result=raw({}))), "nothing that was asked")
    ignored(protocol.receive(cancel("a")), "not in flight")
    ignored(protocol.receive(Notification("notifications/initialized")), "closed")
    for method in ("roots/list", "ping"):
        with pytest.raises(McpError, match="after the end"):
            protocol.ask(method)
    assert protocol.outgoing == {}


def test_initialized_comes_after_the_answer_and_from_the_client():
    protocol = SessionProtocol()
    ignored(protocol.receive(Notification("notifications/initialized")), "before initialize")
    protocol.receive(initialize())
    ignored(protocol.receive(Notification("notifications/initialized")), "being answered")
    protocol.answer(0)
    assert not protocol.initialized
    ignored(client().receive(Notification("notifications/initialized")), "the other way")


# Requests of the peer


def test_a_request_is_owed_one_answer():
    protocol = server()
    event = protocol.receive(call("a"))
    assert isinstance(event, RequestReceived)
    assert (event.id, event.method, event.params.name) == ("a", METHODS["tools/call"], "t")
    assert protocol.incoming == {"a": "tools/call"}
    assert protocol.answer("a")
    assert not protocol.answer("a")
    assert not protocol.answer("b")
    assert protocol.incoming == {}


def test_an_id_in_flight_is_refused_and_the_first_request_goes_on():
    protocol = server()
    protocol.receive(call(1))
    refused(protocol, call(1), INVALID_REQUEST, "Request id 1 is still in flight")
    refused(protocol, call(1, "ping", x=1), INVALID_REQUEST)
    assert isinstance(protocol.receive(call("1")), RequestReceived), "a string is another id than a number"
    assert protocol.incoming == {1: "tools/call", "1": "tools/call"}
    assert protocol.answer(1)
    assert isinstance(protocol.receive(call(1)), RequestReceived)


@pytest.mark.parametrize(
    "method", ["unknown", "", "notifications/progress", "sampling/createMessage", "roots/list", "server/discover"]
)
def test_a_request_that_the_server_does_not_take_is_not_found(method):
    refused(server(), call(1, method), METHOD_NOT_FOUND, method)


def test_what_a_method_is_depends_on_the_revision():
    for version in ("2024-11-05", "2025-03-26"):
        with pytest.raises(McpError) as caught:
            server(version).ask("elicitation/create")
        assert caught.value.code == METHOD_NOT_FOUND
        refused(client(version), call(1, "elicitation/create"), METHOD_NOT_FOUND)
    for version in ("2025-06-18", "2025-11-25"):
        assert server(version).ask("elicitation/create") == 1
        assert isinstance(client(version).receive(call(1, "elicitation/create")), RequestReceived)


def test_wrong_parameters_are_refused_and_the_id_is_free():
    protocol = server()
    refused(protocol, call(1, name=5), INVALID_PARAMS)
    assert isinstance(protocol.receive(call(1)), RequestReceived)


@pytest.mark.parametrize("method", ["tools/call", "initialize", "unknown", "resources/read"])
def test_a_client_takes_no_requests_of_a_client(method):
    refused(client(), call(1, method), METHOD_NOT_FOUND)


# Cancellation


def test_a_request_in_flight_can_be_cancelled_and_then_nothing_is_owed():
    protocol = server()
    protocol.receive(call("a"))
    event = protocol.receive(cancel("a", reason="too slow"))
    assert isinstance(event, CancelReceived)
    assert (event.id, event.reason) == ("a", "too slow")
    assert protocol.answer("a")
    ignored(protocol.receive(cancel("a")), "not in flight")


@pytest.mark.parametrize("id", [1, "b", "", None])
def test_a_cancellation_of_anything_else_is_ignored(id):
    protocol = server()
    protocol.receive(call("1"))
    protocol.ask("ping")  # id 1 is ours: the peer cannot cancel it
    ignored(protocol.receive(cancel(id)), "not in flight")
    assert protocol.incoming == {"1": "tools/call"}
    assert protocol.outgoing == {1: "ping"}


@pytest.mark.parametrize("params", [{}, {"requestId": 1.5}, {"requestId": True}, {"requestId": ["a"]}, {"reason": 5}])
def test_a_malformed_cancellation_is_ignored(params):
    protocol = server()
    protocol.receive(call(1))
    assert isinstance(protocol.receive(Notification("notifications/cancelled", raw(params))), Ignored)
    assert protocol.incoming == {1: "tools/call"}


def test_initialize_cannot_be_cancelled():
    protocol = SessionProtocol()
    protocol.receive(initialize(0))
    ignored(protocol.receive(cancel(0)), "initialize cannot be cancelled")
    assert protocol.incoming == {0: "initialize"}


# Other notifications


@pytest.mark.parametrize(
    "message",
    [
        Notification("unknown"),
        Notification(""),
        Notification("tools/call", raw({"name": "t"})),
        Notification("initialize", raw({})),
        Notification("notifications/message", raw({"level": "info", "data": 1})),
        Notification("notifications/tools/list_changed"),
        Notification("notifications/subscriptions/acknowledged", raw({"notifications": {}})),
        Notification("notifications/progress", raw({"progressToken": 1})),
        Notification("notifications/progress", Raw(b'{"progressToken":1,"progress":1e999}')),
        Notification("notifications/roots/list_changed"),
        Notification("notifications/roots/list_changed", raw({"_meta": 5})),
    ],
)
def test_a_notification_is_never_an_error(message):
    for protocol in (SessionProtocol(), server(), server("2024-11-05")):
        before = protocol.state
        assert isinstance(protocol.receive(message), Ignored)
        assert protocol.state is before


def test_progress_of_the_peer_is_passed_on():
    event = server().receive(Notification("notifications/progress", raw({"progressToken": "t", "progress": 1})))
    assert isinstance(event, ProgressReceived)
    assert (event.token, event.params.progress) == ("t", 1)


# Requests of ours


def test_an_answer_goes_to_the_request_that_asked_and_only_once():
    protocol = server()
    first, second = protocol.ask("roots/list"), protocol.ask("ping")
    assert first != second
    event = protocol.receive(Response(second, result=raw({})))
    assert isinstance(event, ResponseReceived)
    assert (event.id, event.error) == (second, None)
    ignored(protocol.receive(Response(second, result=raw({}))), "nothing that was asked")
    event = protocol.receive(Response(first, error=ErrorBody(-1, "no")))
    assert isinstance(event, ResponseReceived)
    assert event.error == ErrorBody(-1, "no")
    assert protocol.outgoing == {}


@pytest.mark.parametrize("id", [None, "1", 2, 0, -1, 10**40, ""])
def test_an_answer_to_anything_else_is_ignored(id):
    protocol = server()
    assert protocol.ask("ping") == 1
    ignored(protocol.receive(Response(id, result=raw({}))), "nothing that was asked")
    assert protocol.outgoing == {1: "ping"}


def test_an_abandoned_request_is_abandoned_once_and_its_late_answer_ignored():
    protocol = server()
    id = protocol.ask("ping")
    assert protocol.abandon(id)
    assert not protocol.abandon(id)
    ignored(protocol.receive(Response(id, result=raw({}))), "nothing that was asked")
    assert protocol.ask("ping") != id


@pytest.mark.parametrize("method", ["tools/call", "initialize", "server/discover", "notifications/progress", "unknown"])
def test_a_server_asks_only_what_goes_to_clients(method):
    with pytest.raises(McpError) as caught:
        server().ask(method)
    assert caught.value.code == METHOD_NOT_FOUND


def test_before_the_handshake_only_a_ping_is_asked():
    protocol = SessionProtocol()
    assert protocol.ask("ping")
    with pytest.raises(McpError, match="before initialize"):
        protocol.ask("roots/list")
    customer = SessionProtocol(Role.CLIENT)
    with pytest.raises(McpError, match="before initialize"):
        customer.ask("tools/list")
    customer.ask("initialize")
    for method in ("tools/list", "initialize"):
        with pytest.raises(McpError):
            customer.ask(method)
    assert list(customer.outgoing.values()) == ["initialize"]


# The client's side of the handshake


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_client_takes_the_servers_revision(version):
    assert client(version).revision.version == version


@pytest.mark.parametrize(
    "answer",
    [
        {"error": ErrorBody(-32602, "Unsupported protocol version")},
        {"result": raw({**RESULT, "protocolVersion": "2026-07-28"})},
        {"result": raw({**RESULT, "protocolVersion": "1900-01-01"})},
        {"result": raw({**RESULT, "protocolVersion": None})},
        {"result": raw(RESULT)},
        {"result": raw({"protocolVersion": "2025-11-25"})},
        {"result": raw([])},
        {"result": raw(None)},
        {"result": Raw(b'{"protocolVersion":"\\ud800"}')},
    ],
)
def test_an_answer_that_names_no_revision_of_ours_is_no_agreement(answer):
    protocol = SessionProtocol(Role.CLIENT)
    id = protocol.ask("initialize")
    assert isinstance(protocol.receive(Response(id, **answer)), ResponseReceived)
    assert (protocol.state, protocol.revision.version, protocol.outgoing) == (State.NEW, "2025-11-25", {})
    assert protocol.ask("initialize") != id


def test_an_initialize_that_was_given_up_can_only_be_followed_by_the_end():
    protocol = SessionProtocol(Role.CLIENT)
    id = protocol.ask("initialize")
    assert protocol.abandon(id)
    ignored(protocol.receive(Response(id, result=raw({**RESULT, "protocolVersion": "2025-11-25"}))), "nothing")
    with pytest.raises(McpError, match="not possible"):
        protocol.ask("initialize")
    protocol.close()
    assert protocol.state is State.CLOSED


def test_batches_belong_to_one_revision_and_are_bounded():
    assert [version for version, known in REVISIONS.items() if batch_fault(known, 3, 3) is None] == ["2025-03-26"]
    assert "not part of this protocol version" in str(batch_fault(None, 1, 3))
    assert "may hold 3 messages" in str(batch_fault(REVISIONS["2025-03-26"], 4, 3))
