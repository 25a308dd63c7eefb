"""Resources, a template, prompts and completion over one small store of notes.

    trio-mcp serve examples/notes.py

A tool changes the store; clients that subscribed to a note, or that listen for the list, hear of it.
"""

from trio_mcp import Context, Image, PromptMessage, ResourceError, Server, ToolError, UserMessage

mcp = Server("notes", version="1.0")

notes = {
    "shopping": "bread, cheese, apples",
    "trio": "A nursery ends when its last task has ended.",
}


# Tools


@mcp.tool(thread=False)
def write_note(name: str, text: str, ctx: Context) -> str:
    """Write a note, or replace it."""
    if not name.isidentifier():
        raise ToolError(f"{name!r} is no name for a note: use letters, digits and underscores.")
    is_new = name not in notes
    notes[name] = text
    ctx.notify_resource_updated(f"note://{name}")
    if is_new:
        ctx.notify_resources_changed()
    return f"{'Wrote' if is_new else 'Replaced'} note://{name}"


@mcp.tool
async def word_count(name: str, ctx: Context) -> int:
    """Count the words of a note. A tool reads resources as clients do."""
    [contents] = await ctx.read_resource(f"note://{name}")
    return len(str(contents.text).split())


# Resources


@mcp.resource("notes://index", title="All notes", mime_type="application/json")
def index() -> list[str]:
    """The names of all notes."""
    return sorted(notes)


@mcp.resource("note://{name}", title="One note", mime_type="text/plain")
def note(name: str) -> str:
    """The text of one note."""
    if name not in notes:
        raise ResourceError(f"There is no note {name}.")
    return notes[name]


@mcp.resource("notes://logo", mime_type="image/svg+xml")
def logo() -> Image:
    """A picture: bytes with a type."""
    return Image(b'<svg xmlns="http://www.w3.org/2000/svg"><circle r="9"/></svg>', format="svg")


# Prompts and completion


@mcp.prompt
def improve(name: str, tone: str = "plain") -> list[PromptMessage]:
    """Ask for a better version of a note.

    Args:
        name: Which note.
        tone: How it shall sound.
    """
    return [UserMessage(f"Rewrite this note in a {tone} tone."), UserMessage(notes.get(name, ""))]


@mcp.completion("improve", "name")
@mcp.completion("note://{name}", "name")
def complete_name(value: str) -> list[str]:
    """Suggest notes: for the prompt, and for the template."""
    return [name for name in sorted(notes) if name.startswith(value)]


if __name__ == "__main__":
    mcp.run()
