"""Any sequence of messages leaves a session's two sides consistent, and never answers a request twice."""

from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Raw

from trio_mcp.protocol.errors import INVALID_REQUEST, METHOD_NOT_FOUND, McpError
from trio_mcp.protocol.events import (
    CancelReceived,
    Ignored,
    Initialized,
    InitializeReceived,
    ProgressReceived,
    RequestReceived,
    ResponseReceived,
)
from trio_mcp.protocol.methods import METHODS, find_request
from trio_mcp.protocol.revisions import REVISIONS
from trio_mcp.protocol.session import Role, SessionProtocol, State
from trio_mcp.wire.jsonrpc import (
    ErrorBody,
    Message,
    Notification,
    Request,
    Response,
    decode,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
)

IDS = st.integers(0, 4) | st.sampled_from(["1", "a", "", 10**40, -1])
VERSIONS = st.sampled_from([*REVISIONS, "1900-01-01", ""])
#: Enough for every method to be read; what a method does not know it ignores.
GOOD: dict[str, Any] = {
    "name": "x",
    "uri": "a:b",
    "level": "info",
    "data": 1,
    "notifications": {},
    "ref": {"type": "ref/prompt", "name": "p"},
    "argument": {"name": "a", "value": ""},
    "progressToken": 1,
    "progress": 1,
    "elicitationId": "e",
    "requestId": 1,
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "c", "version": "1"},
}
SERVER_INFO = {"capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})
)
PARAMS: st.SearchStrategy[dict[str, Any]] = (
    st.dictionaries(st.sampled_from([*GOOD, "_meta"]), VALUES, max_size=3).map(lambda changes: GOOD | changes)
    | st.builds(lambda version, id: GOOD | {"protocolVersion": version, "requestId": id}, VERSIONS, IDS)
    | st.just({})
)
RAW_PARAMS = PARAMS.map(lambda value: Raw(msgspec.json.encode(value))) | st.sampled_from(
    [Raw(b'{"a":"\\ud800"}'), Raw(b"{"), Raw(b""), Raw(b"\xff")]
)
NAMES = st.sampled_from(["initialize", "ping", "tools/call"]) | st.sampled_from([*METHODS, "unknown", ""])
ERRORS = st.builds(ErrorBody, st.integers(), st.text(max_size=3))
ANSWERS = st.builds(
    lambda version: Raw(msgspec.json.encode(SERVER_INFO | {"protocolVersion": version})), VERSIONS
) | st.sampled_from([Raw(b"{}"), Raw(b"null"), Raw(b"[")])
MESSAGES: st.SearchStrategy[Message] = (
    st.builds(Request, IDS, NAMES, RAW_PARAMS)
    | st.builds(Request, IDS, st.sampled_from([*METHODS]), st.just(Raw(msgspec.json.encode(GOOD))))
    | st.builds(lambda id: Notification("notifications/cancelled", Raw(msgspec.json.encode({"requestId": id}))), IDS)
    | st.builds(Notification, NAMES, RAW_PARAMS)
    | st.builds(lambda id, result: Response(id, result=result), IDS | st.none(), ANSWERS)
    | st.builds(lambda id, error: Response(id, error=error), IDS | st.none(), ERRORS)
)


def snapshot(protocol: SessionProtocol) -> tuple[object, ...]:
    return (
        protocol.state,
        protocol.revision,
        dict(protocol.incoming),
        dict(protocol.outgoing),
        protocol.client_info,
        protocol.initialized,
    )


