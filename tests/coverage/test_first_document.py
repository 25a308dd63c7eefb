"""What "FastMCP SSE Server" shows, against running servers; the rows are in docs/coverage.md."""

import json
import re
import subprocess
from pathlib import Path

import httpx2
from click.testing import CliRunner

from tests.coverage.kit import SERVERS, serving, started
from tests.external import require
from trio_mcp.cli import main


def test_the_demo_server_runs_by_module_and_name(tmp_path: Path):
    with serving("sse_demo_server:mcp", folder=tmp_path) as server:
        assert server.call("get_weather", city="Paris") == "The weather in Paris is sunny and 72°F"
        assert server.call("calculate", expression="2 + 3 * 4") == "Result: 14"
        assert server.call("calculate", expression="1 / 0") == "Error: division by zero"
        assert server.call("calculate", expression="open('x')").startswith("Error: ")


def test_the_advanced_server_runs_as_a_script_on_every_address_with_resource_tools_and_prompt(tmp_path: Path):
    with started(str(SERVERS / "advanced_sse_server.py"), folder=tmp_path, environment={"PORT": "0"}) as server:
        assert server.call("store_item", key="a", value="1") == "Stored a"
        stored = json.loads(server.call("get_item", key="a"))
        assert (stored["value"], len(stored["timestamp"])) == ("1", 26)
        assert server.call("get_item", key="b") == "Item b not found"
        [contents] = server.direct("resources/read", {"uri": "data://items"})["result"]["contents"]
        assert json.loads(contents["text"]) == {"a": stored}
        prompt = {"name": "data_analysis_prompt", "arguments": {"topic": "rain"}}
        [message] = server.direct("prompts/get", prompt)["result"]["messages"]
        assert message["content"]["text"] == "Analyze the data related to rain and provide insights."
        assert server.ask("GET", "/health", address="127.0.0.2")[0] == 200, "bound to 127.0.0.1 only"


def test_a_tool_reads_its_environment(tmp_path: Path):
    environment = {"MCP_ENV": "production", "API_KEY": "secret"}
    with serving("advanced_sse_server.py", folder=tmp_path, environment=environment) as server:
        assert server.call("get_config") == "Environment: production, API Key: set"
        assert "secret" not in server.log


def test_the_minimal_server_echoes_and_its_ping_is_not_the_protocols(tmp_path: Path):
    with serving("minimal_sse:mcp", folder=tmp_path) as server:
        assert server.call("echo", message="hello") == "hello"
        assert server.call("ping") == "pong"
        assert server.direct("ping")["result"] == {}


def test_the_stream_and_the_list_of_tools_are_there_for_curl(tmp_path: Path):
    curl = require("curl")
    with serving("sse_demo_server:mcp", folder=tmp_path) as server:
        listed = subprocess.run([curl, "-s", f"{server.origin}/tools"], capture_output=True, check=True, timeout=20)
        assert [tool["name"] for tool in json.loads(listed.stdout)["tools"]] == ["get_weather", "calculate"]
        streamed = subprocess.run(
            [curl, "-sN", "--max-time", "0.5", f"{server.origin}/sse"], capture_output=True, check=False, timeout=20
        )
        assert streamed.stdout.startswith(b"event: endpoint\ndata: /messages?session_id=")


def test_a_python_loop_over_the_lines_of_the_stream_reads_json(tmp_path: Path):
    options = ("--sse-heartbeat", "event", "--set", "sse_keepalive=0.1")
    with serving("sse_demo_server:mcp", *options, folder=tmp_path) as server:
        found = []
        with httpx2.Client() as client, client.stream("GET", f"{server.origin}/sse") as response:
            for line in response.iter_lines():
                if line.startswith("data: /"):  # the first event's data is a URI
                    continue
                if line.startswith("data: "):
                    found.append(json.loads(line[6:]))
                    if len(found) == 3:
                        break
    assert found == [{"status": "connected"}] * 3


def test_the_configuration_with_url_and_headers_is_written_and_leads_to_a_server(tmp_path: Path):
    arguments = ["install", "mcp-json", "--name", "sse-demo", "--url", "http://localhost:8000/sse", "--print"]
    headers = ["--header", "Authorization: Bearer ${SSE_AUTH_TOKEN}", "--header", "X-Custom-Header: value"]
    entry = {"type": "sse", "url": "http://localhost:8000/sse"}
    assert json.loads(CliRunner().invoke(main, arguments).stdout) == {"mcpServers": {"sse-demo": entry}}
    given = {"Authorization": "Bearer ${SSE_AUTH_TOKEN}", "X-Custom-Header": "value"}
    shown = json.loads(CliRunner().invoke(main, [*arguments, *headers]).stdout)
    assert shown == {"mcpServers": {"sse-demo": {**entry, "headers": given}}}

    token = "a-token-that-is-long-enough-for-this"
    options = ("--auth-token-env", "SSE_AUTH_TOKEN")
    with serving("sse_server.py", *options, folder=tmp_path, environment={"SSE_AUTH_TOKEN": token}) as server:
        sent = {"Authorization": given["Authorization"].replace("${SSE_AUTH_TOKEN}", token), "X_Custom_Header": "value"}
        assert server.ask("GET", "/sse")[0] == 401
        stream = server.events("/sse", **sent)
        endpoint = stream.next()["data"]
        hello = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        call = {"name": "my_header", "arguments": {"name": "X-Custom-Header"}}
        for message in (
            {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
        ):
            assert server.ask("POST", endpoint, message, **sent)[0] == 202
        assert stream.message()["result"]["protocolVersion"] == "2024-11-05"
        assert stream.message()["result"]["content"] == [{"type": "text", "text": "value"}]
        stream.close()


def test_arguments_that_do_not_fit_are_told_with_their_place(tmp_path: Path):
    with serving("sse_server.py", folder=tmp_path) as server:
        result = server.direct("tools/call", {"name": "add", "arguments": {"a": "five"}})["result"]
        assert result["isError"]
        assert re.search(r"\ba\b", result["content"][0]["text"])
        assert re.search(r"\bb\b", result["content"][0]["text"])


def test_silence_on_every_stream_is_broken_before_a_proxy_loses_patience(tmp_path: Path):
    options = ("--set", "keepalive=0.1", "--set", "sse_keepalive=0.1")
    with serving("sse_server.py", *options, folder=tmp_path) as server:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        accept = {"Accept": "application/json, text/event-stream"}
        session = server.ask("POST", "/mcp", message, **accept)[1]["mcp-session-id"]
        for path, headers in (("/sse", {}), ("/notifications", {}), ("/mcp", {"Mcp_Session_Id": session})):
            stream = server.events(path, **headers)
            stream.next()
            while stream.comments < 2:
                stream.next()
            stream.close()


def test_open_to_the_network_it_says_how_to_be_protected(tmp_path: Path):
    with serving("minimal_sse.py", "--host", "0.0.0.0", folder=tmp_path) as server:
        assert "--auth-token-env" in server.log
