"""Every feature of the protocol in one small server: the fixture of the official conformance suite.

    trio-mcp serve examples/everything.py

Nothing here knows which revision of the protocol the client speaks. `ctx.elicit`, `ctx.sample` and
`ctx.list_roots` are requests to the client where there is a session; where there is none, the same lines answer
`input_required`, and the function runs again with the answers that came back. `key` names a question, so that the
answer finds it. Names and texts are those that the suite asks for.
"""

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import trio
from msgspec import Meta

from trio_mcp import (
    Audio,
    Context,
    EmbeddedResource,
    Image,
    PromptMessage,
    ResourceContents,
    Server,
    TextContent,
    ToolError,
    UserMessage,
)

mcp = Server("everything", version="1.0.0", instructions="One of each: tools, resources, prompts and completions.")

RED_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SILENCE = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA==")


# ---------------------------------------------------------------- tools: what a function may return


@mcp.tool
def test_simple_text() -> str:
    """Return text."""
    return "This is a simple text response for testing."


@mcp.tool
def test_image_content() -> Image:
    """Return an image."""
    return Image(RED_PIXEL)


@mcp.tool
def test_audio_content() -> Audio:
    """Return audio."""
    return Audio(SILENCE)


@mcp.tool
def test_embedded_resource() -> EmbeddedResource:
    """Return a resource inside the result."""
    return embed("test://embedded-resource", "This is an embedded resource content.")