class OneSide(RuleBasedStateMachine):
    """One machine and a peer that may say anything, beside a model of what is owed and awaited."""

    role = Role.SERVER

    def __init__(self) -> None:
        super().__init__()
        self.protocol = SessionProtocol(self.role)
        self.owed: set[object] = set()
        self.awaited: set[object] = set()
        self.asked: set[object] = set()

    @initialize(shaken=st.sampled_from([True, True, False]), version=VERSIONS)
    def shake_hands(self, shaken: bool, version: str) -> None:
        """Most runs begin in operation: left to chance, few would get there."""
        if not shaken:
            return
        if self.role is Role.SERVER:
            self.receive(Request(0, "initialize", Raw(msgspec.json.encode(GOOD | {"protocolVersion": version}))))
            self.answer(0, refused=False)
        else:
            self.ask("initialize")
            self.receive(Response(1, result=Raw(msgspec.json.encode(SERVER_INFO | {"protocolVersion": version}))))

    @rule(messages=st.lists(MESSAGES, min_size=1, max_size=5))
    def receive_some(self, messages: list[Message]) -> None:
        for message in messages:
            self.receive(message)

    def receive(self, message: Message) -> None:
        before = snapshot(self.protocol)
        try:
            event = self.protocol.receive(message)
        except McpError:
            assert isinstance(message, Request), "only a request can be answered with an error"
            assert snapshot(self.protocol) == before
            return
        if isinstance(message, Request):
            assert isinstance(event, (RequestReceived, InitializeReceived))
            assert message.id not in self.owed
            self.owed.add(event.id)
        elif isinstance(message, Response):
            expected = ResponseReceived if message.id in self.awaited else Ignored
            assert isinstance(event, expected)
            self.awaited.discard(message.id)
        else:
            assert isinstance(event, (Initialized, CancelReceived, ProgressReceived, Ignored))
            if isinstance(event, CancelReceived):
                assert event.id in self.owed
                assert self.protocol.incoming[event.id] != "initialize"
        if isinstance(event, Ignored):
            assert snapshot(self.protocol) == before

    @rule(id=IDS, refused=st.booleans())
    def answer(self, id: Any, refused: bool) -> None:
        owed = self.protocol.answer(id, refused=refused)
        assert owed is (id in self.owed)
        self.owed.discard(id)
        assert not self.protocol.answer(id, refused=refused), "nothing is answered twice"

    @rule(method=NAMES)
    def ask(self, method: str) -> None:
        before = snapshot(self.protocol)
        try:
            id = self.protocol.ask(method)
        except McpError as error:
            refusal = error
        else:
            assert id not in self.asked
            self.asked.add(id)
            self.awaited.add(id)
            return
        assert refusal.code in (INVALID_REQUEST, METHOD_NOT_FOUND)
        assert snapshot(self.protocol) == before

    @rule(id=IDS)
    def abandon(self, id: Any) -> None:
        assert self.protocol.abandon(id) is (id in self.awaited)
        self.awaited.discard(id)

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        if chance == 7:
            self.protocol.close()
            self.owed.clear()
            self.awaited.clear()

    @invariant()
    def the_model_agrees(self) -> None:
        protocol = self.protocol
        assert protocol.incoming.keys() == self.owed
        assert protocol.outgoing.keys() == self.awaited
        assert not protocol.revision.per_request
        if protocol.state is State.CLOSED:
            assert not protocol.incoming
            assert not protocol.outgoing

    @invariant()
    def the_handshake_is_in_flight_only_while_it_is_answered(self) -> None:
        protocol = self.protocol
        handshakes = [*protocol.incoming.values(), *protocol.outgoing.values()].count("initialize")
        assert handshakes <= (protocol.state is State.INITIALIZING)
        if self.role is Role.SERVER:
            assert handshakes == (protocol.state is State.INITIALIZING)
            assert (protocol.client_info is None) or protocol.state is not State.NEW

    @invariant()
    def what_is_in_flight_is_what_this_revision_has(self) -> None:
        protocol, ours = self.protocol, self.role.value
        for method in protocol.incoming.values():
            assert find_request(method, protocol.revision, ours) is not None
        if protocol.state in (State.NEW, State.INITIALIZING):
            in_flight = {*protocol.incoming.values(), *protocol.outgoing.values()}
            assert in_flight <= {"initialize", "ping"}


class ServerSide(OneSide):
    """A server and a peer that may say anything."""


class ClientSide(OneSide):
    """A client and a peer that may say anything."""

    role = Role.CLIENT


