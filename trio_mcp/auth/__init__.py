"""Who may call: access tokens and the parts that verify them (basic/authorization). Refuses to know HTTP.

Give one to the server, as in `Server("notes", auth=StaticTokens({…}))`. `StaticTokens` needs nothing; `JWTVerifier`
and `Introspection` need the extra `auth`. Anything with `async def verify(token)` is a `TokenVerifier`.
"""

from trio_mcp.auth.introspection import Introspection
from trio_mcp.auth.jwt import JWTVerifier
from trio_mcp.auth.static import StaticTokens
from trio_mcp.auth.tokens import AccessToken, TokenVerifier, VerifierUnavailableError

__all__ = [
    "AccessToken",
    "Introspection",
    "JWTVerifier",
    "StaticTokens",
    "TokenVerifier",
    "VerifierUnavailableError",
]