@mcp.tool
def test_multiple_content_types() -> list[str | Image | EmbeddedResource]:
    """Return text, an image and a resource together."""
    return [
        "Multiple content types test:",
        Image(RED_PIXEL),
        embed("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@mcp.tool
def test_error_handling() -> str:
    """Fail on purpose; the text of a ToolError reaches the client."""
    raise ToolError("This tool intentionally returns an error for testing")


def embed(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(ResourceContents(uri=uri, mime_type=mime_type, text=text))


# ---------------------------------------------------------------- tools: what they may say while they run


@mcp.tool
async def test_tool_with_logging(ctx: Context) -> str:
    """Send three log messages."""
    await ctx.info("Tool execution started")
    await trio.sleep(0.05)
    await ctx.info("Tool processing data")
    await trio.sleep(0.05)
    await ctx.info("Tool execution completed")
    return "Logged three messages."


@mcp.tool
async def test_logging_tool(ctx: Context) -> str:
    """Log one message, which only a client that asked for logs receives."""
    await ctx.info("Only for those who asked")
    return "Logged, if anyone listens."


@mcp.tool
async def test_tool_with_progress(ctx: Context) -> str:
    """Report progress at 0, 50 and 100 of 100."""
    await ctx.report_progress(0, 100)
    await trio.sleep(0.05)
    await ctx.report_progress(50, 100)
    await trio.sleep(0.05)
    await ctx.report_progress(100, 100)
    return "Done."


@mcp.tool
async def test_reconnection(ctx: Context) -> str:
    """Close the stream before the answer: the client comes back for it with Last-Event-ID."""
    ctx.close_stream()
    await trio.sleep(0.1)
    return "The answer waited for you."


@mcp.tool
async def test_trigger_tool_change(ctx: Context) -> str:
    """Tell everybody who listens that the tools changed."""
    ctx.notify_tools_changed()
    return "Announced."


@mcp.tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Tell everybody who listens that the prompts changed."""
    ctx.notify_prompts_changed()
    return "Announced."


# ---------------------------------------------------------------- tools: asking the client


@dataclass
class Person:
    """Who is there."""

    name: str


@dataclass
class Contact:
    """How to reach somebody."""

    username: Annotated[str, "The user's response"]
    email: Annotated[str, "The user's email address"]


@dataclass
class Favourite:
    """A matter of taste."""

    color: str


@dataclass
class Confirmation:
    """Yes or no."""

    ok: bool


@mcp.tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Let the client's model answer a prompt."""
    return f"LLM response: {await ask_model(ctx, prompt)}"


async def ask_model(ctx: Context, prompt: str, key: str | None = None) -> str:
    result = await ctx.sample(prompt, max_tokens=100, key=key)
    return result.content.text if isinstance(result.content, TextContent) else "nothing in words"


@mcp.tool
async def test_elicitation(message: str, ctx: Context) -> str:
    """Ask the user for name and address."""
    answer = await ctx.elicit(message, Contact)
    return f"User response: action={answer.action}, content={answer.content}"


@mcp.tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Ask with a default for each primitive type. A schema may be given as it is, too."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        },
    }
    answer = await ctx.elicit("Please review your profile", schema)
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


@mcp.tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Ask with each of the five ways to write a choice."""
    names = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"{word} Option"} for n, word in enumerate(["First", "Second"], 1)]
    schema = {
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": names},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": names}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        },
    }
    answer = await ctx.elicit("Please choose", schema)
    return f"Elicitation completed: action={answer.action}, content={answer.content}"


@mcp.tool
async def test_streaming_elicitation(ctx: Context) -> str:
    """Ask for a name; nothing but the result travels on the stream."""
    answer = await ctx.elicit("What is your name?", Person, key="user_name")
    return f"The user chose to {answer.action}."


@mcp.tool
async def test_missing_capability(ctx: Context) -> str:
    """Refuse a client that cannot sample."""
    ctx.require(sampling=True)
    return "You can sample."


@mcp.tool
async def test_input_required_result_elicitation(ctx: Context) -> str:
    """Greet the user by name. An answer that does not fit is asked for again."""
    answer = await ctx.elicit("What is your name?", Person, key="user_name")
    return f"Hello, {answer.content.name}!" if answer.content else "Hello, stranger!"


@mcp.tool
async def test_input_required_result_sampling(ctx: Context) -> str:
    """Ask the model a question."""
    return await ask_model(ctx, "What is the capital of France?", key="capital_question")


@mcp.tool
async def test_input_required_result_list_roots(ctx: Context) -> str:
    """List the folders of the client."""
    roots = await ctx.list_roots(key="client_roots")
    return "Roots: " + ", ".join(root.uri for root in roots)


@mcp.tool
async def test_input_required_result_request_state(ctx: Context) -> str:
    """Ask once; the sealed state comes back with the answer, or the call never gets here."""
    answer = await ctx.elicit("Please confirm", Confirmation, key="confirm")
    return f"state-ok: {answer.action}"


@mcp.tool
async def test_input_required_result_tampered_state(ctx: Context) -> str:
    """Ask once. Whoever alters the state gets an error, and this function does not run."""
    answer = await ctx.elicit("Please confirm", Confirmation, key="confirm")
    return f"Confirmed: {answer.action}"


@mcp.tool
async def test_input_required_result_multiple_inputs(ctx: Context) -> str:
    """Ask three questions at once: tasks of one nursery ask together."""
    parts: dict[str, str] = {}

    async def ask_name() -> None:
        answer = await ctx.elicit("What is your name?", Person, key="user_name")
        parts["name"] = answer.content.name if answer.content else "stranger"

    async def ask_greeting() -> None:
        parts["greeting"] = await ask_model(ctx, "Generate a greeting", key="greeting")

    async def ask_roots() -> None:
        parts["roots"] = ", ".join(root.uri for root in await ctx.list_roots(key="client_roots"))

    await together(ask_name, ask_greeting, ask_roots)
    return f"{parts['greeting']} {parts['name']}, you work in {parts['roots']}"


@mcp.tool
async def test_input_required_result_multi_round(ctx: Context) -> str:
    """Ask twice, one after the other: three rounds, and the first answer travels in the state."""
    first = await ctx.elicit("Step 1: What is your name?", Person, key="step1")
    second = await ctx.elicit("Step 2: What is your favorite color?", Favourite, key="step2")
    if first.content is None or second.content is None:
        return "You kept it to yourself."
    return f"{first.content.name} likes {second.content.color}."


@mcp.tool
async def test_input_required_result_capabilities(ctx: Context) -> str:
    """Ask only for what the client declared."""
    able = ctx.client_capabilities
    questions: list[Callable[[], Awaitable[object]]] = []
    if able.sampling is not None:
        questions.append(lambda: ask_model(ctx, "Generate a greeting", key="greeting"))
    if able.elicitation is not None:
        questions.append(lambda: ctx.elicit("What is your name?", Person, key="user_name"))
    if able.roots is not None:
        questions.append(lambda: ctx.list_roots(key="client_roots"))
    await together(*questions)
    return f"You answered {len(questions)} questions."


async def together(*functions: Callable[[], Awaitable[object]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


# ---------------------------------------------------------------- tools: schemas


@mcp.tool
def test_x_mcp_header(region: Annotated[str, Meta(extra_json_schema={"x-mcp-header": "Region"})]) -> str:
    """Take a parameter that the client repeats in a header, for routers on the way."""
    return f"Routed to {region}."


TEXT = {"type": "string"}


def describe(params: dict[str, Any]) -> str:
    return f"Received {', '.join(sorted(params)) or 'nothing'}."


mcp.register_tool(
    "json_schema_2020_12_tool",
    "A tool whose schema is written by hand: it is listed, and checked, exactly as it stands.",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": TEXT, "city": TEXT}}},
        "properties": {
            "name": TEXT,
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": TEXT,
            "email": TEXT,
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
    describe,
)


# ---------------------------------------------------------------- resources


@mcp.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text that never changes."""
    return "This is the content of the static text resource."


@mcp.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image that never changes."""
    return RED_PIXEL


@mcp.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """A resource worth subscribing to."""
    return "Watched resource content"


@mcp.resource("test://template/{id}/data", mime_type="application/json")
def template_data(id: str) -> dict[str, Any]:
    """One of a family of resources; `id` comes out of the URI."""
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


# ---------------------------------------------------------------- prompts and completion


@mcp.prompt
def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


@mcp.prompt
def test_prompt_with_arguments(
    arg1: Annotated[str, "First test argument"], arg2: Annotated[str, "Second test argument"]
) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@mcp.completion("test_prompt_with_arguments", "arg1")
async def complete_arg1(value: str) -> list[str]:
    words = ["paris", "park", "party", "test", "testing"]
    return [word for word in words if word.startswith(value)]


@mcp.prompt
def test_prompt_with_embedded_resource(
    resourceUri: Annotated[str, "URI of the resource to embed"],
) -> list[PromptMessage]:
    """A prompt that carries a resource."""
    return [
        UserMessage(embed(resourceUri, "Embedded resource content for testing.")),
        UserMessage("Please process the embedded resource above."),
    ]


@mcp.prompt
def test_prompt_with_image() -> list[PromptMessage]:
    """A prompt that carries an image."""
    return [UserMessage(Image(RED_PIXEL)), UserMessage("Please analyze the image above.")]


@mcp.prompt
async def test_input_required_result_prompt(ctx: Context) -> str:
    """A prompt that asks for its context first: prompts may ask, too."""
    schema = {"type": "object", "properties": {"context": TEXT}, "required": ["context"]}
    answer = await ctx.elicit("What context should the prompt use?", schema, key="user_context")
    return f"Use this context: {answer.content['context']}" if answer.content else "Use no context."


if __name__ == "__main__":
    mcp.run()
