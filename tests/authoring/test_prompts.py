"""Prompts: what they show of their arguments, the messages they make, and how they fail."""

import base64
import enum
import logging
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tests.authoring.client import ERAS, PER_REQUEST, SESSION, connected
from trio_mcp import (
    AssistantMessage,
    Audio,
    Context,
    EmbeddedResource,
    File,
    Icon,
    Image,
    McpError,
    PromptError,
    PromptMessage,
    RegistrationError,
    ResourceContents,
    Server,
    TextContent,
    UserMessage,
)

PNG = b"\x89PNG\r\n\x1a\n"
WAV = b"RIFF\x00\x00\x00\x00WAVE"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": {"type": "text", "text": text}}


EMBEDDED = {"type": "resource", "resource": {"uri": "x://y", "text": "z"}}
PICTURE = {"type": "image", "data": coded(PNG), "mimeType": "image/png"}
NOTES = {"uri": "attachment:///notes.md", "mimeType": "text/markdown", "text": "# Notes"}

# A row: what the function returns, the messages.
VALUES: list[tuple[Any, list[dict[str, Any]]]] = [
    ("Review this", [said("user", "Review this")]),
    (UserMessage("Hi"), [said("user", "Hi")]),
    (AssistantMessage("Hello"), [said("assistant", "Hello")]),
    (PromptMessage("assistant", TextContent("Hello")), [said("assistant", "Hello")]),
    (["Hi", AssistantMessage("Hello"), "Bye"], [said("user", "Hi"), said("assistant", "Hello"), said("user", "Bye")]),
    (("Hi", "Bye"), [said("user", "Hi"), said("user", "Bye")]),
    ({"role": "assistant", "content": "Hello"}, [said("assistant", "Hello")]),
    ([{"role": "user", "content": ["a", Image(PNG)]}], [said("user", "a"), {"role": "user", "content": PICTURE}]),
    (Image(PNG), [{"role": "user", "content": PICTURE}]),
    (
        AssistantMessage(Audio(WAV)),
        [{"role": "assistant", "content": {"type": "audio", "data": coded(WAV), "mimeType": "audio/wav"}}],
    ),
    (EmbeddedResource(ResourceContents(uri="x://y", text="z")), [{"role": "user", "content": EMBEDDED}]),
    (ResourceContents(uri="x://y", text="z"), [{"role": "user", "content": EMBEDDED}]),
    (File("# Notes", name="notes.md"), [{"role": "user", "content": {"type": "resource", "resource": NOTES}}]),
    ([], []),
]


@pytest.mark.parametrize(("value", "messages"), VALUES, ids=lambda value: str(value)[:24])
async def test_a_value_becomes_messages(value, messages):
    mcp = Server("s")

    @mcp.prompt
    async def make() -> Any:
        return value

    async with connected(mcp) as client:
        assert await client.ask("prompts/get", {"name": "make"}) == {"messages": messages}


class Tone(enum.Enum):
    KIND = "kind"
    STERN = "stern"


async def review(
    code: str,
    ctx: Context,
    tone: Annotated[Tone, msgspec.Meta(title="Tone", description="How to say it")] = Tone.KIND,
    *,
    depth: Annotated[int, "how far to look"] = 1,
    style: Literal["short", "long"] = "short",
) -> list[str]:
    """Review code.

    Args:
        code: what to review
    """
    return [code, f"{tone.value} {depth} {style} {ctx.revision.version}"]


@pytest.mark.parametrize("era", ERAS)
async def test_arguments_come_from_the_signature(era):
    mcp = Server("s")
    assert mcp.prompt(review) is review
    async with connected(mcp, era) as client:
        [prompt] = (await client.ask("prompts/list"))["prompts"]
        assert prompt == {
            "name": "review",
            "description": "Review code.",
            "arguments": [
                {"name": "code", "description": "what to review", "required": True},
                {"name": "tone", "title": "Tone", "description": "How to say it"},
                {"name": "depth", "description": "how far to look"},
                {"name": "style"},
            ],
        }
        got = await client.ask("prompts/get", {"name": "review", "arguments": {"code": "x"}})
        assert got["description"] == "Review code."
        assert got["messages"] == [said("user", "x"), said("user", f"kind 1 short {era}")]
        arguments = {"code": "x", "tone": "stern", "depth": "3", "style": "long"}
        got = await client.ask("prompts/get", {"name": "review", "arguments": arguments})
        assert got["messages"][1] == said("user", f"stern 3 long {era}")


