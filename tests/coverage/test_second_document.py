"""What "FastMCP HTTP Server with SSE Transport" shows, against running servers; the rows are in docs/coverage.md.

Its curl commands, word for word, are in tests/sdk/test_curl.py.
"""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.coverage.kit import PATIENCE, Events, Running, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("fastmcp_server.py", "--session-idle", "0.5", folder=tmp_path_factory.mktemp("server")) as running:
        yield running


class Dialect:
    """A session of the notifications dialect."""

    def __init__(self, server: Running, path: str = "/notifications", **headers: str) -> None:
        self._server = server
        self.stream: Events = server.events(path, **headers)
        greeting = self.stream.next()
        assert greeting["data"].startswith("Connected to session ")
        self.id = greeting["data"].removeprefix("Connected to session ")
        self.last = greeting["id"]

    def post(self, method: str, id: Any, params: Any) -> tuple[int, str]:
        """POST a request; the status and the text."""
        message = {"jsonrpc": "2.0", "method": method, "id": id, "params": params}
        status, _, text = self._server.ask("POST", f"/mcp?session_id={self.id}", message)
        return status, text

    def close(self) -> None:
        self.stream.close()


def test_requests_are_accepted_and_results_come_on_the_stream_as_soon_as_they_are_there(server: Running):
    with closing(Dialect(server)) as session:
        assert session.post("sleep", "slow", {"seconds": 0.4}) == (202, "Accepted")
        assert session.post("echo", "quick", {"message": "Hello World!"}) == (202, "Accepted")
        answers = [session.stream.message(), session.stream.message()]
        assert [answer["id"] for answer in answers] == ["quick", "slow"]
        assert [answer["result"]["result"] for answer in answers] == ["Hello World!", "slept 0.4"]


def test_every_connection_of_a_session_hears_every_result_and_query_and_header_name_it(server: Running):
    with closing(Dialect(server)) as first:
        others = [Dialect(server, f"/notifications?session_id={first.id}")]
        others.append(Dialect(server, X_Session_ID=first.id))
        assert {other.id for other in others} == {first.id}
        message = {"jsonrpc": "2.0", "method": "add", "id": "2", "params": {"a": 42, "b": 27}}
        assert server.ask("POST", "/mcp", message, X_Session_ID=first.id)[0] == 202
        heard = [one.stream.message() for one in (first, *others)]
        assert heard == [{"jsonrpc": "2.0", "id": "2", "result": {"result": 69}}] * 3
        for other in others:
            other.close()


def test_a_client_that_lost_its_connection_comes_back_and_hears_what_it_missed(server: Running):
    with closing(Dialect(server)) as session:
        session.close()
        assert session.post("add", "missed", {"a": 1, "b": 1})[0] == 202
        with closing(Dialect(server, Last_Event_ID=session.last)) as again:
            assert again.id == session.id
            assert again.stream.message()["id"] == "missed"


def test_a_session_that_nobody_uses_is_cleaned_up(server: Running):
    with closing(Dialect(server)) as session:
        pass
    ends = time.monotonic() + PATIENCE
    while sessions(server):
        assert time.monotonic() < ends
    status, text = session.post("echo", 1, {"message": "?"})
    assert status == 404
    assert "Session not found" in json.loads(text)["error"]["message"]


def sessions(server: Running) -> int:
    """How many there are; asking keeps none alive."""
    return int(json.loads(server.ask("GET", "/health")[2])["sessions"])


def test_errors_have_codes_and_say_what_is_wrong(server: Running):
    with closing(Dialect(server)) as session:
        session.post("no_such", 1, {})
        session.post("add", 2, {"a": "x"})
        answers = [session.stream.message()["error"] for _ in range(2)]
        assert [error["code"] for error in answers] == [-32601, -32602]
        assert "no_such" in answers[0]["message"]
        for path, body, status, code in (
            (f"/mcp?session_id={session.id}", "{oops", 400, -32700),
            (f"/mcp?session_id={session.id}", '{"jsonrpc": "2.0"}', 400, -32600),
            ("/mcp?session_id=unknown", '{"jsonrpc": "2.0", "method": "echo", "id": 1}', 404, -32600),
            ("/mcp?session_id=", '{"jsonrpc": "2.0", "method": "echo", "id": 1}', 400, -32600),
        ):
            found, _, text = server.ask("POST", path, body)
            assert (found, json.loads(text)["error"]["code"]) == (status, code), path
        assert session.post("echo", 3, {"message": "still there"})[0] == 202
        assert session.stream.message()["result"]["result"] == "still there"


def test_a_handler_with_a_schema_is_a_tool(server: Running):
    with closing(Dialect(server)) as session:
        session.post("my_tool", 1, {"param1": "x"})
        assert json.loads(session.stream.message()["result"]["content"][0]["text"]) == {"processed": {"param1": "x"}}
        session.post("my_tool", 2, {})
        assert session.stream.message()["error"]["code"] == -32602
    [tool] = [tool for tool in json.loads(server.ask("GET", "/tools")[2])["tools"] if tool["name"] == "my_tool"]
    assert (tool["description"], tool["inputSchema"]["required"]) == ("Description of what my tool does", ["param1"])


def test_host_port_and_debug_are_options(tmp_path: Path):
    with serving("fastmcp_server.py", folder=tmp_path) as probe:
        port = probe.url.split(":")[2].partition("/")[0]
    options = ("--host", "0.0.0.0", "--port", port, "--debug")
    with serving("fastmcp_server.py", *options, folder=tmp_path) as server:
        assert server.url == f"http://0.0.0.0:{port}/mcp"
        assert server.ask("GET", "/health", address="127.0.0.2")[0] == 200
        with closing(Dialect(server)) as session:
            unasked = {"jsonrpc": "2.0", "id": "nobody asked", "result": {}}
            assert server.ask("POST", f"/mcp?session_id={session.id}", unasked)[0] == 202
        assert "DEBUG trio_mcp.session" in server.log
