"""A server for web pages, and the page: every transport that a browser can speak, in plain JavaScript.

    trio-mcp serve examples/browser/server.py

Then open http://127.0.0.1:8000/. The page works from elsewhere, too: README.md says how.
"""

from collections import deque
from pathlib import Path
from typing import Annotated, Literal

import trio
from msgspec import Meta

from trio_mcp import Context, HttpResponse, Server, Settings

HERE = Path(__file__).parent
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}

# A reply that is a stream from its first byte has an event id from its first byte: a page whose connection is cut can
# come back for the rest. Left to itself the server answers with plain JSON wherever that will do.
mcp = Server(
    "browser-example",
    version="1.0",
    settings=Settings(json_response=False, sse_heartbeat="event"),
    on_duplicate="replace",
)

#: What became of the calls of `countdown`, newest last.
ended: deque[str] = deque(maxlen=20)


@mcp.tool(thread=False)
def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


@mcp.tool(thread=False)
def greet(
    name: Annotated[str, "Whom to greet."],
    manner: Literal["warmly", "politely", "briefly"] = "warmly",
    loud: Annotated[bool, "In capitals."] = False,
) -> str:
    """Greet somebody: a text, a choice and a switch."""
    text = {"warmly": f"Lovely to see you, {name}!", "politely": f"Good day, {name}.", "briefly": f"{name}."}[manner]
    return text.upper() if loud else text


@mcp.tool
async def countdown(
    ctx: Context,
    seconds: Annotated[float, Meta(ge=0, le=600)] = 5,
    label: Annotated[str, "What to call it, to find it in what_ended."] = "countdown",
) -> str:
    """Count down, with progress twice a second. Cancel it, cut the network or close the tab meanwhile."""
    outcome = "was cancelled"
    started = trio.current_time()
    try:
        while (gone := trio.current_time() - started) < seconds:
            await ctx.report_progress(round(gone, 1), seconds, f"{seconds - gone:.1f} s left")
            await trio.sleep(min(0.5, seconds - gone))
        outcome = "finished"
        return f"{label}: done after {seconds:g} s"
    finally:
        # This runs however the call ends: that is what a cancelled scope is for.
        ended.append(f"{label} {outcome}")


@mcp.tool
async def come_back_later(ctx: Context, seconds: Annotated[float, Meta(ge=0, le=600)] = 3) -> str:
    """End the reply's stream on purpose (2025-11-25): the client comes back for the result by itself."""
    ctx.close_stream()
    await trio.sleep(seconds)
    return f"here you are, {seconds:g} s later, on another connection"


@mcp.tool(thread=False)
def what_ended() -> list[str]:
    """What became of the calls of countdown: which finished, and which were cancelled."""
    return list(ended)


@mcp.tool(thread=False)
def learn(name: Annotated[str, Meta(pattern="^[a-z_]{1,20}$")] = "new_tool") -> str:
    """Register another tool: the lists of all pages that listen grow by themselves."""
    mcp.add_tool(lambda: f"I am {name}.", name=name, description="Learnt while the server ran.", thread=False)
    return f"learnt {name}"


@mcp.route("/")
def page() -> HttpResponse:
    """The page itself, so that it and the server are of one origin."""
    return file("index.html")


@mcp.route("/{name}")
def file(name: str) -> HttpResponse:
    """What the page loads."""
    path = HERE / name
    if path.parent != HERE or path.suffix not in TYPES or not path.is_file():
        return HttpResponse("there is no such file", status=404)
    return HttpResponse(path.read_bytes(), headers={"Cache-Control": "no-cache"}, content_type=TYPES[path.suffix])


if __name__ == "__main__":
    mcp.run()
