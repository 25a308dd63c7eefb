"""What goes over the wire: a client of a page, with nothing but the standard library.

    trio-mcp serve examples/hello.py
    python examples/client_http.py http://127.0.0.1:8000/mcp greet '{"name": "Ada"}'

It makes the same call twice: within a session (2025-11-25), and as one request that needs none (2026-07-28). For
real work take a real client, such as the official SDK's; this one shows what such a client does.
"""

import json
import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

CLIENT = {"name": "client_http", "version": "1.0"}


def send(url: str, method: str, message: Json | None, headers: dict[str, str]) -> tuple[Json, str | None]:
    """Send one HTTP request; gives the JSON-RPC response and the session's id."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=30)
    always = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    body = None if message is None else json.dumps(message)
    connection.request(method, parts.path, body, always | headers)
    response = connection.getresponse()
    text, is_stream = response.read().decode(), response.getheader("Content-Type") == "text/event-stream"
    session_id = response.getheader("Mcp-Session-Id")
    connection.close()
    if is_stream:  # notifications came first: the response is the data of the last event
        text = text.rpartition("data: ")[2]
    return (json.loads(text) if text else {}), session_id


def result_of(response: Json) -> Any:
    """The result, or an exception for an error."""
    if "error" in response:
        raise RuntimeError(f"{response['error']['code']}: {response['error']['message']}")
    return response["result"]


def call_in_session(url: str, tool: str, arguments: Json) -> Any:
    """Shake hands, call, say goodbye: three requests and a notification."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    answer, session_id = send(url, "POST", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}, {})
    version = result_of(answer)["protocolVersion"]  # the server may know another revision than we asked for
    headers = {"Mcp-Session-Id": session_id or "", "MCP-Protocol-Version": version}
    try:
        send(url, "POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)
        call = {"name": tool, "arguments": arguments}
        answer, _ = send(url, "POST", {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}, headers)
        return result_of(answer)
    finally:
        send(url, "DELETE", None, headers)


def call_alone(url: str, tool: str, arguments: Json) -> Any:
    """One request that says everything about itself, in its body and again in its headers."""
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": CLIENT,
    }
    headers = {"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    call = {"name": tool, "arguments": arguments, "_meta": meta}
    answer, _ = send(url, "POST", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}, headers)
    return result_of(answer)


def main(url: str, tool: str, arguments: str) -> None:
    """Make the call both ways and show what came back."""
    print(json.dumps(call_in_session(url, tool, json.loads(arguments)), indent=2))
    print(json.dumps(call_alone(url, tool, json.loads(arguments)), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
