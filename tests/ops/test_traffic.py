"""What of HTTP is in hand, and what it came to."""

from typing import Any

import pytest
import trio

from tests.http.client import served
from tests.http.servers import small_server
from trio_mcp.http.app import McpApp
from trio_mcp.ops.traffic import CountTraffic, Traffic


async def test_answers_are_counted_by_the_class_of_their_status(autojump_clock, lane: bool):
    traffic = Traffic()
    async with served(small_server(), lane=lane, wrap=lambda app, host: CountTraffic(app, traffic)) as web:
        await web.call("echo", message="hi").done()
        await web.call("echo", message="hi").done()
        await web.fetch("GET", path="/nothing")
        assert traffic.statuses == [0, 0, 2, 0, 1, 0]
        await web.host.drain()
        await web.call("echo", message="hi").done()
        assert traffic.statuses == [0, 0, 2, 0, 1, 1]


async def test_a_client_that_left_before_its_answer_has_no_status(autojump_clock, lane: bool):
    traffic = Traffic()
    async with served(small_server(), lane=lane, wrap=lambda app, host: CountTraffic(app, traffic)) as web:
        fetch = web.call("wait", seconds=50)
        await trio.sleep(1)
        assert traffic.active == 1
        fetch.drop()
        await trio.sleep(1)
        assert (traffic.active, traffic.statuses) == (0, [1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_fails_is_not_in_hand_any_more(kind: str):
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()
        assert traffic.active == 1
        raise ValueError("foreign")

    traffic = Traffic()
    with pytest.raises(ValueError, match="foreign"):
        await CountTraffic(failing, traffic)({"type": kind}, None, None)  # type: ignore[arg-type]  # not called
    assert traffic.active == 0


async def test_a_websocket_is_in_hand_and_has_no_status(autojump_clock):
    traffic, sent = Traffic(), []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        assert traffic.active == 1
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    async with served(small_server()) as web:
        app = CountTraffic(McpApp(web.host), traffic)
        await app({"type": "websocket", "path": "/ws"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert (traffic.active, sum(traffic.statuses)) == (0, 0)
