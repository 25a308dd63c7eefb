"""Sampling: asking the client's model (client/sampling)."""

from typing import Any, Literal

from msgspec import field

from trio_mcp.wire.base import JsonObject, Wire
from trio_mcp.wire.content import Role, SamplingContent, TextContent
from trio_mcp.wire.tools import Tool


class SamplingMessage(Wire):
    """One message of a conversation; a list of contents since 2025-11-25."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    meta: JsonObject | None = field(default=None, name="_meta")


class ModelHint(Wire, kw_only=True):
    """A part of a model's name, such as `sonnet`."""

    name: str | None = None


class ModelPreferences(Wire, kw_only=True):
    """What matters in the choice of a model; priorities from 0 to 1."""

    hints: list[ModelHint] | None = None
    cost_priority: float | None = None
    speed_priority: float | None = None
    intelligence_priority: float | None = None


class ToolChoice(Wire, kw_only=True):
    """How the model may use tools."""

    mode: Literal["auto", "required", "none"] | None = None


class CreateMessageParams(Wire, kw_only=True):
    """Parameters of `sampling/createMessage`."""

    messages: list[SamplingMessage]
    max_tokens: int
    model_preferences: ModelPreferences | None = None
    system_prompt: str | None = None
    include_context: Literal["none", "thisServer", "allServers"] | None = None
    temperature: float | None = None
    stop_sequences: list[str] | None = None
    metadata: Any = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None


class CreateMessageResult(Wire, kw_only=True):
    """What the model said; `text` joins its text blocks."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    model: str
    stop_reason: str | None = None
    meta: JsonObject | None = field(default=None, name="_meta")

    @property
    def text(self) -> str:
        """The text of the answer; empty where it has none."""
        blocks = self.content if isinstance(self.content, list) else [self.content]
        return "\n".join(block.text for block in blocks if isinstance(block, TextContent))
