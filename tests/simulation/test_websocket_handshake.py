"""A WebSocket is cut at every step, its handshake included: what that found the first time stays mended."""

from trio_mcp import Server
from trio_mcp.testing import connect, cut_everywhere


async def hello_and_goodbye() -> None:
    async with connect(Server("brief"), transport="websocket") as client:
        await client.ping()


def test_a_client_that_leaves_in_its_handshake_is_not_pinged_and_nothing_of_it_stays():
    report = cut_everywhere(hello_and_goodbye)
    assert report.checkpoints > 40
