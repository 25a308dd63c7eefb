"""Calls of the per-request era: nothing outlives the request but what the client carries (2026-07-28, basic/patterns).

`PerRequestCall` gives a tool the answers that came with the request. A question without an answer is gathered, and
one scheduler pass later, when siblings in a nursery have asked theirs, the call is cancelled: every `finally` runs,
and the answer is `input_required` with the questions and a sealed state. The retry runs the function from its start.

It refuses to remember a client, a session or a connection.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from itertools import count
from typing import Any, Final, Protocol, TypeVar

import msgspec
import trio

from trio_mcp.auth.tokens import Authorization
from trio_mcp.protocol.errors import INTERNAL_ERROR, McpError, invalid_params
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.per_request import OpenedRequest
from trio_mcp.protocol.seal import Sealer, SealError
from trio_mcp.runtime.call import NO_HEADERS, Answer, Call, Owner
from trio_mcp.runtime.dispatch import finished
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.scopes import check_scopes
from trio_mcp.runtime.subscriptions import CHANGED, Subscriptions
from trio_mcp.wire.base import SUBSCRIPTION_ID_KEY
from trio_mcp.wire.jsonrpc import encode_notification, encode_result
from trio_mcp.wire.logging import SEVERITY, LoggingLevel
from trio_mcp.wire.mrtr import InputRequest, InputRequiredResult
from trio_mcp.wire.resources import ResourceUpdatedParams
from trio_mcp.wire.subscriptions import AcknowledgedParams, ListenResult, SubscriptionFilter

T = TypeVar("T")


class PerRequestOwner(Owner, Protocol):
    """What a call of this era needs of its host."""

    subscriptions: Subscriptions
    sealer: Sealer
    draining: bool

    def wall_time(self) -> float:
        """Seconds since the epoch, advanced by trio's clock."""
        ...


class _State(msgspec.Struct):
    """What travels sealed: how often the client was asked, every answer that was used so far, and what was asked.

    `questions` has a digest for each key that was not the author's.
    """

    round: int
    answers: dict[str, msgspec.Raw]
    questions: dict[str, str] = {}


_decode_state = msgspec.json.Decoder(_State).decode


