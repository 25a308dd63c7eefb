"""`trio-mcp check`: what it prints and writes, its exit codes, and that it keeps secrets and leaves at once."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from click.testing import CliRunner, Result

from tests.cli.commands import ROOT, ran, started
from trio_mcp.cli import main

SECRET = "s3cret-token"
SERVER = """
from trio_mcp import Server, Settings

mcp = Server("mine", settings=Settings(path="/api/mcp", transports=["http"]))


@mcp.tool
def shout(word: str) -> str:
    return word.upper()
"""


def check(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments], env=environment)


class Nonsense(BaseHTTPRequestHandler):
    """Answers every POST with an empty object, and remembers the headers."""

    seen: ClassVar[list[dict[str, str]]] = []
    says: ClassVar[bytes] = b"{}"
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).seen.append(dict(self.headers.items()))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.says)))
        self.end_headers()
        self.wfile.write(self.says)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def nonsense(status: int = 200) -> Iterator[str]:
    handler = type("Handler", (Nonsense,), {"seen": Nonsense.seen, "status": status})
    Nonsense.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


def test_the_demo_passes():
    result = check("--only", "http")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith("Streamable HTTP  /mcp  trio-mcp-demo ")
    assert lines[1].split() == ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
    assert "  tools.call" in result.output
    assert lines[-1] == "the demo: passed"
    assert "\x1b" not in result.output


def test_a_target_is_served_for_the_time_of_the_check(tmp_path: Path):
    (tmp_path / "mine.py").write_text(SERVER)
    result = check(str(tmp_path / "mine.py"), "--tool", "shout", "--arguments", '{"word": "hey"}', "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    [http] = [one for one in told["transports"] if any(revision["offered"] for revision in one["revisions"])]
    assert http["path"] == "/api/mcp"
    rows = {row["id"]: row for revision in http["revisions"] for row in revision["checks"]}
    assert rows["tools.call"]["note"] == '"shout"'
    assert told["verdict"] == "passed"


def test_a_target_that_cannot_be_imported_is_one_line(tmp_path: Path):
    result = check(str(tmp_path / "none.py"))
    assert result.exit_code == 2
    assert result.stderr.startswith("trio-mcp: there is no file ")


def test_the_report_is_written(tmp_path: Path):
    file = tmp_path / "report.md"
    result = check("--only", "message", "--report", str(file))
    assert result.exit_code == 0, result.output
    assert file.read_text(encoding="utf-8").startswith("# MCP compliance report\n\n- Server: the demo\n")
    assert check("--only", "message", "--report", str(tmp_path / "no" / "report.md")).exit_code == 2


def test_what_fails_makes_the_exit_code_1():
    with nonsense() as url:
        result = check(url)
    assert result.exit_code == 1, result.output
    assert "FAIL initialize.result (2025-11-25" in result.output
    assert result.output.endswith(f"{url}: FAILED\n")


def test_a_server_that_is_not_there_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    result = check(f"http://127.0.0.1:{port}/mcp")
    assert result.exit_code == 2
    assert result.stderr == f"trio-mcp: cannot connect to 127.0.0.1:{port}: Connection refused\n"
    assert result.stdout == ""


def test_nothing_that_speaks_mcp_is_one_line():
    with nonsense(404) as url:
        result = check(url, "--only", "http", "--only", "message")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"trio-mcp: nothing at {url[:-4]} speaks MCP: POST /mcp was answered with 404")
    assert result.stderr.count("\n") == 1


def test_a_server_that_wants_a_token_says_so():
    with nonsense(401) as url:
        result = check(url, "--only", "http")
    assert result.exit_code == 2
    assert "the server wants authorization: it answered 401 (--token-env, --header)" in result.stderr


def test_headers_and_token_are_sent_and_never_shown(tmp_path: Path):
    file = tmp_path / "report.md"
    with nonsense() as url:
        arguments = ["--header", f"X-Key: {SECRET}", "--token-env", "MY_TOKEN", "--report", str(file)]
        results = [check(url, *arguments, MY_TOKEN=SECRET), check(url, *arguments, "--json", MY_TOKEN=SECRET)]
    assert {headers["Authorization"] for headers in Nonsense.seen} == {f"Bearer {SECRET}"}
    assert {headers["X-Key"] for headers in Nonsense.seen} == {SECRET}
    assert SECRET not in file.read_text() + "".join(result.output for result in results)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["ftp://x"], "'ftp://x' is no URL of a server: write http://host:port/mcp or https://…"),
        (["http://me:pw@x/mcp"], "put credentials into --token-env or --header, not into the URL"),
        (["http://x:99999/"], "'http://x:99999/' is no URL: Port out of range 0-65535"),
        (["http://x/ü"], "'http://x/ü' holds characters that a URL must not hold: percent-encode them"),
        (["--header", f"{SECRET}"], "a --header is written 'Name: value', in visible ASCII"),
        (["--header", f"A: {SECRET}\r\nB: c"], "a --header is written 'Name: value', in visible ASCII"),
        (["--token-env", "NOT_THERE"], "the environment variable NOT_THERE holds no token"),
        (["--arguments", "[1]"], "--arguments is no JSON object: Expected `object`, got `array`"),
    ],
)
def test_what_was_typed_wrong_is_one_line(arguments: list[str], line: str):
    result = check(*arguments)
    assert (result.exit_code, result.stderr) == (2, f"trio-mcp: {line}\n")


def test_it_runs_as_a_command_of_its_own(tmp_path: Path):
    done = ran("check", "--only", "message", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "the demo: passed"


def test_other_commands_do_not_load_a_client():
    code = "import sys, trio_mcp.cli; print([name for name in sys.modules if name.startswith('trio_mcp.check')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(os.name != "posix", reason="signals of Unix")
async def test_ctrl_c_leaves_at_once(tmp_path: Path):
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))
    listener.listen()
    with listener:
        port = listener.getsockname()[1]
        async with started("check", f"http://127.0.0.1:{port}/mcp", "--timeout", "600", cwd=tmp_path) as command:
            with trio.fail_after(30):
                look, _ = await listener.accept()  # whether anybody is there
                look.close()
                connection, _ = await listener.accept()
                with connection:
                    await connection.recv(1)  # it has asked, and waits for the answer
                    command.process.send_signal(signal.SIGINT)
                    assert await command.exit_code() == 130
            assert (await command.said()).strip() == ""


def test_the_documentation_shows_a_real_run():
    page = (ROOT / "docs/check.md").read_text(encoding="utf-8")
    shown = re.search(r"```console\n\$ trio-mcp check --only message\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert same_time(check("--only", "message").output) == same_time(shown[1])


def same_time(text: str) -> str:
    return re.sub(r"p50 [\d.]+ ms", "p50 … ms", text)
