"""A server as a process of its own, as a reader of the documents would run it, and small ways to ask it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).resolve().parent / "servers"
PATIENCE = 20


class Events:
    """A stream of events that is being read."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self.connection = connection
        self.response = response
        self.comments = 0

    def next(self) -> dict[str, str]:
        """The fields of the next event; comments are counted."""
        fields: dict[str, str] = {}
        while line := self.response.readline().decode():
            line = line.rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                return fields
            elif self.comments:
                return {}
        raise AssertionError(f"the stream ended after {fields}")

    def message(self) -> Any:
        """The data of the next event with fields, as JSON."""
        while not (fields := self.next()):
            pass
        return json.loads(fields["data"])

    def close(self) -> None:
        """Leave."""
        self.response.close()
        self.connection.close()


class Running:
    """A server that runs."""

    def __init__(self, url: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self.process = process
        self._log = log
        self._address = "127.0.0.1", urlsplit(url).port

    @property
    def origin(self) -> str:
        """How it is reached from here."""
        return f"http://127.0.0.1:{self._address[1]}"

    @property
    def log(self) -> str:
        """What it said on stderr so far."""
        return self._log.read_text()

    def ask(
        self, method: str, path: str, body: Any = None, *, address: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """One request; status, headers and text. Underscores in header names stand for dashes."""
        connection = http.client.HTTPConnection(address, self._address[1], timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None:
                named = {"Content-Type": "application/json", **named}
                body = body if isinstance(body, str) else json.dumps(body)
            connection.request(method, path, body, named)
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, text
        finally:
            connection.close()

    def direct(self, method: str, params: Any = None, **headers: str) -> Any:
        """A request to `POST /message`; its answer."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        status, _, text = self.ask("POST", "/message", message, **headers)
        assert status == 200, text
        return json.loads(text)

    def call(self, tool: str, **arguments: Any) -> str:
        """A tool's first text."""
        result = self.direct("tools/call", {"name": tool, "arguments": arguments})["result"]
        assert not result.get("isError"), result
        return str(result["content"][0]["text"])

    def events(self, path: str, **headers: str) -> Events:
        """Open a stream."""
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET", path, headers={"Accept": "text/event-stream", **named})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return Events(connection, response)


@contextmanager
def serving(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """`trio-mcp serve` in the folder of the documents' servers, on a free port; its log is kept in `folder`."""
    command = ["-m", "trio_mcp", "serve", *arguments]
    with started(
        *command, *(() if "--port" in arguments else ("--port", "0")), folder=folder, environment=environment
    ) as it:
        yield it


@contextmanager
def started(*command: str, folder: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """Python with that command, once it says where it serves; told to end at the end, which must be its own."""
    log = folder / "log"
    known = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environment or {})}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, *command], cwd=SERVERS, env=known, stderr=stderr)
    try:
        while "Ctrl-C" not in (said := log.read_text()):
            if process.poll() is not None:
                raise AssertionError(said)
        url = next(word for word in said.split() if "://" in word)
        yield Running(url, log, process)
    finally:
        process.terminate()
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
