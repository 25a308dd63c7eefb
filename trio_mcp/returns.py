"""What handlers return, as content: Python values to blocks, resource contents, messages and JSON values.

Owns: `ToolResult`, the makers of prompt messages, and one rule for each kind of value:

- A string is text. None is no content. A number or bool is its JSON text. Bytes are always an embedded resource with
  base64, never guessed to be text: say `data.decode()`, `Image` or `File` for more.
- A list or tuple that holds any content block or helper becomes one block or more for each element; any other is
  one JSON text, as dicts and objects are. JSON text is compact and not escaped beyond what JSON demands.
- Objects are what msgspec knows, and: pydantic models, `Mapping`, `Collection`, paths, IP addresses, numpy scalars and
  arrays, subclasses of str. Generators and other one-shot iterators are refused: they may never end.
- Text with lone surrogates, which JSON cannot carry, gets U+FFFD for each.

Refuses: results, schemas, protocol, and what `Image`, `Audio` and `File` are (`media`).
"""

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import attrs
import msgspec

from trio_mcp.media import BYTES, OCTETS, Audio, File, Image, binary_contents, well_formed
from trio_mcp.wire.base import UNSET, JsonObject
from trio_mcp.wire.content import (
    AudioContent,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
    ResourceLink,
    TextContent,
)
from trio_mcp.wire.prompts import PromptMessage

_BLOCKS: Final = (TextContent, ImageContent, AudioContent, EmbeddedResource, ResourceLink)
_SCALARS: Final = frozenset((str, int, float, bool, type(None), dict))


def _no_empty_list(content: Any) -> Any:
    return () if isinstance(content, list) and not content else content


@attrs.frozen
class ToolResult:
    """A tool's result, spelled out.

    `content` is anything that a tool may return, and none when empty. `structured` is what programs read: UNSET is
    none, None is a value. `meta` becomes `_meta`.
    """

    content: Any = attrs.field(default=(), converter=_no_empty_list)
    structured: Any = UNSET
    meta: JsonObject | None = None
    is_error: bool = False


_HELPERS: Final = (Image, Audio, File)

#: Values of these types are content and have no JSON Schema of their own.
UNSTRUCTURED: Final[tuple[type, ...]] = (*_HELPERS, ToolResult, ResourceContents, *_BLOCKS)


def to_content(value: Any) -> list[ContentBlock]:
    """A handler's value as content blocks; the rules stand at the top of this module.

    Raises: TypeError, with the type's name, for what JSON cannot show; what `Image` and the like raise.
    """
    if type(value) is str:  # by far the most
        return [TextContent(well_formed(value))]
    if value is None:
        return []
    if isinstance(value, (list, tuple)) and (_has_content(value) or value == ()):
        return [block for item in value for block in to_content(item)]
    if isinstance(value, ToolResult):
        return to_content(value.content)
    if isinstance(value, BYTES):
        return [File(bytes(value)).to_content()]
    return [_block(value) or TextContent(_plain(value))]


def _has_content(value: list[Any] | tuple[Any, ...]) -> bool:
    return any(
        _has_content(item) if isinstance(item, (list, tuple)) else isinstance(item, UNSTRUCTURED)
        for item in value
        if type(item) not in _SCALARS  # by far the most in long lists, and the quickest to tell
    )


def _block(value: Any) -> ContentBlock | None:
    """The block that `value` is or stands for, None where it is data."""
    if isinstance(value, _BLOCKS):
        return value
    if isinstance(value, _HELPERS):
        return value.to_content()
    return EmbeddedResource(value) if isinstance(value, ResourceContents) else None


def to_builtins(value: Any) -> Any:
    """The JSON value of `value`: dicts with string keys, lists, strings, numbers, bools, None; NaN becomes None.

    Raises: TypeError, with the type's name, for what JSON cannot show.
    """
    return msgspec.json.decode(_encode(value))


def resource_contents(uri: str, value: Any, mime_type: str | None = None) -> list[ResourceContents]:
    """What a resource function returned, as contents under `uri`.

    A string is text (text/plain unless `mime_type` says else); bytes are base64 (application/octet-stream), or text
    where `mime_type` is a text type and they are UTF-8; `ResourceContents` stay as they are, with their own URI;
    `File`, `Image`, `Audio` and content blocks give their own; a list with any of these gives one for each; all
    else is JSON text (application/json).

    Raises: TypeError for None, for links, and for what JSON cannot show; what `Image` and the like raise.
    """
    if value is None or isinstance(value, (ResourceLink, ToolResult)):
        given = "None" if value is None else f"a {type(value).__name__}"
        hint = "return text, bytes, data or ResourceContents, and raise ResourceError where there is nothing to read"
        raise TypeError(f"the resource {uri} gave {given}: {hint}")
    if isinstance(value, (list, tuple)) and _has_content(value):
        return [contents for item in value for contents in resource_contents(uri, item, mime_type)]
    if isinstance(value, File):
        return [value.to_resource(uri, mime_type)]
    if isinstance(value, BYTES):
        return [binary_contents(uri, bytes(value), mime_type or OCTETS)]
    match _block(value):
        case EmbeddedResource(resource=resource):
            return [resource]
        case TextContent(text=text):
            return [ResourceContents(uri=uri, mime_type=mime_type or "text/plain", text=well_formed(text))]
        case ImageContent() | AudioContent() as block:
            return [ResourceContents(uri=uri, mime_type=block.mime_type, blob=block.data)]
    default = "text/plain" if isinstance(value, str) else "application/json"
    text = _plain(value) if isinstance(value, str) else _encode(value).decode()
    return [ResourceContents(uri=uri, mime_type=mime_type or default, text=text)]


