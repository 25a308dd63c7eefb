"""What "SSE Transport" shows, against running servers; the rows are in docs/coverage.md.

Its curl commands, word for word, are in tests/sdk/test_curl.py.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp import ClientSession
from mcp.client.sse import sse_client

from tests.browser.chromium import browser
from tests.coverage.kit import Running, serving

FRONTEND = "https://your-frontend.com"
TOKEN = "your-secret-token-which-is-long-enough"

#: "Using plain JavaScript" as it stands there, but for the port.
SNIPPET = """
// Open SSE connection
const eventSource = new EventSource('http://localhost:8000/sse');

eventSource.onmessage = (event) => {
  const data = JSON.parse(event.data);
  console.log('Message received:', data);
};

eventSource.onerror = (error) => {
  console.error('SSE error:', error);
};

// Send JSON-RPC request
async function callTool(name, args) {
  const response = await fetch('http://localhost:8000/message', {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: {
        name: name,
        arguments: args
      }
    })
  });

  return await response.json();
}

// Invoke tool
callTool('add', { a: 5, b: 3 })
  .then(result => console.log('Result:', result));
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("sse_server.py", folder=tmp_path_factory.mktemp("server")) as running:
        yield running


def test_the_calculator_is_listed_called_and_knows_no_other_tool(server: Running):
    [add] = [tool for tool in server.direct("tools/list")["result"]["tools"] if tool["name"] == "add"]
    assert add["description"] == "Add two numbers"
    numbers = {"a": {"type": "number"}, "b": {"type": "number"}}
    assert add["inputSchema"] == {"type": "object", "properties": numbers, "required": ["a", "b"]}
    assert server.call("add", a=5, b=3) == "8.0"
    error = server.direct("tools/call", {"name": "subtract", "arguments": {}})["error"]
    assert (error["code"], error["message"]) == (-32602, "Unknown tool: subtract")


def test_the_stream_has_the_headers_and_the_form_that_are_shown(server: Running):
    stream = server.events("/sse")
    headers = {name.lower(): value for name, value in stream.response.getheaders()}
    assert headers["content-type"].partition(";")[0] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers.get("connection", "keep-alive").lower() != "close"
    endpoint = stream.next()
    assert endpoint["event"] == "endpoint"
    server.ask("POST", endpoint["data"], {"jsonrpc": "2.0", "id": 1, "method": "ping"})
    message = stream.next()
    assert message["event"] == "message"
    assert json.loads(message["data"]) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    stream.close()


