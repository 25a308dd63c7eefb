"""`trio-mcp inspect`: everything in JSON, what one wants to read on a terminal, and nothing started."""

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from click.testing import CliRunner
from msgspec import Meta

from trio_mcp import Server
from trio_mcp.cli import main
from trio_mcp.cli.inspect import exposed, layout, type_of


@dataclass
class Weather:
    degrees: float
    sky: str


@dataclass
class Place:
    city: str
    country: Literal["DE", "FR"] = "DE"


@asynccontextmanager
async def forbidden(server: Server):
    raise AssertionError("the lifespan was entered")
    yield


def everything() -> Server:
    """One of each kind."""
    mcp = Server("house", version="2.1", title="The house", instructions="Knock first.", lifespan=forbidden)

    @mcp.tool
    def forecast(
        city: Annotated[str, "Where to look."],
        days: Annotated[int, Meta(ge=1, le=14)] = 3,
        unit: Literal["C", "F"] = "C",
        tags: list[str] | None = None,
    ) -> Weather:
        """Tell the weather."""
        return Weather(days, city + unit + str(tags))

    @mcp.tool(output_schema=False)
    def move(to: Place) -> None:
        """Move the house."""

    @mcp.resource("house://rooms", mime_type="application/json", title="Rooms", size=12)
    def rooms() -> list[str]:
        """Every room."""
        return []

    @mcp.resource("house://rooms/{name}", mime_type="text/plain")
    def room(name: str) -> str:
        return name

    @mcp.prompt
    def review(code: Annotated[str, "What to review."], style: str = "short") -> str:
        """Review code."""
        return code + style

    @mcp.completion("review", "style")
    def styles(value: str) -> list[str]:
        return [value]

    @mcp.completion("house://rooms/{name}", "name")
    def names(value: str) -> list[str]:
        return [value]

    return mcp


@pytest.fixture
def printed(monkeypatch):
    """What `inspect` prints of that server, by its further arguments."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("trio_mcp.cli.inspect.load", lambda target: everything())
        result = CliRunner().invoke(main, ["inspect", "any.py", *arguments])
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    return run


def test_a_terminal_gets_a_layout_to_read(printed):
    lines = printed().splitlines()
    assert lines[:2] == ["house 2.1 (The house)", "  Knock first."]
    assert "Tools (2)" in lines
    assert (
        '  forecast(city: string, days: integer = 3, unit: "C" | "F" = "C", tags: string[] | null = null)'
        " -> {degrees: number, sky: string}"
    ) in lines
    assert "    Tell the weather." in lines
    assert "      city  string           Where to look." in lines
    assert "      days  integer          ≥ 1; ≤ 14" in lines
    assert "  move(to: Place)" in lines
    assert '      Place  =      {city: string, country: "DE" | "FR"}' in lines
    assert lines[lines.index("Resources (1)") + 1] == "  house://rooms  (Rooms, application/json, 12 bytes)"
    assert "    Every room." in lines
    assert "Resource templates (1)" in lines
    assert "  house://rooms/{name}  (room, text/plain, completes name)" in lines
    assert lines[lines.index("Prompts (1)") + 1] == "  review(code, style = …)"
    assert "      code   What to review." in lines
    assert "      style  completed" in lines


def test_json_is_all_that_clients_are_shown(printed):
    shown: dict[str, Any] = json.loads(printed("--json"))
    assert shown["serverInfo"] == {"name": "house", "version": "2.1", "title": "The house"}
    assert shown["instructions"] == "Knock first."
    assert set(shown["capabilities"]) == {"logging", "completions", "prompts", "resources", "tools"}
    forecast, move = shown["tools"]
    assert forecast["inputSchema"]["required"] == ["city"]
    assert forecast["inputSchema"]["properties"]["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 14,
        "default": 3,
    }
    assert forecast["outputSchema"]["properties"]["degrees"] == {"type": "number"}
    assert move["name"] == "move"
    assert "outputSchema" not in move
    assert shown["resources"][0]["uri"] == "house://rooms"
    assert shown["resources"][0]["mimeType"] == "application/json"
    assert shown["resourceTemplates"][0]["uriTemplate"] == "house://rooms/{name}"
    assert [argument["name"] for argument in shown["prompts"][0]["arguments"]] == ["code", "style"]
    assert shown["completions"] == [
        {"ref": "review", "argument": "style"},
        {"ref": "house://rooms/{name}", "argument": "name"},
    ]


def test_json_leaves_nothing_registered_out():
    server = everything()
    shown = exposed(server)
    assert [len(shown[kind]) for kind in ("tools", "resources", "resourceTemplates", "prompts", "completions")] == [
        *(len(server.tools), len(server.resources), len(server.templates), len(server.prompts)),
        len(server.completions),
    ]


def test_an_empty_server_has_empty_sections():
    assert list(layout(Server("bare"))) == [
        *("bare 0.0.0", "", "Tools (0)", "", "Resources (0)", "", "Resource templates (0)", "", "Prompts (0)"),
    ]


def test_without_a_target_it_is_the_demo():
    result = CliRunner().invoke(main, ["inspect"])
    assert "echo(message: string) -> string" in result.stdout


def test_a_long_description_is_folded():
    mcp = Server("s", instructions="word " * 100 + "\n\nlast")
    lines = list(layout(mcp))
    assert max(len(line) for line in lines) <= 100
    assert "  last" in lines


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({}, "any"),
        (True, "any"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"$ref": "#/$defs/Room"}, "Room"),
        ({"const": 3}, "3"),
        ({"enum": ["a", 1]}, '"a" | 1'),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "string | integer"),
        ({"anyOf": [{"type": "string"}, {"type": "string"}]}, "string"),
        ({"type": "array"}, "array"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "string[][]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
    ],
)
def test_a_schema_reads_like_a_type(schema: Any, shown: str):
    assert type_of(schema) == shown


def test_schemas_without_types_do_not_break_the_layout():
    mcp = Server("s")
    schema = {"type": "object", "properties": {"free": True, "x": {"description": "any x"}}}
    mcp.register_tool("raw", "By hand.", schema, lambda params: "x")
    mcp.register_tool("counted", "", schema, lambda params: 1, output_schema={"type": "integer"})
    lines = list(layout(mcp))
    assert "  raw(free: any = …, x: any = …)" in lines
    assert "  counted(free: any = …, x: any = …) -> integer" in lines
    assert "      x     any  any x" in lines
