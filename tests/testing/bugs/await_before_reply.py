"""An await between a change of state and the reply that tells of it: two clients are given the same number.

What is wrong. The lock protects the change. The reply is made after another await, outside of the lock, and looks at
the state a second time.

How it gets written. The first version had `return f"number {self.last}"` right behind the change. Then somebody adds a
line between the two that tells the client something; it hardly ever waits, so nothing is seen to break.

What the kit sees. The two calls whose lock passes from one to the other can both run next. First in, first out, the
first one has replied before the second one counts. In the other order both say "number 2".
"""

import trio

from tests.testing.bugs.bug import Bug
from trio_mcp import Context, Server
from trio_mcp.testing import Client, serving


def ticket_office(faulty: bool) -> Server:
    """`draw` gives a number that nobody else has."""
    server = Server("ticket office")
    window = trio.Lock()
    last = 0

    @server.tool
    async def draw(ctx: Context) -> str:
        nonlocal last
        async with window:
            last += 1
            mine = last
            await trio.sleep(0.2)  # it is printed
        await ctx.report_progress(1, 1, "printed")
        return f"number {last if faulty else mine}"

    return server


async def run(faulty: bool) -> None:
    drawn: list[str] = []

    async def draw(client: Client) -> None:
        drawn.append((await client.call_tool("draw")).content[0].text)  # type: ignore[union-attr]  # it is text

    async with (
        serving(ticket_office(faulty)) as server,
        server.connect(transport="memory") as one,
        server.connect(transport="memory") as other,
        trio.open_nursery() as scenario_nursery,
    ):
        scenario_nursery.start_soon(draw, one, name="draw one")
        scenario_nursery.start_soon(draw, other, name="draw another")
    assert len(set(drawn)) == 2, f"two clients were given the same ticket: {' and '.join(drawn)}"


BUG = Bug(
    name="await before reply",
    sentence="an await between a change of state and its reply: two clients get the same number",
    way="explore",
    run=run,
    says="two clients were given the same ticket",
    begins="tools/call draw 2",
    ends="half closed",
    ordered=True,
)
