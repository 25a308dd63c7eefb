"""The clients that `trio-mcp install` knows: where each keeps its configuration, and what an entry looks like there.

It owns these facts, a row a client. It refuses to read or write a file.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

Place = Callable[[str, Path, Path, Mapping[str, str]], Path]


@attrs.frozen(kw_only=True)
class Client:
    """One client.

    Attributes:
        title: its name for people.
        place: its file, by platform, home folder, working directory and environment.
        key: the object in the file that has an entry for each server.
        types: the words for stdio, http and sse where an entry says its type; None: it has none.
        remote: whether its file may name a server by URL.
        variable: how a value of its user's environment is written there; None: it cannot be.
        private: whether the file is one user's, and not one of a project.
        after: what to do once it is written.
    """

    title: str
    place: Place
    key: str = "mcpServers"
    types: tuple[str, str, str] | None = ("stdio", "http", "sse")
    remote: bool = True
    variable: str | None = None
    private: bool = False
    after: str

    def entry(self, server: "Local | Remote") -> dict[str, Any]:
        """A server as this client wants it."""
        if isinstance(server, Remote):
            entry: dict[str, Any] = {} if self.types is None else {"type": self.types[2 if server.sse else 1]}
            entry["url"] = server.url
            if server.headers:
                entry["headers"] = dict(server.headers)
            return entry
        entry = {} if self.types is None else {"type": self.types[0]}
        entry |= {"command": server.command, "args": list(server.args)}
        if server.env:
            entry["env"] = dict(server.env)
        return entry

    def document(self, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        """A whole file with nothing but this entry."""
        return {self.key: {name: entry}}

    def unexpanded(self, values: Sequence[str]) -> str | None:
        """A `${NAME}` among the values that this client would take literally."""
        for value in values:
            for found in re.finditer(r"\$\{(\w+)(?::-[^}]*)?\}", value):
                if self.variable != "${NAME}":
                    return found[0]
        return None


@attrs.frozen
class Local:
    """A server that the client starts, on stdio."""

    command: str
    args: Sequence[str]
    env: Mapping[str, str]


@attrs.frozen
class Remote:
    """A server that runs already, over Streamable HTTP or HTTP+SSE."""

    url: str
    headers: Mapping[str, str]
    sse: bool = False


def _claude_desktop(platform: str, home: Path, here: Path, environ: Mapping[str, str]) -> Path:
    if platform == "darwin":
        folder = home / "Library" / "Application Support"
    elif platform == "win32":
        folder = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return folder / "Claude" / "claude_desktop_config.json"


def _project(*parts: str) -> Place:
    return lambda platform, home, here, environ: here.joinpath(*parts)


CLIENTS: Final[dict[str, Client]] = {
    "claude-desktop": Client(
        title="Claude Desktop",
        place=_claude_desktop,
        types=None,
        remote=False,
        private=True,
        after="quit Claude Desktop and start it again",
    ),
    "claude-code": Client(
        title="Claude Code",
        place=_project(".mcp.json"),
        variable="${NAME}",
        after="start claude in this folder and approve the server; /mcp shows it",
    ),
    "cursor": Client(
        title="Cursor",
        place=lambda platform, home, here, environ: home / ".cursor" / "mcp.json",
        types=None,
        variable="${env:NAME}",
        private=True,
        after="enable the server in Cursor's settings, under MCP",
    ),
    "vscode": Client(
        title="VS Code",
        place=_project(".vscode", "mcp.json"),
        key="servers",
        variable="${env:NAME}",
        after="press Start above the entry in .vscode/mcp.json",
    ),
    "mcp-json": Client(
        title=".mcp.json",
        place=_project(".mcp.json"),
        variable="${NAME}",
        after="clients that read .mcp.json of a project find it there",
    ),
}
