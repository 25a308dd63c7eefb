"""A JSON file of somebody else's, with one entry of ours: read strictly, changed in one place, replaced in one step.

It refuses to touch what it does not understand, and to lose anything: comments, keys given twice, other entries.
"""

import json
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs


class UnusableFileError(Exception):
    """A file cannot be changed safely; `str()` says why."""


@attrs.frozen
class JsonFile:
    """What a file holds; of one that is not there, nothing.

    Attributes:
        path: the file itself, symbolic links followed.
        text: None where there is no file.
    """

    path: Path
    text: str | None
    document: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "JsonFile":
        """Read a file.

        Raises:
            UnusableFileError: it cannot be read, or is not one JSON object.
        """
        try:
            real = path.resolve()
            text = real.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return cls(real, None, {})
        except (OSError, UnicodeDecodeError, RuntimeError) as error:
            raise UnusableFileError(f"it cannot be read ({error})") from error
        if not text.strip():
            return cls(real, text, {})
        try:
            document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            comment = re.search(r"^\s*(//|/\*)", text, re.MULTILINE)
            why = "it has comments, which would be lost" if comment else f"it is not JSON ({error})"
            raise UnusableFileError(why) from error
        if not isinstance(document, dict):
            raise UnusableFileError("it is not a JSON object")
        return cls(real, text, document)

    def entry(self, key: str, name: str) -> Any:
        """The entry of that name, or None.

        Raises:
            UnusableFileError: what should hold the entries holds none.
        """
        return self._entries(key).get(name)

    def _entries(self, key: str) -> dict[str, Any]:
        entries = self.document.get(key, {})
        if not isinstance(entries, dict):
            raise UnusableFileError(f"its {json.dumps(key)} is not an object")
        return entries

    def with_entry(self, key: str, name: str, entry: Any) -> str:
        """The text of the file with this entry; the rest keeps its order and indentation."""
        document = {**self.document, key: {**self._entries(key), name: entry}}
        return json.dumps(document, indent=_indentation(self.text or ""), ensure_ascii=False) + "\n"

    def write(self, text: str, *, private: bool) -> Path | None:
        """Replace the file in one step; what it was goes to a file beside it, which is returned.

        A new file is for its owner only where it is `private`.

        Raises:
            OSError: it cannot be written; then it is as it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        backup = None
        if self.text is None:
            mode = 0o600 if private else 0o666 & ~_umask()
        else:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            backup = self.path.with_name(f"{self.path.name}.bak")
            shutil.copy2(self.path, backup)
        number, temporary = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with open(number, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return backup


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnusableFileError(f"{json.dumps(twice)} stands twice in one object of it")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _indentation(text: str) -> int | str:
    """That of the first indented line; two spaces where there is none."""
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return found[1] if found else 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
