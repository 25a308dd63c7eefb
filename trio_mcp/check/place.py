"""Where a server is: from the URL that somebody typed to the paths of its transports.

The paths of the other transports are looked for beside the endpoint. It refuses to look whether they are there.
"""

from typing import Final
from urllib.parse import urlsplit

import attrs

_SCHEMES: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
#: The last part of a path that is another transport's, and whose endpoint is beside it.
SIBLINGS: Final = ("sse", "notifications", "message", "ws")


class BadUrlError(ValueError):
    """What was typed is no URL of a server; `str()` says why."""


@attrs.frozen
class Place:
    """A server's address.

    Attributes:
        endpoint: the path of Streamable HTTP, with its query.
        prefix: what stands before the paths of the other transports.
        alternative: the path to try where `endpoint` is not there, or None.
    """

    host: str
    port: int
    tls: bool
    endpoint: str
    prefix: str
    alternative: str | None = None
    #: Paths that were typed themselves, by transport.
    typed: dict[str, str] = attrs.field(factory=dict)

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The server's own origin."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def path(self, sibling: str) -> str:
        """The path of another transport."""
        return self.typed.get(sibling, f"{self.prefix}/{sibling}")

    def with_endpoint(self, path: str) -> "Place":
        """The same server with another endpoint."""
        return attrs.evolve(self, endpoint=path)


def parse(url: str) -> Place:
    """Take a URL apart.

    Raises:
        BadUrlError: it is none of a server.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrlError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise BadUrlError(f"{url!r} is no URL of a server: write http://host:port/mcp or https://…")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise BadUrlError(f"{url!r} holds characters that a URL must not hold: percent-encode them")
    if parts.username is not None or parts.password is not None:
        raise BadUrlError("put credentials into --token-env or --header, not into the URL")
    query = f"?{parts.query}" if parts.query else ""
    prefix, _, last = parts.path.rstrip("/").rpartition("/")
    typed: dict[str, str] = {}
    alternative = None
    if not last:
        endpoint, prefix, alternative = f"/mcp{query}", "", f"/{query}"
    elif last in SIBLINGS:
        typed[last] = parts.path + query
        endpoint = f"{prefix}/mcp"
    else:
        endpoint = parts.path + query
    default = _SCHEMES[parts.scheme]
    return Place(
        parts.hostname, port or default, parts.scheme in ("https", "wss"), endpoint, prefix, alternative, typed
    )
