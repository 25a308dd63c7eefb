"""trio_mcp: Model Context Protocol servers with structured concurrency, on trio."""

from trio_mcp.context import Context
from trio_mcp.elicitation import Elicited
from trio_mcp.exceptions import McpError, NotFoundError, PromptError, RegistrationError, ResourceError, ToolError
from trio_mcp.media import Audio, File, Image
from trio_mcp.protocol.revisions import Revision
from trio_mcp.returns import AssistantMessage, ToolResult, UserMessage
from trio_mcp.routes import HttpRequest, HttpResponse
from trio_mcp.runtime.host import Host
from trio_mcp.runtime.replay import DurableEventStore, EventStore, MemoryEventStore
from trio_mcp.runtime.sqlite_store import EventStoreError, SQLiteEventStore
from trio_mcp.serve import Shutdown, http_app, serve_http, serve_stdio
from trio_mcp.server import Server
from trio_mcp.settings import Settings
from trio_mcp.transports.memory import serve_stream
from trio_mcp.version import __version__
from trio_mcp.wire.completion import Completion
from trio_mcp.wire.content import (
    Annotations,
    AudioContent,
    EmbeddedResource,
    Icon,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from trio_mcp.wire.prompts import PromptMessage
from trio_mcp.wire.roots import Root
from trio_mcp.wire.sampling import CreateMessageResult, ModelHint, ModelPreferences, SamplingMessage, ToolChoice
from trio_mcp.wire.tools import ToolAnnotations

__all__ = [
    "Annotations",
    "AssistantMessage",
    "Audio",
    "AudioContent",
    "Completion",
    "Context",
    "CreateMessageResult",
    "DurableEventStore",
    "Elicited",
    "EmbeddedResource",
    "EventStore",
    "EventStoreError",
    "File",
    "Host",
    "HttpRequest",
    "HttpResponse",
    "Icon",
    "Image",
    "ImageContent",
    "McpError",
    "MemoryEventStore",
    "ModelHint",
    "ModelPreferences",
    "NotFoundError",
    "PromptError",
    "PromptMessage",
    "RegistrationError",
    "ResourceContents",
    "ResourceError",
    "ResourceLink",
    "Revision",
    "Root",
    "SQLiteEventStore",
    "SamplingMessage",
    "Server",
    "Settings",
    "Shutdown",
    "TextContent",
    "ToolAnnotations",
    "ToolChoice",
    "ToolError",
    "ToolResult",
    "UserMessage",
    "__version__",
    "http_app",
    "serve_http",
    "serve_stdio",
    "serve_stream",
]
