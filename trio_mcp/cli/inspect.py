"""`trio-mcp inspect`: what a server exposes, for people or as JSON.

It owns the layout. It asks the server's registries, and refuses to serve: the lifespan is not entered, so what a
lifespan registers is not seen.
"""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

import click
import msgspec

from trio_mcp import demo
from trio_mcp.cli.errors import tracebacks
from trio_mcp.cli.target import load
from trio_mcp.server import Server
from trio_mcp.tools import RegisteredTool
from trio_mcp.wire.base import JsonObject
from trio_mcp.wire.prompts import Prompt

WIDTH: Final = 100
#: Keywords of JSON Schema that bound a value, as they are shown.
BOUNDS: Final = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
    "format": "{}",
}


@click.command("inspect")
@click.argument("target", required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything that clients are shown, as one JSON object.")
@click.option("--debug", is_flag=True, help="Show the traceback when TARGET cannot be imported.")
def inspect_command(target: str | None, as_json: bool, debug: bool) -> None:
    """Print what TARGET exposes: tools, resources, prompts.

    TARGET is as for `trio-mcp serve`; the demo where it is left out. Its lifespan is not run.
    """
    with tracebacks(debug):
        server = demo.mcp if target is None else load(target)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(exposed(server)), indent=2).decode())
    else:
        click.echo("\n".join(layout(server)))


def exposed(server: Server) -> dict[str, Any]:
    """All of it, in the protocol's own words."""
    return {
        "serverInfo": server.info,
        "instructions": server.instructions,
        "capabilities": server.capabilities(),
        "tools": [tool.definition for tool in server.tools.values()],
        "resources": [resource.definition for resource in server.resources.values()],
        "resourceTemplates": [template.definition for template in server.templates.values()],
        "prompts": [prompt.definition for prompt in server.prompts.values()],
        "completions": [{"ref": ref, "argument": argument} for ref, argument in server.completions],
    }


# The layout for people


def layout(server: Server) -> Iterator[str]:
    """The lines of it."""
    title = f" ({server.info.title})" if server.info.title else ""
    yield f"{server.name} {server.info.version}{title}"
    yield from _paragraph(server.instructions, "  ")
    yield from _section("Tools", [_tool(tool) for tool in server.tools.values()])
    resources = [_resource(one.definition.uri, one.definition, server) for one in server.resources.values()]
    yield from _section("Resources", resources)
    templates = [_resource(one.definition.uri_template, one.definition, server) for one in server.templates.values()]
    yield from _section("Resource templates", templates)
    yield from _section("Prompts", [_prompt(one.definition, server) for one in server.prompts.values()])


def _section(name: str, items: list[list[str]]) -> Iterator[str]:
    yield ""
    yield f"{name} ({len(items)})"
    for item in items:
        yield from item


def _paragraph(text: str | None, indent: str) -> list[str]:
    return [
        wrapped
        for line in (text or "").strip().splitlines()
        for wrapped in textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent)
    ]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with all columns but the last aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)][:-1]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(("      " + "  ".join([*cells, row[-1]])).rstrip())
    return lines


def _tool(tool: RegisteredTool) -> list[str]:
    definition = tool.definition
    schema = definition.input_schema
    output = definition.output_schema
    lines = [f"  {definition.name}({_signature(schema)}){'' if output is None else f' -> {_output(output)}'}"]
    lines += _paragraph(definition.description, "    ")
    rows = [(name, type_of(one), _explained(one)) for name, one in _properties(schema).items()]
    for whole in (schema, output or {}):
        rows += [(name, "=", _fields(one)) for name, one in whole.get("$defs", {}).items()]
    return lines + _table(list(dict.fromkeys(rows)))


def _properties(schema: JsonObject) -> dict[str, JsonObject]:
    """The schemas of an object's fields; one that is only `true` says nothing."""
    return {name: one if isinstance(one, dict) else {} for name, one in schema.get("properties", {}).items()}


def _explained(schema: JsonObject) -> str:
    """What bounds a value, and its description."""
    bounds = [text.format(schema[keyword]) for keyword, text in BOUNDS.items() if keyword in schema]
    return "; ".join([*bounds, *([schema["description"]] if "description" in schema else [])])


def _fields(schema: JsonObject) -> str:
    """An object's fields in braces, or a type that has none."""
    fields = [f"{name}: {type_of(one)}" for name, one in _properties(schema).items()]
    return f"{{{', '.join(fields)}}}" if fields else type_of(schema)


def _signature(schema: JsonObject) -> str:
    required = schema.get("required", ())
    parts = []
    for name, one in _properties(schema).items():
        part = f"{name}: {type_of(one)}"
        if name not in required:
            part += f" = {json.dumps(one['default'], ensure_ascii=False)}" if "default" in one else " = …"
        parts.append(part)
    return ", ".join(parts)


def _output(schema: JsonObject) -> str:
    """The type of what comes back; a value that is wrapped as `result` is shown without its wrapping."""
    properties = _properties(schema)
    return type_of(properties["result"]) if list(properties) == ["result"] else _fields(schema)


def type_of(schema: Any) -> str:
    """A JSON Schema as one reads a type."""
    if not isinstance(schema, dict):
        return "any"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(type_of(one) for one in schema[union]))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " | ".join(kind)
    if kind == "array" and "items" in schema:
        inner = type_of(schema["items"])
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    return str(kind)


def _resource(uri: str, definition: Any, server: Server) -> list[str]:
    facts = [definition.title or definition.name, *([definition.mime_type] if definition.mime_type else [])]
    if getattr(definition, "size", None) is not None:
        facts.append(f"{definition.size} bytes")
    completed = [argument for ref, argument in server.completions if ref == uri]
    if completed:
        facts.append(f"completes {', '.join(completed)}")
    return [f"  {uri}  ({', '.join(facts)})", *_paragraph(definition.description, "    ")]


def _prompt(definition: Prompt, server: Server) -> list[str]:
    arguments = definition.arguments or []
    signature = ", ".join(argument.name if argument.required else f"{argument.name} = …" for argument in arguments)
    lines = [f"  {definition.name}({signature})", *_paragraph(definition.description, "    ")]
    rows = [
        (
            argument.name,
            "; ".join(
                [
                    *([argument.description] if argument.description else []),
                    *(["completed"] if (definition.name, argument.name) in server.completions else []),
                ]
            ),
        )
        for argument in arguments
    ]
    return lines + _table(rows)
