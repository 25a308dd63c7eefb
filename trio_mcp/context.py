"""`Context`: what a running tool, resource, prompt or completion sees of the request it answers.

It owns nothing: every operation goes to the call that it stands for (`CallPort`), and an operation of a call that
has been answered already does nothing or says so.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
import trio

from trio_mcp.auth.tokens import AccessToken, Authorization
from trio_mcp.elicitation import Elicited, Form
from trio_mcp.protocol.errors import (
    INVALID_REQUEST,
    MISSING_CLIENT_CAPABILITY,
    McpError,
)
from trio_mcp.protocol.revisions import Revision
from trio_mcp.returns import to_builtins
from trio_mcp.wire.base import ProgressToken, RequestId
from trio_mcp.wire.content import ResourceContents, SamplingContent, TextContent
from trio_mcp.wire.elicitation import ElicitationCompleteParams, ElicitParams
from trio_mcp.wire.lifecycle import ClientCapabilities, Implementation, ProgressParams
from trio_mcp.wire.logging import SEVERITY, LoggingLevel, LogMessageParams
from trio_mcp.wire.roots import ListRootsResult, Root
from trio_mcp.wire.sampling import (
    CreateMessageParams,
    CreateMessageResult,
    ModelPreferences,
    SamplingMessage,
    ToolChoice,
)
from trio_mcp.wire.tools import Tool

T = TypeVar("T")


class CallPort(Protocol):
    """What a running call offers its `Context`; `runtime.call.Call` is it."""

    id: RequestId
    revision: Revision
    scope: trio.CancelScope
    session_id: str | None
    client_info: Implementation | None
    client_capabilities: ClientCapabilities
    progress_token: ProgressToken | None
    principal: str
    authorization: Authorization | None

    answered: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers of the request as text."""
        ...

    @property
    def lifespan(self) -> Any:
        """What the server's lifespan yielded."""
        ...

    def wants_log(self, level: LoggingLevel) -> bool:
        """Whether the client asked for messages of this level."""
        ...

    async def notify(self, method: str, params: Any, admit: Callable[[], bool] | None = None) -> None:
        """Send a notification on the call's own stream, once there is room, unless `admit` says no by then."""
        ...

    async def ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """Get an answer of the client, read by `read`, in the manner of the call's era."""
        ...

    async def read_resource(self, uri: str) -> list[ResourceContents]:
        """Read a resource of the same server."""
        ...

    def publish(self, kind: str, uri: str | None = None) -> None:
        """Tell everyone who listens that a list or a resource changed."""
        ...

    def close_stream(self) -> None:
        """End the call's stream, not the call."""
        ...


_read_message_result = msgspec.json.Decoder(CreateMessageResult).decode
_read_roots = msgspec.json.Decoder(ListRootsResult).decode


def _roots_of(raw: bytes) -> list[Root]:
    return _read_roots(raw).roots


