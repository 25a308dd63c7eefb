"""The base of every wire struct, and the names of the reserved `_meta` keys."""

from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

RequestId: TypeAlias = str | int
ProgressToken: TypeAlias = str | int
JsonObject: TypeAlias = dict[str, Any]

PREFIX = "io.modelcontextprotocol/"
PROTOCOL_VERSION_KEY = PREFIX + "protocolVersion"
CLIENT_INFO_KEY = PREFIX + "clientInfo"
CLIENT_CAPABILITIES_KEY = PREFIX + "clientCapabilities"
LOG_LEVEL_KEY = PREFIX + "logLevel"
SUBSCRIPTION_ID_KEY = PREFIX + "subscriptionId"
SERVER_INFO_KEY = PREFIX + "serverInfo"


class Wire(msgspec.Struct, rename="camel", omit_defaults=True):
    """A JSON object of the protocol: snake_case here, camelCase on the wire, absent where it is the default."""


class Params(Wire):
    """Parameters without fields that this server reads: an empty object, or only `_meta`."""


class Result(Wire, kw_only=True):
    """What every result may carry (2026-07-28, basic/index: Responses).

    `result_type` stays `None` where the revision has none; `meta` is the `_meta` object.
    """

    meta: JsonObject | None = msgspec.field(default=None, name="_meta")
    result_type: str | None = None


class CacheableResult(Result, kw_only=True):
    """A result with caching hints (2026-07-28, server/utilities/caching)."""

    ttl_ms: int | None = None
    cache_scope: str | None = None


__all__ = [
    "CLIENT_CAPABILITIES_KEY",
    "CLIENT_INFO_KEY",
    "LOG_LEVEL_KEY",
    "PREFIX",
    "PROTOCOL_VERSION_KEY",
    "SERVER_INFO_KEY",
    "SUBSCRIPTION_ID_KEY",
    "UNSET",
    "CacheableResult",
    "JsonObject",
    "Params",
    "ProgressToken",
    "RequestId",
    "Result",
    "UnsetType",
    "Wire",
]
