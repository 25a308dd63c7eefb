"""A box office, and what its tests are about: a seat is held while its customer pays, and then sold or free again.

    trio-mcp serve examples/testing/booking.py

The tests are beside it; `pytest examples/testing` runs them. docs/testing.md tells how they came about.
"""

from dataclasses import dataclass, field

import trio

from trio_mcp import Context, Server, ToolError

HOLD = 15 * 60  # seconds for which a seat is held


class Bank:
    """Stands in for a service that takes payments; `delay` is how long its customers need for one."""

    def __init__(self, delay: float = 3) -> None:
        self.delay = delay
        self.paid: list[str] = []

    async def charge(self, name: str) -> None:
        """Have a customer pay. Cancelled, nothing is paid."""
        await trio.sleep(self.delay)
        self.paid.append(name)

    async def forget(self, name: str) -> None:
        """Tell the bank that a payment is not wanted any more."""
        await trio.sleep(0.2)


@dataclass
class Office:
    """The seats, each with the name of who holds or has bought it, and the bank."""

    seats: dict[str, str | None]
    bank: Bank = field(default_factory=Bank)


def make_server(office: Office) -> Server:
    """A server for one office."""
    server = Server("box office", version="1.0")

    @server.tool
    async def book(name: str, ctx: Context) -> str:
        """Buy a seat: it is held for 15 minutes."""
        seat = next((seat for seat, holder in office.seats.items() if holder is None), None)
        if seat is None:
            raise ToolError("Sold out.")
        office.seats[seat] = name
        paid = False
        try:
            await ctx.report_progress(1, 2, f"{seat} is held for {name}")
            with trio.move_on_after(HOLD):
                await office.bank.charge(name)
                paid = True
                return seat
            raise ToolError("Not paid in time.")
        finally:
            if not paid:
                with trio.move_on_after(5, shield=True):
                    await office.bank.forget(name)
                office.seats[seat] = None

    return server


mcp = make_server(Office({"A1": None, "A2": None}))

if __name__ == "__main__":
    mcp.run()
