"""What handlers return, as content: the helper classes, and Python values to blocks, resource contents and messages.

Owns: `Image`, `Audio`, `File`, `ToolResult`, and one rule for each kind of value:

- A string is text. None is no content. A number or bool is its JSON text. Bytes are always an embedded resource with
  base64, never guessed to be text: say `data.decode()`, `Image` or `File` for more.
- A list or tuple that holds any content block or helper becomes one block or more for each element; any other is
  one JSON text, as dicts and objects are. JSON text is compact and not escaped beyond what JSON demands.
- Objects are what msgspec knows, and: pydantic models, `Mapping`, `Collection`, paths, IP addresses, numpy scalars and
  arrays, subclasses of str. Generators and other one-shot iterators are refused: they may never end.
- Text with lone surrogates, which JSON cannot carry, gets U+FFFD for each.

Refuses: results, schemas, protocol. `Image(path=…)` and the like read their file when the value is converted, in
the calling thread and without a limit: convert in a worker thread where the disk may be slow.
"""

import ipaddress
import mimetypes
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Final
from urllib.parse import quote

import attrs
import msgspec

from trio_mcp.wire.base import UNSET, JsonObject
from trio_mcp.wire.content import (
    Annotations,
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
_BYTES: Final = (bytes, bytearray, memoryview)
_SCALARS: Final = frozenset((str, int, float, bool, type(None), dict))
_OCTETS: Final = "application/octet-stream"

#: MIME types by format or suffix. Written here because those of the `mimetypes` module differ between versions.
_IMAGE_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "svg": "image/svg+xml",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ico": "image/vnd.microsoft.icon",
    "avif": "image/avif",
    "heic": "image/heic",
}
_AUDIO_TYPES: Final = {
    "wav": "audio/wav",
    "wave": "audio/wav",
    "mp3": "audio/mpeg",
    "mpeg": "audio/mpeg",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp4": "audio/mp4",
    "aac": "audio/aac",
    "webm": "audio/webm",
}
_FILE_TYPES: Final = {
    **_AUDIO_TYPES,
    **_IMAGE_TYPES,
    "txt": "text/plain",
    "text": "text/plain",
    "log": "text/plain",
    "md": "text/markdown",
    "markdown": "text/markdown",
    "js": "text/javascript",
    "ts": "text/x-typescript",
    "jsonl": "application/jsonl",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "toml": "application/toml",
    "sql": "application/sql",
    "gz": "application/gzip",
    "wasm": "application/wasm",
    "mp4": "video/mp4",
    "webm": "video/webm",
}
_TEXT_TYPES: Final = re.compile(
    r"text/.*|.*\+(json|xml|yaml)"
    r"|application/(json|jsonl|x-ndjson|xml|yaml|x-yaml|toml|sql|graphql|(x-)?javascript|ecmascript|x-sh)"
)

# What the first bytes show. An ISO media file names its brand after "ftyp"; RIFF names its form after the length.
_IMAGE_MAGIC: Final = re.compile(
    rb"(?P<png>\x89PNG\r\n\x1a\n)|(?P<jpeg>\xff\xd8\xff)|(?P<gif>GIF8[79]a)|(?P<webp>RIFF.{4}WEBP)|(?P<bmp>BM)"
    rb"|(?P<avif>.{4}ftypavi[fs])|(?P<svg>(?:\xef\xbb\xbf)?\s*(?:<(?:\?xml|!--|!DOCTYPE svg).{0,1000}?)?<svg\b)",
    re.DOTALL,
)
_AUDIO_MAGIC: Final = re.compile(
    rb"(?P<wav>RIFF.{4}WAVE)|(?P<mp3>ID3|\xff[\xfb\xf3\xf2\xfa])|(?P<ogg>OggS)|(?P<flac>fLaC)|(?P<m4a>.{4}ftyp)"
    rb"|(?P<aac>\xff[\xf1\xf9])",
    re.DOTALL,
)


