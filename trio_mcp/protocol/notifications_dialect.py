"""What the notifications dialect says otherwise than MCP does: an `initialize` in snake_case, and its answer.

It refuses to know HTTP, and what a tool is.
"""

from typing import Any, Final

import msgspec

from trio_mcp.protocol.errors import McpError, invalid_params
from trio_mcp.protocol.revisions import WITHOUT_VERSION_HEADER
from trio_mcp.wire.base import RequestId, Wire
from trio_mcp.wire.jsonrpc import Request, encode_result
from trio_mcp.wire.lifecycle import Implementation

#: What its `initialize` answers, whatever the server has.
CAPABILITIES: Final = {"tools": True, "async": True}


class _ClientInfo(msgspec.Struct):
    name: str = ""
    version: str = ""


class _SnakeInitialize(msgspec.Struct):
    protocol_version: str = WITHOUT_VERSION_HEADER.version
    client_info: _ClientInfo = msgspec.field(default_factory=_ClientInfo)
    capabilities: dict[str, Any] = msgspec.field(default_factory=dict)


class _VersionOnly(Wire):
    protocol_version: msgspec.Raw = msgspec.Raw(b"")


_read_version = msgspec.json.Decoder(_VersionOnly).decode
_read_snake = msgspec.json.Decoder(_SnakeInitialize).decode


def standard_initialize(request: Request) -> Request | None:
    """The `initialize` of MCP that one of this dialect stands for; None where it is one of MCP already.

    What is left out has a default: the revision that this dialect was written for, a client without a name.

    Raises:
        McpError: -32602 for members of a wrong type.
    """
    try:
        if memoryview(_read_version(request.params).protocol_version).nbytes:
            return None
        params = _read_snake(request.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong(error) from None
    standard = {
        "protocolVersion": params.protocol_version,
        "capabilities": params.capabilities,
        "clientInfo": params.client_info,
    }
    return Request(request.id, request.method, msgspec.Raw(msgspec.json.encode(standard)))


def initialize_result(id: RequestId, server: Implementation) -> bytes:
    """The answer to an `initialize` of this dialect."""
    info = {"name": server.name, "version": server.version}
    return encode_result(id, {"capabilities": CAPABILITIES, "server_info": info})


def _wrong(error: Exception) -> McpError:
    return invalid_params(f"Invalid params for initialize: {error}")