class BackToBack(RuleBasedStateMachine):
    """Two machines wired together: neither refuses what the other sends, and in the end both know the same."""

    @initialize(version=VERSIONS, shaken=st.sampled_from([True, True, False]))
    def connect(self, version: str, shaken: bool) -> None:
        self.sides = {role: SessionProtocol(role) for role in Role}
        self.wires: dict[Role, list[bytes]] = {role: [] for role in Role}
        self.answered: dict[Role, list[object]] = {role: [] for role in Role}
        self.given_up: dict[Role, set[object]] = {role: set() for role in Role}
        self.params = GOOD | {"protocolVersion": version}
        if shaken:
            self.ask(Role.CLIENT, "initialize")
            self.take(Role.SERVER, 1)
            self.answer(Role.SERVER, False, 0)
            self.take(Role.CLIENT, 1)

    def send(self, role: Role, data: bytes) -> None:
        self.wires[Role.CLIENT if role is Role.SERVER else Role.SERVER].append(data)

    @rule(role=st.sampled_from(Role), methods=st.lists(NAMES, min_size=1, max_size=4))
    def ask_some(self, role: Role, methods: list[str]) -> None:
        for method in methods:
            self.ask(role, method)

    def ask(self, role: Role, method: str) -> None:
        try:
            id = self.sides[role].ask(method)
        except McpError:
            return
        self.send(role, encode_request(id, method, self.params))

    @rule(role=st.sampled_from(Role), count=st.integers(1, 3))
    def take(self, role: Role, count: int) -> None:
        side = self.sides[role]
        for data in self.wires[role][:count]:
            message = decode(data)
            event = side.receive(message)
            if isinstance(event, Ignored):
                late = isinstance(message, Response) and message.id in self.given_up[role]
                assert late or isinstance(message, Notification)
            elif isinstance(event, ResponseReceived):
                self.answered[role].append(event.id)
            elif isinstance(event, CancelReceived):
                assert side.answer(event.id)
        del self.wires[role][:count]

    @rule(role=st.sampled_from(Role), refused=st.booleans(), at=st.integers(0, 3))
    def answer(self, role: Role, refused: bool, at: int) -> None:
        side = self.sides[role]
        if not side.incoming:
            return
        id = list(side.incoming)[at % len(side.incoming)]
        result = SERVER_INFO | {"protocolVersion": side.revision.version}
        assert side.answer(id, refused=refused)
        self.send(role, encode_error(id, -1, "no") if refused else encode_result(id, result))

    @rule(role=st.sampled_from(Role), at=st.integers(0, 3))
    def give_up(self, role: Role, at: int) -> None:
        side = self.sides[role]
        waiting = [id for id, method in side.outgoing.items() if method != "initialize"]
        if not waiting:
            return
        id = waiting[at % len(waiting)]
        assert side.abandon(id)
        self.given_up[role].add(id)
        self.send(role, encode_notification("notifications/cancelled", {"requestId": id}))

    @rule()
    def settle(self) -> None:
        """Everything that is on its way arrives, and everything owed is answered."""
        while any(self.wires.values()) or any(side.incoming for side in self.sides.values()):
            for role in Role:
                self.take(role, len(self.wires[role]))
                while self.sides[role].incoming:
                    self.answer(role, False, 0)
        assert not any(side.outgoing for side in self.sides.values())

    @rule()
    def initialized(self) -> None:
        if self.sides[Role.CLIENT].state is State.READY:
            self.send(Role.CLIENT, encode_notification("notifications/initialized"))

    @invariant()
    def no_answer_came_twice(self) -> None:
        for ids in self.answered.values():
            assert len(set(ids)) == len(ids)

    @invariant()
    def both_agree_when_nothing_is_on_the_wire(self) -> None:
        if any(self.wires.values()):
            return
        server, client = self.sides[Role.SERVER], self.sides[Role.CLIENT]
        assert server.incoming == client.outgoing
        assert client.incoming == server.outgoing
        assert server.state is client.state
        if server.state is State.READY:
            assert server.revision is client.revision


ServerSideTest = ServerSide.TestCase
ClientSideTest = ClientSide.TestCase
BackToBackTest = BackToBack.TestCase
ServerSideTest.settings = ClientSideTest.settings = BackToBackTest.settings = settings(max_examples=200)
