"""Structured output: typed values that programs read, and the same as text for models. The weather is made up.

    trio-mcp serve examples/weather.py

`compare` shows structured concurrency inside one call: it asks for all cities at the same time, in a nursery. If one
of them fails, or the client cancels the call, or the timeout comes, the others end with it.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import trio
from msgspec import Meta

from trio_mcp import Context, Server, ToolError

mcp = Server("weather", version="1.0", instructions="Forecasts for a few cities. The weather is made up.")

Days = Annotated[int, Meta(ge=1, le=7, description="How many days ahead, today included.")]
Sky = Literal["sun", "clouds", "rain"]

SKIES: dict[str, Sky] = {"Lisbon": "sun", "Oslo": "clouds", "Bergen": "rain"}
HIGHS = {"Lisbon": 24.5, "Oslo": 11.0, "Bergen": 9.5}


@dataclass
class Day:
    """The weather of one day; 0 is today."""

    day: int
    sky: Sky
    high: Annotated[float, "The day's maximum in degrees Celsius."]


@dataclass
class Forecast:
    """The weather of a city, a day each."""

    city: str
    days: list[Day]


@mcp.tool(timeout=10)
async def forecast(city: Annotated[str, "Lisbon, Oslo or Bergen."], days: Days = 3) -> Forecast:
    """Forecast the weather of one city."""
    return await look_up(city, days)


@mcp.tool(timeout=10)
async def compare(cities: Annotated[list[str], Meta(min_length=2, max_length=5)], ctx: Context) -> list[Forecast]:
    """Forecast today's weather of several cities, the warmest first."""
    found: list[Forecast] = []

    async def add(city: str) -> None:
        found.append(await look_up(city, 1))
        await ctx.report_progress(len(found), len(cities), f"{city} is there")

    async with trio.open_nursery() as nursery:
        for city in cities:
            nursery.start_soon(add, city)
    return sorted(found, key=lambda one: -one.days[0].high)


async def look_up(city: str, days: int) -> Forecast:
    """Stand in for a request to a weather service."""
    if city not in SKIES:
        raise ToolError(f"No weather for {city}. There are: {', '.join(SKIES)}.")
    await trio.sleep(0.01)
    return Forecast(city, [Day(day, SKIES[city], HIGHS[city] - day) for day in range(days)])


if __name__ == "__main__":
    mcp.run()
