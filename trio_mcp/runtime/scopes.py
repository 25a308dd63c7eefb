"""Which scopes a request needs, and whether it has them (basic/authorization: Scope Challenge Handling).

Checked before anything of the request runs, in either era and on any transport. Where nothing is protected (stdio, or
a server without `auth`) nobody can have scopes, and nothing is refused. It refuses to know HTTP: what becomes of a
refusal there is the endpoints' concern.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from trio_mcp.auth.resource import ProtectedResource
from trio_mcp.auth.tokens import Authorization
from trio_mcp.protocol.errors import FORBIDDEN, McpError
from trio_mcp.protocol.methods import METHODS
from trio_mcp.server import Server
from trio_mcp.wire.jsonrpc import Request

_NONE: Final[frozenset[str]] = frozenset()


class Guarded(Protocol):
    """What is needed of a host."""

    server: Server
    protected: ProtectedResource | None


class InsufficientScopeError(McpError):
    """The request needs scopes that its token does not have; `scopes` are all that it needs."""

    def __init__(self, what: str, scopes: frozenset[str]) -> None:
        needed = sorted(scopes)
        super().__init__(FORBIDDEN, f"Insufficient scope: {what} needs {', '.join(needed)}", {"requiredScopes": needed})
        self.scopes = scopes


def check_scopes(guarded: Guarded, authorization: Authorization | None, method: str, params: Any) -> None:
    """Refuse a request that its token does not allow.

    Raises:
        InsufficientScopeError: it needs scopes that are not there.
    """
    if guarded.server.scoped and method in _NEEDED:
        _refuse(guarded, authorization, method, _NEEDED[method](guarded.server, params))


def check_resource(guarded: Guarded, authorization: Authorization | None, uri: str) -> None:
    """As `check_scopes`, for a resource that a running call reads for its caller."""
    if guarded.server.scoped:
        _refuse(guarded, authorization, "resources/read", scopes_of_resource(guarded.server, uri))


def check_message(guarded: Guarded, authorization: Authorization | None, message: object) -> None:
    """As `check_scopes`, for a message whose parameters are not read yet; malformed ones are left to who reads them."""
    if guarded.server.scoped and isinstance(message, Request) and message.method in _NEEDED:
        try:
            params = METHODS[message.method].read(message.params)
        except McpError:
            return
        check_scopes(guarded, authorization, message.method, params)


def _refuse(guarded: Guarded, authorization: Authorization | None, what: str, needed: frozenset[str]) -> None:
    if not needed:
        return
    if authorization is None:
        if guarded.protected is None:
            return
    elif authorization.access_token.allows(needed):
        return
    raise InsufficientScopeError(what, needed)


# What a request needs


def scopes_of_resource(server: Server, uri: str) -> frozenset[str]:
    """The scopes of what `Server.read_resource` would read."""
    resource = server.resources.get(uri)
    if resource is not None:
        return resource.scopes
    for template in server.templates.values():
        if template.match(uri) is not None:
            return template.scopes
    return _NONE


def _of_tool(server: Server, params: Any) -> frozenset[str]:
    tool = server.tools.get(params.name)
    return _NONE if tool is None else tool.scopes


def _of_prompt(server: Server, params: Any) -> frozenset[str]:
    prompt = server.prompts.get(params.name)
    return _NONE if prompt is None else prompt.scopes


def _of_uri(server: Server, params: Any) -> frozenset[str]:
    return scopes_of_resource(server, params.uri)


def _of_reference(server: Server, params: Any) -> frozenset[str]:
    ref = params.ref
    known = server.prompts.get(ref.name) or server.templates.get(ref.uri) or server.resources.get(ref.uri)
    return _NONE if known is None else known.scopes


def _of_subscription(server: Server, params: Any) -> frozenset[str]:
    uris = params.notifications.resource_subscriptions or ()
    return _NONE.union(*(scopes_of_resource(server, uri) for uri in uris))


#: The method of calls whose own method is the name of a tool; `runtime.by_name` has them.
CALL_BY_NAME: Final = "tools/call by name"
_NEEDED: Final[dict[str, Callable[[Server, Any], frozenset[str]]]] = {
    "tools/call": _of_tool,
    CALL_BY_NAME: _of_tool,
    "prompts/get": _of_prompt,
    "resources/read": _of_uri,
    "resources/subscribe": _of_uri,
    "completion/complete": _of_reference,
    "subscriptions/listen": _of_subscription,
}