class _Media:
    """Bytes or a file, with a type. Exactly one of `data` and `path` is given."""

    # No attrs class: msgspec would write one into JSON, picture and all, where a user put it into a dict by mistake.
    __slots__ = ("annotations", "data", "format", "mime_type", "path")

    def __init__(
        self,
        data: bytes | None = None,
        path: str | Path | None = None,
        format: str | None = None,
        mime_type: str | None = None,
        *,
        annotations: Annotations | None = None,
    ) -> None:
        name = type(self).__name__
        if (data is None) == (path is None):
            raise TypeError(f"{name} takes either data or path")
        if data is not None and not isinstance(data, _BYTES):
            given = type(data).__name__
            raise TypeError(f"{name}: data is bytes, not {given}; for a file pass path=, and decode base64 first")
        self.data = data
        self.path = path
        self.format = format
        self.mime_type = mime_type
        self.annotations = annotations

    def __repr__(self) -> str:
        source = f"<{len(self.data)} bytes>" if self.data is not None else f"path={str(self.path)!r}"
        return f"{type(self).__name__}({source})"

    def _read(self) -> bytes:
        return _read(self.path) if self.path is not None else bytes(self.data or b"")

    def _type(self, data: bytes, known: Mapping[str, str], family: str, magic: re.Pattern[bytes]) -> str:
        """The MIME type: as given, by format, by suffix, by the first bytes."""
        if self.mime_type:
            return self.mime_type
        if self.format:
            name = self.format.lower().removeprefix(".")
            return name if "/" in name else known.get(name, f"{family}/{name}")
        if found := known.get(_suffix(self.path)):
            return found
        if (shown := magic.match(data)) and shown.lastgroup:
            return known[shown.lastgroup]
        raise ValueError(f"{type(self).__name__}: neither the name nor the bytes show the type; pass format=")


class Image(_Media):
    """A picture to return: `Image(data)` or `Image(path="plot.png")`.

    `format` is a short name such as `png`; without it and `mime_type`, the suffix and then the first bytes decide.
    Raises: TypeError unless exactly one of `data` (bytes) and `path` is given.
    """

    __slots__ = ()

    def to_content(self) -> ImageContent:
        """The content block. Reads `path` now, synchronously.

        Raises: OSError from reading; ValueError where the type cannot be told.
        """
        data = self._read()
        return ImageContent(_base64(data), self._type(data, _IMAGE_TYPES, "image", _IMAGE_MAGIC), self.annotations)


class Audio(_Media):
    """Sound to return: `Audio(data, format="wav")` or `Audio(path="speech.mp3")`. Otherwise as `Image`."""

    __slots__ = ()

    def to_content(self) -> AudioContent:
        """The content block. Reads `path` now, synchronously.

        Raises: OSError from reading; ValueError where the type cannot be told.
        """
        data = self._read()
        return AudioContent(_base64(data), self._type(data, _AUDIO_TYPES, "audio", _AUDIO_MAGIC), self.annotations)