async def test_every_option_is_shown_and_old_clients_see_what_they_know():
    mcp = Server("s")

    @mcp.prompt(
        name="ask",
        title="Ask it",
        description="Ask something.",
        icons=[Icon("data:,x")],
        meta={"owner": "team"},
        tags={"b", "a"},
    )
    async def ignored(what: Annotated[str, msgspec.Meta(title="What")]) -> str:
        """Not this."""
        return what

    @mcp.prompt()
    def bare() -> str:
        return ""

    async with connected(mcp, "2024-11-05") as client:
        assert (await client.ask("prompts/list"))["prompts"] == [
            {"name": "ask", "description": "Ask something.", "arguments": [{"name": "what", "required": True}]},
            {"name": "bare"},
        ]
    async with connected(mcp, PER_REQUEST) as client:
        assert (await client.ask("prompts/list"))["prompts"][0] == {
            "name": "ask",
            "title": "Ask it",
            "description": "Ask something.",
            "arguments": [{"name": "what", "title": "What", "required": True}],
            "icons": [{"src": "data:,x"}],
            "_meta": {"owner": "team", "tags": ["a", "b"]},
        }


@pytest.mark.parametrize("strict", [True, False])
async def test_missing_and_unfitting_arguments_are_all_told(strict):
    mcp = Server("s", strict=strict)
    mcp.add_prompt(review)
    async with connected(mcp) as client:
        error = await client.fail("prompts/get", {"name": "review", "arguments": {"tone": "rude", "depth": "deep"}})
        assert error["code"] == -32602
        assert error["message"].splitlines() == [
            "Invalid arguments for prompt review:",
            "$.code: missing",
            '$.tone: must be one of "kind", "stern"',
            "$.depth: expected an integer, got a string",
        ]
        for params in ({"name": "review"}, {"name": "review", "arguments": None}):
            error = await client.fail("prompts/get", params)
            assert error["message"].splitlines()[1:] == ["$.code: missing"]
        error = await client.fail("prompts/get", {"name": "gone"})
        assert error == {"code": -32602, "message": "Unknown prompt: gone"}


@pytest.mark.parametrize("era", ERAS)
async def test_the_text_of_a_prompt_error_reaches_the_client_and_no_other(era, caplog):
    mcp = Server("s")

    @mcp.prompt
    async def told() -> str:
        raise PromptError("No template for that")

    @mcp.prompt
    def coded_error() -> str:
        raise McpError(4711, "Closed", {"until": "Monday"})

    @mcp.prompt
    def secret() -> str:
        raise RuntimeError("secret")

    @mcp.prompt
    async def number() -> Any:
        return 3

    generic = {"code": -32603, "message": "Internal error in prompts/get: see the server's log"}
    async with connected(mcp, era) as client:
        error = await client.fail("prompts/get", {"name": "told"})
        assert error == {"code": -32603, "message": "No template for that"}
        error = await client.fail("prompts/get", {"name": "coded_error"})
        assert error == {"code": 4711, "message": "Closed", "data": {"until": "Monday"}}
        assert caplog.records == []
        assert await client.fail("prompts/get", {"name": "secret"}) == generic
        assert await client.fail("prompts/get", {"name": "number"}) == generic
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "a prompt gave a int; return a str" in caplog.text


@pytest.mark.parametrize("era", ERAS)
async def test_a_prompt_may_ask_the_user(era):
    mcp = Server("s")

    @mcp.prompt
    async def personal(ctx: Context) -> str:
        answer = await ctx.elicit("Name?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return f"Write to {answer.content['name']}"

    answers = {"elicitation/create": lambda params: {"action": "accept", "content": {"name": "Bo"}}}
    async with connected(mcp, era, capabilities={"elicitation": {}}, answers=answers) as client:
        got = await client.ask("prompts/get", {"name": "personal"})
        assert got["messages"] == [said("user", "Write to Bo")]


def test_what_cannot_be_a_prompt_is_refused_with_the_reason():
    mcp = Server("s")
    with pytest.raises(RegistrationError, match="a lambda has no name: give one with name="):
        mcp.add_prompt(lambda: "x")
    with pytest.raises(RegistrationError, match="unknown option timeout: there are name, title, description, icons"):
        mcp.prompt(timeout=3)(review)  # type: ignore[call-overload]  # what the test is about
    assert mcp.prompts == {}


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_come_and_go_while_clients_listen(era):
    mcp = Server("s")
    changed = "notifications/prompts/list_changed"
    async with connected(mcp, era) as client:
        if era == PER_REQUEST:
            await client.begin("subscriptions/listen", {"notifications": {"promptsListChanged": True}})
            await client.hear("notifications/subscriptions/acknowledged")
        mcp.add_prompt(lambda: "x", name="x")
        await client.hear(changed, 1)
        assert (await client.ask("prompts/get", {"name": "x"}))["messages"] == [said("user", "x")]
        mcp.remove_prompt("x")
        await client.hear(changed, 2)
        assert (await client.ask("prompts/list"))["prompts"] == []
        with pytest.raises(KeyError):
            mcp.remove_prompt("x")
        if era == SESSION:
            assert len(client.heard) == 2
