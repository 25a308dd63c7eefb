"""`.env`: the only place that knows python-dotenv (extra `dotenv`), loaded when there is something to read.

It refuses to put anything into the environment: lines that are not this command's are left alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from trio_mcp.cli.errors import CliError

HINT = "needs python-dotenv to be read: pip install 'trio-mcp[dotenv]'"


def names_in(path: Path, prefix: str) -> list[str]:
    """The names beginning with `prefix` that a file seems to give, found without any parser."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.findall(rf"^[ \t]*(?:export[ \t]+)?({prefix}\w*)[ \t]*=", text, re.MULTILINE)


def read_dotenv(path: Path, example: str) -> Iterator[tuple[str, str, int]]:
    """Each name with its value and line; of names given twice the last counts. `${NAME}` stands for another's value.

    Args:
        example: a name in it, for the error that says that it cannot be read.

    Raises:
        CliError: python-dotenv is not installed, or a line cannot be read.
    """
    try:
        from dotenv import dotenv_values
        from dotenv.parser import parse_stream
    except ImportError as error:
        raise CliError(f"{path.name} gives {example}, and {HINT}") from error
    lines: dict[str, int] = {}
    with path.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            blank = len(binding.original.string) - len(binding.original.string.lstrip())
            line = binding.original.line + binding.original.string[:blank].count("\n")
            if binding.error:
                raise CliError(f"{path.name} line {line} cannot be read: write NAME=value")
            if binding.key is not None:
                lines[binding.key] = line
    for name, value in dotenv_values(path, encoding="utf-8").items():
        if value is not None:
            yield name, value, lines[name]
