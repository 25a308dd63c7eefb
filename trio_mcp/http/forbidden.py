"""A token that lacks scopes, as an HTTP answer that tells which (basic/authorization: Scope Challenge Handling).

It refuses to decide which scopes are needed: `runtime.scopes` does.
"""

from trio_mcp.http.asgi import Exchange
from trio_mcp.http.message import respond_error
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.scopes import InsufficientScopeError
from trio_mcp.wire.base import RequestId


async def respond_forbidden(
    host: Host, exchange: Exchange, error: InsufficientScopeError, id: RequestId | None
) -> None:
    """Answer 403 with all scopes that a token for this needs, those it has already among them."""
    protected, authorization = host.protected, exchange.authorization
    headers = []
    if protected is not None:
        granted = frozenset() if authorization is None else authorization.access_token.scopes
        challenge = protected.challenge(
            exchange.scope, error="insufficient_scope", description=str(error), scopes=error.scopes | granted
        )
        headers.append(challenge)
    await respond_error(exchange, 403, error.code, error.message, id=id, data=error.data, headers=headers)