def prompt_messages(value: Any) -> list[PromptMessage]:
    """What a prompt function returned, as messages: one value or a list of them.

    A value is a string or a content block (a message of the user), a `PromptMessage`, or a dict with `role` and
    `content`, where the content may be a list of contents.

    Raises: TypeError that says what is accepted; what `Image` and the like raise.
    """
    items = value if isinstance(value, (list, tuple)) else [value]
    return [message for item in items for message in _messages(item)]


def UserMessage(content: Any) -> PromptMessage:
    """A message of the user: text, a content block, `Image`, `Audio`, `File`, `ResourceContents`. Raises: TypeError."""
    return PromptMessage("user", _message_content(content))


def AssistantMessage(content: Any) -> PromptMessage:
    """A message of the assistant; takes what `UserMessage` takes. Raises: TypeError."""
    return PromptMessage("assistant", _message_content(content))


def _messages(item: Any) -> list[PromptMessage]:
    if isinstance(item, PromptMessage):
        return [item]
    if not isinstance(item, Mapping) or "role" not in item:
        return [UserMessage(item)]
    role, content = item["role"], item.get("content")
    if role not in ("user", "assistant") or item.keys() != {"role", "content"}:
        raise TypeError(f"a message is a dict with role ('user' or 'assistant') and content, not {dict(item)!r:.200}")
    contents = content if isinstance(content, (list, tuple)) else [content]
    return [PromptMessage(role, _message_content(part)) for part in contents]


def _message_content(content: Any) -> ContentBlock:
    if isinstance(content, str):
        return TextContent(_plain(content))
    block = _block(content)
    if block is None and isinstance(content, Mapping) and "type" in content:
        try:
            block = msgspec.convert(content, ContentBlock)
        except msgspec.ValidationError as error:
            raise TypeError(f"a dict that is no content block: {error}") from None
    if block is None:
        raise TypeError(
            f"a prompt gave a {type(content).__name__}; return a str, a content block, Image, Audio, File,"
            " UserMessage(…), AssistantMessage(…), a dict with role and content, or a list of these"
        )
    return block


def _plain(value: Any) -> str:
    """Strings as they are, all else as JSON text."""
    if isinstance(value, Enum):
        value = value.value
    return well_formed(value) if isinstance(value, str) else _encode(value).decode()


def _encode(value: Any) -> bytes:
    """Compact JSON of any value. Raises: TypeError, with the type's name."""
    try:
        return msgspec.json.encode(value, enc_hook=_enc_hook)
    except UnicodeEncodeError:
        return msgspec.json.encode(_repaired(msgspec.to_builtins(value, str_keys=True, enc_hook=_enc_hook)))
    except RecursionError:
        raise TypeError(f"a {type(value).__name__} that holds itself, or nests too deep, has no JSON form") from None
    except TypeError as error:
        raise TypeError(f"a {type(value).__name__} cannot become JSON: {error}") from error


def _repaired(value: Any) -> Any:
    if isinstance(value, dict):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_repaired(item) for item in value]
    return well_formed(value) if isinstance(value, str) else value


def _enc_hook(value: Any) -> Any:
    """What msgspec does not know, as something it does."""
    if value is None or isinstance(value, bool):
        return msgspec.json.encode(value).decode()  # msgspec asks for these only where they are keys
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        raise TypeError(f"a {type(value).__name__} cannot be a key")
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json", by_alias=True)  # pydantic, without importing it
    if callable(tolist := getattr(value, "tolist", None)) and not isinstance(value, type):
        return tolist()  # numpy
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    hint = "; collect it into a list first" if isinstance(value, Iterator) else ""
    if isinstance(value, UNSTRUCTURED):
        hint = "; return it alone or in a list, not inside data"
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form{hint}")


_CONVERSIONS: Final[tuple[tuple[Any, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (PurePath, str),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), str),
    (int, int),
    (float, float),
)
