"""Trusted proxies: who the client is, and whether it came over HTTPS, as a proxy in front of us tells.

Only `X-Forwarded-For` and `X-Forwarded-Proto` are believed, and only from the addresses of `Settings.trusted_proxies`.
`Forwarded` (RFC 7239) and `X-Forwarded-Host` are not: the usual proxies pass on what a client wrote there, so whoever
believes them believes the client. A proxy hands the Host header through instead.
"""

import functools
import ipaddress
from collections.abc import Awaitable, Sequence
from typing import Final

from trio_mcp.http.asgi import CLIENT_EXTENSION, App, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_SECURE: Final = {"http": "https", "ws": "wss"}


def network(text: str) -> Network:
    """`10.0.0.0/8`, `127.0.0.1` or `::1`.

    Raises:
        ValueError: it is none of these.
    """
    return ipaddress.ip_network(text, strict=False)


class TrustedProxy:
    """Rewrites the scope's client and scheme where a trusted proxy speaks, and tells the server's access log."""

    def __init__(self, app: App, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = tuple(network(text) for text in networks)
        self._trusted = functools.lru_cache(maxsize=1024)(self._is_trusted)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """ASGI."""
        client = scope.get("client")
        if scope["type"] not in ("http", "websocket") or client is None or not self._trusted(client[0]):
            return self._app(scope, receive, send)
        forwarded: list[str] = []
        proto = ""
        for name, value in scope["headers"]:
            if name == _FOR:
                forwarded += value.decode("latin-1").split(",")
            elif name == _PROTO:
                proto = value.decode("latin-1").strip().lower()
        scope = scope.copy()
        scope["client"] = self._client(client, forwarded)
        if "extensions" in scope:
            scope["extensions"][CLIENT_EXTENSION] = scope["client"]
        if proto == "https":
            scope["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
        return self._app(scope, receive, send)

    def _client(self, peer: tuple[str, int], forwarded: list[str]) -> tuple[str, int]:
        """The nearest address that is no proxy of ours; what stands left of it, anybody may have written."""
        client = peer
        for text in reversed(forwarded):
            address = _address(text.strip())
            if address is None:
                break
            client = (address, 0)
            if not self._trusted(address):
                break
        return client

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in one for one in self._networks)


def _address(text: str) -> str | None:
    """An address without its port, or None where it is none."""
    for candidate in (text, text.strip("[]"), text.rpartition(":")[0].strip("[]")):
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return None
