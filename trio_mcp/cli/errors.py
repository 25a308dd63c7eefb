"""What a command tells when it cannot do its work: one line for people, the traceback only for those who ask."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

LONGEST: Final = 500
"""Characters of somebody else's message that are shown."""

CANNOT_BEGIN: Final = 2
FAILED: Final = 1


class CliError(Exception):
    """A command gives up: `str()` says in one line why, and what to do; its cause is what `--debug` shows."""

    def __init__(self, message: str, *, exit_code: int = CANNOT_BEGIN) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def one_line(text: str) -> str:
    """Text without line breaks and not endless."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[:LONGEST]}…"


def leaves(error: BaseException) -> list[BaseException]:
    """The errors inside the groups that nurseries make."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]


def told(error: BaseException) -> str:
    """An error's type and text in one line; the first of a group, and how many more there are."""
    first, *more = leaves(error)
    text = one_line(str(first))
    line = f"{type(first).__name__}: {text}" if text else type(first).__name__
    return f"{line} (and {len(more)} more)" if more else line


@contextmanager
def tracebacks(shown: bool) -> Iterator[None]:
    """Show the traceback of what made a command give up, before the line that says so."""
    try:
        yield
    except CliError as error:
        if shown and error.__cause__ is not None:
            click.echo("".join(traceback.format_exception(error.__cause__)), err=True, nl=False)
        raise