# The SDK leaves generators of its HTTP library to the garbage.
@pytest.mark.filterwarnings(r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning")
async def test_the_python_sdks_client_of_the_document_lists_and_calls(tmp_path: Path):
    with serving("sse_server.py", folder=tmp_path) as server, trio.fail_after(20):
        async with sse_client(f"{server.origin}/sse") as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = await session.list_tools()
            assert tools.tools[0].name == "add"
            result = await session.call_tool("add", {"a": 5, "b": 3})
            assert result.structured_content == {"result": 8.0}


#: What makes the server say something on that stream.
ASK_ON_THE_STREAM = """
eventSource.addEventListener("endpoint", ({ data }) => {
  const body = JSON.stringify({ jsonrpc: "2.0", id: "asked", method: "ping" });
  fetch(data, { method: "POST", headers: { "Content-Type": "application/json" }, body });
});
"""


def test_the_plain_javascript_of_the_document_runs_as_it_stands(server: Running):
    said: list[Any] = []
    with browser() as chromium:
        page = chromium.new_page()
        page.on("console", lambda message: said.append([value.json_value() for value in message.args]))
        page.goto(f"{server.origin}/health")
        said.clear()  # a browser asks for an icon
        with (
            page.expect_console_message(lambda message: message.text.startswith("Result:")),
            page.expect_console_message(lambda message: message.text.startswith("Message received:")),
        ):
            page.evaluate(f"() => {{ {SNIPPET.replace('http://localhost:8000', server.origin)}{ASK_ON_THE_STREAM} }}")
    structured = {"content": [{"type": "text", "text": "8.0"}], "structuredContent": {"result": 8}}
    assert ["Result:", {"jsonrpc": "2.0", "id": 1, "result": structured}] in said
    assert ["Message received:", {"jsonrpc": "2.0", "id": "asked", "result": {}}] in said
    assert "SSE error:" not in json.dumps(said)


def test_health_has_a_status_a_timestamp_and_counts_open_connections(server: Running):
    def health() -> Any:
        return json.loads(server.ask("GET", "/health")[2])

    before = health()["active_connections"]
    streams = [server.events("/sse") for _ in range(3)]
    told = health()
    assert told["status"] == "healthy"
    assert datetime.fromisoformat(told["timestamp"]).tzinfo is not None
    assert told["active_connections"] == before + 3
    for stream in streams:
        stream.close()
    for _ in range(2000):
        if health()["active_connections"] == before:
            break
    assert health()["active_connections"] == before


def test_what_nobody_foresaw_is_an_internal_error_and_its_text_stays_in_the_log(server: Running):
    error = server.direct("tools/call", {"name": "fail", "arguments": {}})["error"]
    assert (error["code"], error["message"].partition(" in ")[0]) == (-32603, "Internal error")
    assert "hunter2" not in json.dumps(error)
    assert "hunter2" in server.log


def test_requests_and_calls_are_in_the_metrics(server: Running):
    server.call("add", a=1, b=2)
    status, headers, text = server.ask("GET", "/metrics")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert 'mcp_requests_total{method="tools/call",outcome="ok",tool="add"}' in text


def test_a_bearer_token_is_asked_for(tmp_path: Path):
    with serving("sse_server.py", "--auth-token-env", "TOKEN", folder=tmp_path, environment={"TOKEN": TOKEN}) as server:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        ask = partial(server.ask, "POST", "/message", message)
        status, headers, _ = ask()
        assert (status, headers["www-authenticate"].partition(" ")[0]) == (401, "Bearer")
        assert ask(Authorization="Basic YTpi")[0] == 401
        assert ask(Authorization="Bearer another-token-which-is-long-enough")[0] == 401
        assert ask(Authorization=f"Bearer {TOKEN}")[0] == 200
        assert TOKEN not in server.log


def test_pages_of_one_frontend_are_allowed_and_no_others(tmp_path: Path):
    options = ("--host", "0.0.0.0", "--allowed-origin", FRONTEND)
    with serving("sse_server.py", *options, folder=tmp_path) as server:
        asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
        status, headers, _ = server.ask("OPTIONS", "/message", Origin=FRONTEND, **asked)
        assert (status, headers["access-control-allow-origin"]) == (204, FRONTEND)
        assert "POST" in headers["access-control-allow-methods"]
        assert headers["access-control-allow-headers"] == "content-type"
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        status, headers, _ = server.ask("POST", "/message", message, Origin=FRONTEND)
        assert (status, headers["access-control-allow-origin"]) == (200, FRONTEND)
        status, headers, _ = server.ask("POST", "/message", message, Origin="https://another.com")
        assert (status, "access-control-allow-origin" in headers) == (403, False)


def test_ten_requests_a_minute_and_no_more(tmp_path: Path):
    with serving("sse_server.py", "--rate-limit", "10/minute", folder=tmp_path) as server:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        answers = [server.ask("POST", "/message", message)[:2] for _ in range(11)]
        assert [status for status, _ in answers] == [200] * 10 + [429]
        assert 1 <= int(answers[-1][1]["retry-after"]) <= 6


def test_what_comes_without_https_is_sent_there(tmp_path: Path):
    with serving("sse_server.py", "--https-redirect", folder=tmp_path) as server:
        status, headers, _ = server.ask("GET", "/sse?x=1")
        assert status == 308
        assert headers["location"].startswith("https://127.0.0.1")
        assert headers["location"].endswith("/sse?x=1")


def test_requests_are_logged_as_json_with_time_method_and_path(tmp_path: Path):
    options = ("--log-format", "json", "--access-log", "--call-log")
    with serving("sse_server.py", *options, folder=tmp_path) as server:
        server.call("add", a=1, b=2)
        while "trio_mcp.calls" not in server.log or "trio_mcp.access" not in server.log:
            assert server.process.poll() is None
        lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    [request] = [line for line in lines if line["logger"] == "trio_mcp.access"]
    assert datetime.fromisoformat(request["ts"]).tzinfo is not None
    assert (request["method"], request["path"], request["status"]) == ("POST", "/message", 200)
    [call] = [line for line in lines if line["logger"] == "trio_mcp.calls"]
    assert (call["tool"], call["outcome"]) == ("add", "ok")
