"""Calls that are answered in their own response, of a client that opened no session: `POST /message`.

They have the words of whatever revision the client named, and nothing of a session: no questions to the client, no
subscriptions, no log messages. It refuses to choose the revision: the endpoint does.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from trio_mcp.auth.tokens import Authorization
from trio_mcp.protocol.errors import INVALID_REQUEST, METHOD_NOT_FOUND, McpError, method_not_found
from trio_mcp.protocol.headers import Headers
from trio_mcp.protocol.methods import Direction, Method, find_request
from trio_mcp.protocol.revisions import LATEST_SESSION, Revision, negotiate
from trio_mcp.runtime.call import NO_HEADERS, Answer, Call, Owner
from trio_mcp.runtime.outlet import Outlet
from trio_mcp.runtime.scopes import check_scopes
from trio_mcp.wire.base import Result
from trio_mcp.wire.jsonrpc import Request
from trio_mcp.wire.lifecycle import ClientCapabilities, Implementation, InitializeResult, RequestParams
from trio_mcp.wire.logging import LoggingLevel

T = TypeVar("T")


class _InitializeParams(RequestParams, kw_only=True):
    """Those of `initialize`; a client that opens no session may leave any of them out."""

    protocol_version: str | None = None
    capabilities: ClientCapabilities | None = None
    client_info: Implementation | None = None


_INITIALIZE: Final = Method(name="initialize", params=_InitializeParams)
#: Methods that change a session, or hold a stream open.
_NEED_MORE: Final = frozenset(
    {"logging/setLevel", "resources/subscribe", "resources/unsubscribe", "subscriptions/listen"}
)


def _method(name: str, revision: Revision) -> Method:
    found = find_request(name, revision, Direction.TO_SERVER)
    if found is None:
        raise method_not_found(name)
    if name in _NEED_MORE:
        text = f"Method not found: {name} needs a session or a stream, and a direct reply has neither"
        raise McpError(METHOD_NOT_FOUND, text)
    return found


class DirectCall(Call):
    """A call without a session and without an envelope."""

    __slots__ = ()

    def __init__(
        self,
        host: Owner,
        request: Request,
        outlet: Outlet,
        revision: Revision | None,
        headers: Headers = NO_HEADERS,
        *,
        principal: str = "",
        authorization: Authorization | None = None,
    ) -> None:
        """Read a request; `revision` is what the client named beside it.

        Raises:
            McpError: -32601 for a method that this revision does not have, or that needs a session; -32602.
            InsufficientScopeError: the token does not allow it.
        """
        per_request = revision is not None and revision.per_request
        if request.method == "initialize" and not per_request:
            method = _INITIALIZE
            said: _InitializeParams = method.read(request.params)
            revision = revision if said.protocol_version is None else negotiate(said.protocol_version)
            client_info, capabilities = said.client_info, said.capabilities or ClientCapabilities()
            params: Any = said
        else:
            method = _method(request.method, revision or LATEST_SESSION)
            params = method.read(request.params)
            client_info, capabilities = None, ClientCapabilities()
        super().__init__(
            host,
            outlet,
            request.id,
            method,
            params,
            revision or LATEST_SESSION,
            client_info=client_info,
            client_capabilities=capabilities,
            headers=headers,
            principal=principal,
            authorization=authorization,
        )
        check_scopes(host, authorization, method.name, params)

    def wants_log(self, level: LoggingLevel) -> bool:
        """Never: there is nowhere to send it."""
        return False

    async def ask(self, kind: str, method: str, params: Any, key: str | None, read: Callable[[bytes], T]) -> T:
        """Always raises `McpError`: there is nowhere to ask."""
        raise McpError(INVALID_REQUEST, f"{method} needs a session, and a direct reply has none")

    def finish(self, outcome: Answer | None) -> None:
        """Answer, or say that no answer will come."""
        if outcome is None:
            self.outlet.withdraw()
        else:
            self.outlet.respond(outcome.data, outcome.error_code)

    async def _initialize(self) -> InitializeResult:
        server = self.host.server
        return InitializeResult(
            protocol_version=self.revision.version,
            capabilities=server.capabilities(),
            server_info=server.info,
            instructions=server.instructions,
        )

    async def _ping(self) -> Result:
        return Result()

    own_methods: Final[Mapping[str, Callable[[Any], Awaitable[Any]]]] = {  # type: ignore[misc]  # narrows ClassVar
        "initialize": _initialize,
        "ping": _ping,
    }
