"""The page of `examples/browser` as a test has it before it: by its own server, from elsewhere, in several tabs."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.browser.chromium import PATIENCE, ROOT, serving

EXAMPLE = ROOT / "examples/browser"
TRANSPORTS = ("http", "per-request", "sse", "notifications", "message", "websocket")
LISTENING = tuple(name for name in TRANSPORTS if name != "message")
#: What a browser itself says of a connection that was cut or refused; that it is so is what those tests are about.
NETWORK = r"net::ERR_|Failed to load resource|WebSocket connection to .* failed|blocked by CORS policy"


class Tab:
    """One tab with the page in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def reaches(self, state: str) -> str:
        """Wait for a state of the connection; what is said about it."""
        self.page.locator(f"#state.{state}").wait_for()
        return str(self.page.locator("#why").inner_text())

    def tools(self) -> list[str]:
        """What is listed, once something is."""
        self.page.locator(".tool").first.wait_for()
        return list(self.page.locator(".tool .name").all_inner_texts())

    def form(self, tool: str) -> Any:
        """The form of a tool, opened."""
        card = self.page.locator(f"[data-tool={tool}]")
        card.wait_for()
        card.evaluate("card => { card.open = true }")
        return card.locator("form")

    def begin(self, tool: str, **arguments: str) -> Any:
        """Fill a form in and send it; the box of the call."""
        form = self.form(tool)
        for name, text in arguments.items():
            form.locator(f"[name={name}]").fill(text)
        form.get_by_role("button", name="Call").click()
        return self.page.locator(f"[data-tool={tool}] .call").first

    def call(self, tool: str, *, outcome: str = "done", **arguments: str) -> str:
        """Call a tool; what it said in the end."""
        return self.ended(self.begin(tool, **arguments), outcome)

    def ended(self, box: Any, outcome: str = "done") -> str:
        """What a call said in the end."""
        box.locator(".badge:not(.running)").wait_for()
        assert box.locator(".badge").inner_text() == outcome, box.inner_text()
        return str(box.locator("pre").inner_text())

    def said(self, box: Any, pattern: str) -> None:
        """Wait until a running call said so."""
        box.locator(".said", has_text=re.compile(pattern)).wait_for()

    def rows(self, what: str) -> Any:
        """The rows of the log that begin so."""
        return self.page.locator("#log li", has=self.page.locator(".what", has_text=re.compile(f"^{what}")))

    def messages(self) -> list[dict[str, Any]]:
        """What came from the server, in order."""
        texts = self.page.locator("#log li.in .detail").all_inner_texts()
        return [json.loads(text) for text in texts if text.startswith("{")]

    def events(self) -> list[tuple[str, str]]:
        """Id and data of the events that came, in the order they came."""
        found = self.page.locator("#log li.in").evaluate_all(
            """rows => rows.map((row) => ["what", "id", "detail"].map((name) => {
                const part = row.querySelector(`.${name}`);
                return part ? part.title || part.textContent : "";
            }))"""
        )
        return [(id, data) for what, id, data in found if what.startswith("event")]


class Browsing:
    """Opens tabs; at the end none of them may have had anything to complain of."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium
        self._contexts: list[Any] = []
        self.tabs: list[Tab] = []
        self.expected = ""

    def open(self, origin: str, transport: str, *, server: str | None = None, **options: Any) -> Tab:
        """A tab on the page at `origin`, in a window of its own."""
        context = self._chromium.new_context(**options)
        self._contexts.append(context)
        tab = self.watch(context.new_page())
        query = {"transport": transport, **({} if server is None else {"server": server})}
        tab.page.goto(f"{origin}/?{urlencode(query)}")
        return tab

    def watch(self, page: Any) -> Tab:
        """A page that somebody else opened."""
        tab = Tab(page)
        self.tabs.append(tab)
        return tab

    def close(self) -> None:
        """Close everything, and complain."""
        for context in self._contexts:
            context.close()
        faults = [fault for tab in self.tabs for fault in tab.faults]
        assert [fault for fault in faults if not self.expected or not re.search(self.expected, fault)] == []


class Asking:
    """Asks a server what a page did, without a browser's rules."""

    def __init__(self, chromium: Any, server: str) -> None:
        self._context = chromium.new_context()
        self._server = server

    def call(self, tool: str, **arguments: Any) -> Any:
        """Call a tool by a direct reply."""
        params = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        with closing(Disposed(self._context.request.post(f"{self._server}/message", data=message))) as answer:
            return answer.response.json()["result"]["structuredContent"]["result"]

    def health(self) -> Any:
        """What the server says of itself."""
        with closing(Disposed(self._context.request.get(f"{self._server}/health"))) as answer:
            return answer.response.json()

    def until(self, true: Callable[[], bool]) -> None:
        """Ask until it is so."""
        ends = time.monotonic() + PATIENCE / 1000
        while not true():
            assert time.monotonic() < ends, (self.call("what_ended"), self.health())

    def close(self) -> None:
        self._context.close()


class Disposed:
    """A response whose body Playwright keeps until told not to."""

    def __init__(self, response: Any) -> None:
        self.response = response

    def close(self) -> None:
        self.response.dispose()


class Restartable:
    """The example's server on one port, which can be stopped and started."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._running = ExitStack()
        self.origin = self._running.enter_context(serving(EXAMPLE / "server.py", *options))

    def stop(self) -> None:
        """End it, as Ctrl-C does."""
        self._running.close()

    def start(self) -> None:
        """Serve again where it was."""
        port = self.origin.rpartition(":")[2]
        self._running.enter_context(serving(EXAMPLE / "server.py", *self._options, "--port", port))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *values: Any) -> None:
        """Say nothing."""


@contextmanager
def page_elsewhere(directory: Path = EXAMPLE) -> Iterator[Callable[[str], str]]:
    """The page from `python -m http.server`, so to speak: gives the origin for a host name of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, name="serve the page")
        thread.start()
        try:
            yield lambda name: f"http://{name}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)
