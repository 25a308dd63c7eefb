"""Roots: the folders a client works in (client/roots)."""

from msgspec import field

from trio_mcp.wire.base import JsonObject, Wire


class Root(Wire, kw_only=True):
    """One root; a file:// URI."""

    uri: str
    name: str | None = None
    meta: JsonObject | None = field(default=None, name="_meta")


class ListRootsResult(Wire, kw_only=True):
    """The answer to `roots/list`."""

    roots: list[Root]
