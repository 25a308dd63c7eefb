"""Who may look into the running server: the one question that introspection asks of a request.

With `auth`, whoever has the scope `trio_mcp:operator`. Without it nobody is known, so only somebody at the machine:
a connection over loopback, for a loopback name, that came by way of no proxy. It refuses to decide what is shown.
"""

from typing import Final

from trio_mcp.auth.tokens import AUTHORIZATION, OPERATOR_SCOPE, Authorization
from trio_mcp.http.asgi import Scope
from trio_mcp.ops.origin import host_name, is_loopback

_FORWARDED: Final = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})


def is_operator(scope: Scope) -> bool:
    """Whether a request (an ASGI scope, as it comes to an endpoint) is an operator's."""
    authorization: Authorization | None = scope.get(AUTHORIZATION)
    if authorization is not None:
        return authorization.access_token.allows((OPERATOR_SCOPE,))
    if scope.get("principal"):
        return False
    return _is_local(scope)


def _is_local(scope: Scope) -> bool:
    ends = (scope.get("server"), scope.get("client"))
    if not all(end is not None and is_loopback(end[0] or "") for end in ends):
        return False
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or any(name in _FORWARDED for name, _ in scope["headers"]):
        return False
    name = host_name(hosts[0].decode("latin-1"))
    return name is not None and is_loopback(name)
