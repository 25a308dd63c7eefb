"""Errors that users raise and whose text reaches the client. Anything else a handler raises stays on the server."""

from trio_mcp.protocol.errors import McpError


class ToolError(Exception):
    """A tool failed in a way the model should read: the result has `isError` and this text."""


class ResourceError(Exception):
    """A resource could not be read; the client gets an internal error with this text."""


class PromptError(Exception):
    """A prompt could not be made; the client gets an internal error with this text."""


class NotFoundError(ResourceError):
    """There is no such resource; the client gets the revision's own code for that, with the URI."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"Resource not found: {uri}")
        self.uri = uri


class RegistrationError(ValueError):
    """What was registered cannot be served; the message names the function and what to do."""


__all__ = ["McpError", "NotFoundError", "PromptError", "RegistrationError", "ResourceError", "ToolError"]
