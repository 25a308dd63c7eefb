"""Which era a message of a POST belongs to (2026-07-28, basic/versioning: Backward Compatibility)."""

import msgspec

from trio_mcp.protocol.revisions import REVISIONS, Era
from trio_mcp.wire.base import PROTOCOL_VERSION_KEY, UNSET, UnsetType, Wire
from trio_mcp.wire.jsonrpc import Message, Notification, Response


class _VersionOnly(Wire):
    protocol_version: msgspec.Raw | UnsetType = msgspec.field(default=UNSET, name=PROTOCOL_VERSION_KEY)


class _MetaOnly(Wire):
    meta: _VersionOnly | None = msgspec.field(default=None, name="_meta")


_decode_meta = msgspec.json.Decoder(_MetaOnly).decode


def carries_version(params: msgspec.Raw) -> bool:
    """Whether `_meta` names a protocol version, whatever else is right or wrong with the parameters."""
    try:
        meta = _decode_meta(params).meta
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return meta is not None and meta.protocol_version is not UNSET


def era_of(message: Message, *, session_id: str | None, version_header: str | None) -> Era:
    """Decide by the body first, then by the header.

    A body whose `_meta` carries a version is per-request. `initialize`, anything with a session id, and posted
    responses belong to a session. What is left is per-request only where the header names such a revision.
    """
    per_request = names_per_request(version_header)
    if isinstance(message, Response):
        return Era.SESSION if session_id is not None or not per_request else Era.PER_REQUEST
    if per_request and message.method != "initialize":
        return Era.PER_REQUEST
    if carries_version(message.params):
        return Era.PER_REQUEST
    if not per_request or not isinstance(message, Notification):
        return Era.SESSION
    return Era.PER_REQUEST


def names_per_request(version_header: str | None) -> bool:
    """Whether a version header names a revision of the per-request era."""
    revision = REVISIONS.get(version_header or "")
    return revision is not None and revision.per_request