class Context:
    """One request and the ways to its client.

    Ask for it by annotation anywhere in a signature; it is hidden from the schema. Use it in the call's own task
    or in tasks of a nursery inside it. From a function that runs in a thread, use
    `trio.from_thread.run(ctx.report_progress, 1, 2)`.
    """

    __slots__ = ("_asking", "_call", "last_progress")

    def __init__(self, call: CallPort) -> None:
        self._call = call
        #: What was reported last to the client; None: nothing yet.
        self.last_progress: ProgressParams | None = None
        self._asking: set[trio.CancelScope] = set()

    # What the request says

    @property
    def request_id(self) -> RequestId:
        """The JSON-RPC id of the request."""
        return self._call.id

    @property
    def session_id(self) -> str | None:
        """The session's id; None in the per-request era and on stdio."""
        return self._call.session_id

    @property
    def revision(self) -> Revision:
        """The protocol revision in use, with its facts; `ctx.revision.version` is its date."""
        return self._call.revision

    @property
    def client_info(self) -> Implementation | None:
        """What the client says it is; never a ground for decisions on security."""
        return self._call.client_info

    @property
    def client_capabilities(self) -> ClientCapabilities:
        """What the client declared; a field is None where it cannot."""
        return self._call.client_capabilities

    @property
    def principal(self) -> str | None:
        """Who calls: the subject of the verified access token. None on stdio, and where the server has no `auth`."""
        return self._call.principal or None

    @property
    def access_token(self) -> AccessToken | None:
        """What the verified access token says, its scopes and claims; None where there is no `principal`."""
        authorization = self._call.authorization
        return None if authorization is None else authorization.access_token

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers of this request, names in lower case; empty on stdio."""
        return self._call.headers

    @property
    def lifespan(self) -> Any:
        """What the server's lifespan yielded."""
        return self._call.lifespan

    @property
    def scope(self) -> trio.CancelScope:
        """The cancel scope that the call runs in: cancelled by the client, a timeout, or the end of the session."""
        return self._call.scope

    @property
    def deadline(self) -> float:
        """When the call will be cancelled, on trio's clock; infinite without a timeout.

        Raises:
            RuntimeError: asked from a thread, where no deadline holds: a function there is abandoned, not cancelled.
        """
        return trio.current_effective_deadline()

    # Telling the client

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the call is, if the client asked for it.

        A value that is not above the last one is left out, as the specification demands (basic/patterns/progress).
        Tasks of one call may report side by side. Waits while the client reads slowly. Cancellation: nothing was sent
        while it waited for that; after that it is sent all the same.
        """
        call = self._call
        token = call.progress_token
        if token is None or not self._may_report(progress):
            await trio.lowlevel.checkpoint()
            return
        params = ProgressParams(progress_token=token, progress=progress, total=total, message=message)
        await call.notify("notifications/progress", params, lambda: self._reports(params))

    def _may_report(self, progress: float) -> bool:
        last = self.last_progress
        return not self._call.answered and progress > (-math.inf if last is None else last.progress)

    def _reports(self, params: ProgressParams) -> bool:
        """Whether this value may still be sent: another task may have reported a higher one meanwhile."""
        if not self._may_report(params.progress):
            return False
        self.last_progress = params
        return True

    async def log(self, level: LoggingLevel, data: Any, *, logger: str | None = None) -> None:
        """Send a log message, if the client asked for that level (server/utilities/logging).

        Args:
            data: any JSON-able value.

        Raises:
            ValueError: an unknown level.
        """
        if level not in SEVERITY:
            raise ValueError(f"log level must be one of {', '.join(SEVERITY)}, not {level!r}")
        if self._call.answered or not self._call.wants_log(level):
            await trio.lowlevel.checkpoint()
            return
        params = LogMessageParams(level=level, data=to_builtins(data), logger=logger)
        await self._call.notify("notifications/message", params)

    async def debug(self, data: Any, *, logger: str | None = None) -> None:
        """`log("debug", …)`."""
        await self.log("debug", data, logger=logger)

    async def info(self, data: Any, *, logger: str | None = None) -> None:
        """`log("info", …)`."""
        await self.log("info", data, logger=logger)

    async def warning(self, data: Any, *, logger: str | None = None) -> None:
        """`log("warning", …)`."""
        await self.log("warning", data, logger=logger)

    async def error(self, data: Any, *, logger: str | None = None) -> None:
        """`log("error", …)`."""
        await self.log("error", data, logger=logger)

    def notify_tools_changed(self) -> None:
        """Tell everyone who listens that the list of tools changed."""
        self._call.publish("tools")

    def notify_prompts_changed(self) -> None:
        """Tell everyone who listens that the list of prompts changed."""
        self._call.publish("prompts")

    def notify_resources_changed(self) -> None:
        """Tell everyone who listens that the list of resources changed."""
        self._call.publish("resources")

    def notify_resource_updated(self, uri: str) -> None:
        """Tell those who subscribed to `uri` that it changed."""
        self._call.publish("resource", uri)

    def close_stream(self) -> None:
        """End the reply's stream while the call goes on; the client comes back for the rest (SEP-1699).

        Without effect where the client could not come back: on stdio, in JSON mode, and in revisions without polling.
        """
        self._call.close_stream()

    # Asking the client

    async def read_resource(self, uri: str) -> list[ResourceContents]:
        """Read a resource of this server.

        Raises:
            NotFoundError: there is none.
        """
        return await self._call.read_resource(uri)

    def require(self, *, sampling: bool = False, elicitation: bool = False, roots: bool = False) -> None:
        """Refuse the request unless the client declared these capabilities.

        Raises:
            McpError: -32021 with `requiredCapabilities` (2026-07-28), -32600 before.
        """
        wanted = {"sampling": sampling, "elicitation": elicitation, "roots": roots}
        missing = [
            name for name, needed in wanted.items() if needed and getattr(self.client_capabilities, name) is None
        ]
        if missing:
            self._refuse({name: {} for name in missing})

    def _refuse(self, capabilities: dict[str, Any]) -> None:
        message = f"This needs a client with {', '.join(capabilities)}; this one did not declare it"
        if self.revision.per_request:
            raise McpError(MISSING_CLIENT_CAPABILITY, message, {"requiredCapabilities": capabilities})
        raise McpError(INVALID_REQUEST, message)

    async def elicit(self, message: str, schema: Any, *, key: str | None = None) -> Elicited:
        """Ask the user for a few values (client/elicitation).

        Session era: a request to the client, answered while the call waits. Per-request era: the call is answered
        with `input_required` and run again from its start when the answers come; answers that are already there are
        given at once. So what comes before must be safe to run twice. Ask several at the same time from a nursery.

        Args:
            schema: a flat JSON Schema object, or a type with flat fields; `content` is then an instance of it.
            key: the name of this question among those of one call; by default numbered in the order of asking.

        Returns:
            `action` (`accept`, `decline`, `cancel`) and, when accepted, `content`.

        Raises:
            McpError: the client did not declare elicitation, or its answer does not fit.
            trio.TooSlowError: no answer within `Settings.request_timeout`.
        """
        form = Form.of(schema)
        self.require(elicitation=True)
        params = ElicitParams(message=message, requested_schema=form.requested_schema)
        return await self._ask("elicit", "elicitation/create", params, key, form.read)

    async def elicit_url(
        self, message: str, url: str, *, elicitation_id: str | None = None, key: str | None = None
    ) -> Elicited:
        """Send the user to a URL, for what must not pass through the client (client/elicitation: URL mode).

        Since 2025-11-25. Returns and raises as `elicit`; `content` is always None.
        """
        declared = self.client_capabilities.elicitation
        if not self.revision.url_elicitation or declared is None or declared.get("url") is None:
            self._refuse({"elicitation": {"url": {}}})
        identifier = None if self.revision.per_request else elicitation_id or f"elicitation-{self.request_id}"
        params = ElicitParams(message=message, mode="url", url=url, elicitation_id=identifier)
        return await self._ask("elicit", "elicitation/create", params, key, Form.read_action)

    async def elicitation_complete(self, elicitation_id: str) -> None:
        """Tell the client that what `elicit_url` sent the user to is done (2025-11-25); elsewhere without effect."""
        if self.revision.url_elicitation and not self.revision.per_request:
            params = ElicitationCompleteParams(elicitation_id=elicitation_id)
            await self._call.notify("notifications/elicitation/complete", params)
        else:
            await trio.lowlevel.checkpoint()

    async def sample(
        self,
        messages: str | SamplingMessage | SamplingContent | list[SamplingMessage | str],
        *,
        max_tokens: int = 1024,
        system_prompt: str | None = None,
        temperature: float | None = None,
        stop_sequences: list[str] | None = None,
        model_preferences: ModelPreferences | None = None,
        tools: list[Tool] | None = None,
        tool_choice: ToolChoice | None = None,
        metadata: Any = None,
        key: str | None = None,
    ) -> CreateMessageResult:
        """Ask the client's model (client/sampling); see `elicit` for how the eras differ.

        Raises:
            McpError: the client did not declare sampling (or sampling with tools), or refused.
            trio.TooSlowError: no answer within `Settings.request_timeout`.
        """
        self.require(sampling=True)
        if tools is not None and (self.client_capabilities.sampling or {}).get("tools") is None:
            self._refuse({"sampling": {"tools": {}}})
        params = CreateMessageParams(
            messages=_sampling_messages(messages),
            max_tokens=max_tokens,
            system_prompt=system_prompt,
            temperature=temperature,
            stop_sequences=stop_sequences,
            model_preferences=model_preferences,
            tools=tools,
            tool_choice=tool_choice,
            metadata=metadata,
        )
        return await self._ask("sample", "sampling/createMessage", params, key, _read_message_result)

    async def list_roots(self, *, key: str | None = None) -> list[Root]:
        """Ask the client for its roots (client/roots); see `elicit` for how the eras differ.

        Raises:
            McpError: the client did not declare roots.
            trio.TooSlowError: no answer within `Settings.request_timeout`.
        """
        self.require(roots=True)
        return await self._ask("roots", "roots/list", {}, key, _roots_of)

    async def _ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """Ask for as long as the call lasts: one that asks from a thread is not under the call's scope."""
        if not self._call.answered:
            with trio.CancelScope() as asking_scope:
                self._asking.add(asking_scope)
                try:
                    return await self._call.ask(kind, method, params, key, read)
                finally:
                    self._asking.discard(asking_scope)
        raise RuntimeError(f"the call has ended: nobody answers {method} any more")

    def abandon(self) -> None:
        """For who runs a function in a thread, once it waits for that thread no longer: give up what is being asked."""
        for asking_scope in tuple(self._asking):
            asking_scope.cancel("the call that asked has ended")


def _sampling_messages(
    messages: str | SamplingMessage | SamplingContent | list[SamplingMessage | str],
) -> list[SamplingMessage]:
    if not isinstance(messages, list):
        messages = [messages if isinstance(messages, (str, SamplingMessage)) else SamplingMessage("user", messages)]
    return [
        SamplingMessage("user", TextContent(message)) if isinstance(message, str) else message for message in messages
    ]
