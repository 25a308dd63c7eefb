"""`Image`, `Audio` and `File`: bytes or a file, with a MIME type, as content.

Owns: telling the MIME type, and whether bytes travel as text or as base64. Refuses: every other value (`returns`).

`Image(path=…)` and the like read their file when they are converted, in the calling thread and without a limit:
convert in a worker thread where the disk may be slow.
"""

import mimetypes
import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from trio_mcp.wire.content import (
    Annotations,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    ResourceContents,
)

BYTES: Final = (bytes, bytearray, memoryview)
OCTETS: Final = "application/octet-stream"

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
        if data is not None and not isinstance(data, BYTES):
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
        if data is not None and not isinstance(data, (str, *BYTES)):
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
            return ResourceContents(uri=place, mime_type=found, text=well_formed(self.data))
        data = _read(self.path) if self.path is not None else bytes(self.data or b"")
        return binary_contents(place, data, found)

    def _mime_type(self, default: str | None) -> str:
        if self.mime_type:
            return self.mime_type
        if self.format:
            name = self.format.lower().removeprefix(".")
            return name if "/" in name else _FILE_TYPES.get(name) or _guess(name) or f"application/{name}"
        suffix = _suffix(self.name or self.path)
        fallback = "text/plain" if isinstance(self.data, str) else OCTETS
        return default or _FILE_TYPES.get(suffix) or _guess(suffix) or fallback

    def _name(self, mime_type: str) -> str:
        if self.name or self.path is not None:
            return self.name or Path(self.path or "").name
        if self.format and "/" not in self.format:
            return f"file.{self.format.lower().removeprefix('.')}"
        suffix = next((suffix for suffix, known in _FILE_TYPES.items() if known == mime_type), None)
        return f"file.{suffix}" if suffix else f"file{mimetypes.MimeTypes().guess_extension(mime_type) or '.bin'}"


def binary_contents(uri: str, data: bytes, mime_type: str) -> ResourceContents:
    """Bytes under `uri`: as text where `mime_type` is a text type and they are UTF-8, else as base64."""
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


def well_formed(text: str) -> str:
    """The same text as an exact `str` that UTF-8 can carry: a lone surrogate becomes U+FFFD."""
    text = str.__str__(text)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