class File:
    """A file to return, embedded: `File(b"…", format="pdf")`, `File("a,b", name="t.csv")`, `File(path="notes.md")`.

    Text types (text, JSON, XML and their kin) that are UTF-8 travel as text, all else as base64. Without `mime_type`,
    `format`, the suffix of `name` or of `path` decide; else a string is text/plain and bytes are octets. Without
    `uri` the client sees `attachment:///name`: never the path, which is the server's own affair.
    Raises: TypeError unless exactly one of `data` (bytes, str) and `path` is given.
    """

    __slots__ = ("annotations", "data", "format", "mime_type", "name", "path", "uri")

    def __init__(
        self,
        data: bytes | str | None = None,
        path: str | Path | None = None,
        format: str | None = None,
        name: str | None = None,
        mime_type: str | None = None,
        *,
        uri: str | None = None,
        annotations: Annotations | None = None,
    ) -> None:
        if (data is None) == (path is None):
            raise TypeError("File takes either data or path")
        if data is not None and not isinstance(data, (str, *_BYTES)):
            raise TypeError(f"File: data is bytes or str, not {type(data).__name__}; for a file pass path=")
        self.data = data
        self.path = path
        self.format = format
        self.name = name
        self.mime_type = mime_type
        self.uri = uri
        self.annotations = annotations

    def __repr__(self) -> str:
        source = f"<{len(self.data)}>" if self.data is not None else f"path={str(self.path)!r}"
        return f"File({source}, name={self.name!r})"

    def to_content(self) -> EmbeddedResource:
        """The content block. Reads `path` now, synchronously. Raises: OSError from reading."""
        return EmbeddedResource(self.to_resource(), self.annotations)

    def to_resource(self, uri: str | None = None, mime_type: str | None = None) -> ResourceContents:
        """The contents. `uri` and `mime_type` stand in for those the file does not have. Reads as `to_content`."""
        found = self._mime_type(mime_type)
        place = self.uri or uri or f"attachment:///{quote(self._name(found), safe='')}"
        if isinstance(self.data, str):
            return ResourceContents(uri=place, mime_type=found, text=_text(self.data))
        data = _read(self.path) if self.path is not None else bytes(self.data or b"")
        return _binary(place, data, found)

    def _mime_type(self, default: str | None) -> str:
        if self.mime_type:
            return self.mime_type
        if self.format:
            name = self.format.lower().removeprefix(".")
            return name if "/" in name else _FILE_TYPES.get(name) or _guess(name) or f"application/{name}"
        suffix = _suffix(self.name or self.path)
        fallback = "text/plain" if isinstance(self.data, str) else _OCTETS
        return default or _FILE_TYPES.get(suffix) or _guess(suffix) or fallback

    def _name(self, mime_type: str) -> str:
        if self.name or self.path is not None:
            return self.name or Path(self.path or "").name
        if self.format and "/" not in self.format:
            return f"file.{self.format.lower().removeprefix('.')}"
        suffix = next((suffix for suffix, known in _FILE_TYPES.items() if known == mime_type), None)
        return f"file.{suffix}" if suffix else f"file{mimetypes.MimeTypes().guess_extension(mime_type) or '.bin'}"


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
    if value is None:
        return []
    if isinstance(value, (list, tuple)) and (_has_content(value) or value == ()):
        return [block for item in value for block in to_content(item)]
    if isinstance(value, ToolResult):
        return to_content(value.content)
    if isinstance(value, _BYTES):
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
    if isinstance(value, _BYTES):
        return [_binary(uri, bytes(value), mime_type or _OCTETS)]
    match _block(value):
        case EmbeddedResource(resource=resource):
            return [resource]
        case TextContent(text=text):
            return [ResourceContents(uri=uri, mime_type=mime_type or "text/plain", text=_text(text))]
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
    return _text(value) if isinstance(value, str) else _encode(value).decode()


def _text(text: str) -> str:
    """The same text as an exact `str` that UTF-8 can carry: a lone surrogate becomes U+FFFD."""
    text = str.__str__(text)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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
    return _text(value) if isinstance(value, str) else value


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


def _binary(uri: str, data: bytes, mime_type: str) -> ResourceContents:
    if _is_text(mime_type):
        try:
            return ResourceContents(uri=uri, mime_type=mime_type, text=data.decode())
        except UnicodeDecodeError:
            pass  # what is no UTF-8 can only travel as base64, whatever its type says
    return ResourceContents(uri=uri, mime_type=mime_type, blob=_base64(data))


def _is_text(mime_type: str) -> bool:
    return _TEXT_TYPES.fullmatch(mime_type.partition(";")[0].strip().lower()) is not None


def _guess(suffix: str) -> str | None:
    # An instance holds Python's own table, not the system's files, so that every machine gives the same answer.
    return mimetypes.MimeTypes().guess_type(f"file.{suffix}")[0] if suffix else None


def _suffix(path: str | Path | None) -> str:
    return Path(path or "").suffix.lower()[1:]


def _read(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
