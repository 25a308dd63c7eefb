"""`ProtectedResource`: what a protected server says of itself: RFC 9728 metadata, and challenges (RFC 6750).

Where `Settings.resource_url` does not say what clients call it, the request does: by its scheme and a Host that is
nothing but a name and a port. It refuses to decide who is let in.
"""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from trio_mcp.auth.tokens import TokenVerifier, is_scope

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"

_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PATH: Final = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@%-]*")
_UNQUOTED: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


@attrs.frozen(kw_only=True)
class ProtectedResource:
    """A server behind authorization.

    Attributes:
        name: for people.
        path: of the MCP endpoint.
        url: what clients call the server; None: what each request calls it.
        authorization_servers: where clients get tokens; without one there is no metadata, since it would lead nowhere.
        scopes: what every request needs.
    """

    name: str
    path: str
    url: str | None
    authorization_servers: tuple[str, ...]
    scopes: frozenset[str]

    @classmethod
    def of(
        cls, name: str, path: str, url: str | None, authorization_servers: Iterable[str] | None, verifier: TokenVerifier
    ) -> "ProtectedResource":
        """The resource that a verifier guards; without `authorization_servers` the verifier's own."""
        if authorization_servers is None:
            authorization_servers = getattr(verifier, "authorization_servers", ())
        scopes = frozenset(getattr(verifier, "required_scopes", ()))
        return cls(name=name, path=path, url=url, authorization_servers=tuple(authorization_servers), scopes=scopes)

    def _origin(self, scope: dict[str, Any]) -> str | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
            return None
        return f"{_SCHEMES.get(scope.get('scheme', 'http'), 'https')}://{hosts[0].decode('ascii').lower()}"

    def resource(self, scope: dict[str, Any]) -> str | None:
        """The resource's identifier (RFC 8707 section 2); None where the request names it in no usable way."""
        if self.url is not None:
            return self.url
        origin, path = self._origin(scope), scope.get("root_path", "") + self.path
        return None if origin is None or _PATH.fullmatch(path) is None else (origin + path).rstrip("/")

    def metadata_url(self, scope: dict[str, Any]) -> str | None:
        """Where this resource's metadata is (RFC 9728 section 3.1); None where there is none."""
        resource = self.resource(scope)
        if resource is None or not self.authorization_servers:
            return None
        parts = urlsplit(resource)
        # Mounted below a prefix, what stands in front of the path is not ours: so ours goes below the prefix, too.
        prefix = scope.get("root_path", "") if self.url is None else ""
        return f"{parts.scheme}://{parts.netloc}{prefix}{WELL_KNOWN}{parts.path.removeprefix(prefix)}"

    def is_metadata(self, path: str) -> bool:
        """Whether metadata is served at a path: at the root, and with the resource's path inserted."""
        if not path.startswith(WELL_KNOWN):
            return False
        rest = path.removeprefix(WELL_KNOWN).rstrip("/")
        own = self.path if self.url is None else urlsplit(self.url).path
        return rest in ("", self.path.rstrip("/"), own.rstrip("/"))

    def metadata(self, scope: dict[str, Any]) -> dict[str, Any] | None:
        """The metadata document (RFC 9728 section 2); None where there is none."""
        resource = self.resource(scope)
        if resource is None or not self.authorization_servers:
            return None
        document: dict[str, Any] = {
            "resource": resource,
            "authorization_servers": list(self.authorization_servers),
            "bearer_methods_supported": ["header"],
            "resource_name": self.name,
        }
        if self.scopes:
            document["scopes_supported"] = sorted(self.scopes)
        return document

    def challenge(
        self,
        scope: dict[str, Any],
        *,
        error: str | None = None,
        description: str | None = None,
        scopes: Iterable[str] = (),
    ) -> tuple[bytes, bytes]:
        """The `WWW-Authenticate` header (RFC 6750 section 3).

        Args:
            error: its code; none where no credentials came.
            description: a sentence of ours.
            scopes: what is needed beside `self.scopes`.
        """
        needed = sorted(one for one in self.scopes.union(scopes) if is_scope(one))
        url = self.metadata_url(scope)
        parameters = {
            "realm": None if url is not None else _UNQUOTED.sub("", self.name),
            "error": error,
            "error_description": description,
            "scope": " ".join(needed) or None,
            "resource_metadata": url,
        }
        listed = ", ".join(f'{name}="{value}"' for name, value in parameters.items() if value is not None)
        return b"www-authenticate", f"Bearer {listed}".encode("ascii")