class PerRequestCall(Call):
    """A call of the per-request era."""

    __slots__ = (
        "_answers",
        "_carried",
        "_leaving",
        "_log_level",
        "_pending",
        "_questions",
        "_round",
        "_used",
        "answer_wanted",
        "listener",
    )

    def __init__(
        self,
        host: PerRequestOwner,
        opened: OpenedRequest,
        outlet: Outlet,
        *,
        headers: Headers = NO_HEADERS,
        principal: str = "",
        authorization: Authorization | None = None,
    ) -> None:
        """Raises `McpError`: 403 without the scopes it needs; -32602 for a `requestState` that is not ours, not this
        request's, or expired."""
        check_scopes(host, authorization, opened.method.name, opened.params)
        super().__init__(
            host,
            outlet,
            opened.id,
            opened.method,
            opened.params,
            opened.revision,
            client_info=opened.meta.client_info,
            client_capabilities=opened.capabilities,
            headers=headers,
            principal=principal,
            authorization=authorization,
        )
        #: False once the client said that it wants no answer (stdio); on HTTP it says so by closing.
        self.answer_wanted = True
        self.listener: _Listener | None = None
        self._log_level = opened.meta.log_level
        self._leaving = False
        self._questions: dict[str, str] = {}
        self._pending: dict[str, InputRequest] = {}
        self._used: dict[str, msgspec.Raw] = {}
        self._answers: dict[str, msgspec.Raw] = {}
        self._carried: dict[str, msgspec.Raw] = {}
        self._round = 0
        if opened.method.input_required:
            self._open_answers(host)

    def _open_answers(self, host: PerRequestOwner) -> None:
        params = self.params
        if params.request_state is not None:
            try:
                raw = host.sealer.open(params.request_state, context=self._context_bytes(), now=host.wall_time())
            except SealError:
                raise invalid_params(
                    "Invalid params: requestState was altered, expired or is not of this request"
                ) from None
            state = _decode_state(raw)
            self._round = state.round
            self._carried = state.answers
            self._answers.update(state.answers)
            self._questions.update(state.questions)
        if params.input_responses:
            self._answers.update(params.input_responses)

    def _context_bytes(self) -> bytes:
        """What a state is bound to: the principal, the method, and a digest of the parameters that matter."""
        params = self.params
        arguments = getattr(params, "arguments", None)
        if isinstance(arguments, msgspec.Raw):
            try:
                arguments = msgspec.json.decode(arguments)
            except ValueError:  # what the function never reads may be a number out of range, or no Unicode
                arguments = bytes(arguments)
        target = getattr(params, "name", None) or getattr(params, "uri", None)
        salient = msgspec.json.encode([self.principal, self.method.name, target, arguments or {}], order="sorted")
        return blake2b(salient, digest_size=32).digest()

    def wants_log(self, level: LoggingLevel) -> bool:
        """Only where the request itself asked, at or above its level (server/utilities/logging)."""
        return self._log_level is not None and SEVERITY[level] >= SEVERITY[self._log_level]

    async def ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """The recorded answer, or the end of this run with a question to the client.

        An answer that does not fit is asked for again. Cancellation: the question is not sent.

        Raises:
            McpError: -32603 in a request that may not ask.
            ValueError: two questions with one key.
        """
        if not self.method.input_required:
            raise McpError(
                INTERNAL_ERROR, f"{self.method.name} cannot ask the client for input in this protocol version"
            )
        asked = msgspec.Raw(msgspec.json.encode(params))  # what cannot be encoded fails here, in the function
        key = key or self._default_key(kind, method, asked)
        if key in self._used or key in self._pending:
            raise ValueError(f"two questions with the key {key!r} in one call: give each its own key=")
        recorded = self._answers.get(key)
        if recorded is not None:
            try:
                value = read(bytes(recorded))
            except ValueError:
                pass  # invalid: ask again (basic/patterns/mrtr: Error Handling)
            else:
                self._used[key] = recorded
                await trio.lowlevel.checkpoint()
                return value
        self._pending[key] = InputRequest(method=method, params=asked)
        await trio.lowlevel.checkpoint()
        self.cancel("input is required from the client")
        await trio.sleep_forever()
        raise AssertionError  # not reached: the scope is cancelled

    def _default_key(self, kind: str, method: str, asked: msgspec.Raw) -> str:
        """The key that the same question had in the last round, else the first free number.

        In a nursery the order of asking differs from run to run, and an answer must not reach another question.
        """
        digest = blake2b(method.encode() + b" " + bytes(asked), digest_size=12).hexdigest()
        for known, its_digest in self._questions.items():
            if its_digest == digest and known not in self._used and known not in self._pending:
                return known
        key = next(
            key for key in map(f"{kind}-{{}}".format, count(1)) if key not in self._used and key not in self._pending
        )
        self._questions[key] = digest
        return key

    def unanswered(self) -> Answer | None:
        """`input_required` where questions are open; nothing where the client is gone."""
        if not self._pending or not self.answer_wanted:
            return None
        host: Any = self.host
        # An answer of an earlier round goes along though this run, cut short by a question, may not have come to it.
        state = msgspec.json.encode(_State(self._round + 1, {**self._carried, **self._used}, self._questions))
        expires = host.wall_time() + host.server.settings.state_ttl
        result = InputRequiredResult(
            result_type="input_required",
            input_requests=self._pending,
            request_state=host.sealer.seal(state, context=self._context_bytes(), expires=expires),
        )
        return Answer(encode_result(self.id, finished(self, result)), None, "input_required")

    def finish(self, outcome: Answer | None) -> None:
        """Answer, or say that no answer will come."""
        if outcome is None or not self.answer_wanted:
            self.outlet.withdraw()
        else:
            self.outlet.respond(outcome.data, outcome.error_code)

    # subscriptions/listen

    def farewell(self) -> None:
        """End a subscription gracefully, also one that has only been asked for; any other call goes on."""
        self._leaving = True
        if self.listener is not None:
            self.listener.farewell()

    async def _listen(self) -> ListenResult:
        """Hold the stream open and pass on what was asked for, until the server goes away."""
        host: Any = self.host
        tag = {SUBSCRIPTION_ID_KEY: self.id}
        wanted = self.params.notifications
        honoured = SubscriptionFilter(
            tools_list_changed=wanted.tools_list_changed,
            prompts_list_changed=wanted.prompts_list_changed,
            resources_list_changed=wanted.resources_list_changed,
            resource_subscriptions=wanted.resource_subscriptions,
        )
        acknowledged = AcknowledgedParams(notifications=honoured, meta=tag)
        self.outlet.put(encode_notification("notifications/subscriptions/acknowledged", acknowledged))
        listener = self.listener = _Listener(self.outlet, wanted, tag)
        if self._leaving or host.draining:
            listener.farewell()
        host.subscriptions.add(listener)
        try:
            # A subscription outlives no token: the client comes back with another one.
            with trio.move_on_at(math.inf if self.authorization is None else self.authorization.until):
                await listener.ended.wait()
        finally:
            host.subscriptions.remove(listener)
        return ListenResult(meta=tag)

    own_methods: Final[Mapping[str, Callable[[Any], Awaitable[Any]]]] = {"subscriptions/listen": _listen}  # type: ignore[misc]  # narrows ClassVar


class _Listener:
    """One subscription: what was asked for, tagged with the request's id (basic/patterns/subscriptions)."""

    def __init__(self, outlet: Outlet, wanted: SubscriptionFilter, tag: dict[str, Any]) -> None:
        self.ended = trio.Event()
        self._outlet = outlet
        self._tag = tag
        self._kinds = {
            kind
            for kind, on in (
                ("tools", wanted.tools_list_changed),
                ("prompts", wanted.prompts_list_changed),
                ("resources", wanted.resources_list_changed),
            )
            if on
        }
        self._uris = set(wanted.resource_subscriptions or ())

    def heard(self, kind: str, uri: str | None) -> None:
        """Pass a change on if it was asked for."""
        if uri is not None:
            if uri in self._uris:
                self._outlet.put_once(
                    encode_notification(CHANGED[kind], ResourceUpdatedParams(uri=uri, meta=self._tag))
                )
        elif kind in self._kinds:
            self._outlet.put_once(encode_notification(CHANGED[kind], {"_meta": self._tag}))

    def farewell(self) -> None:
        """Let the request be answered: the subscription ends gracefully."""
        self.ended.set()
