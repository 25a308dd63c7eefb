"""TARGET: from what somebody typed to the `Server` that is meant.

It owns the forms (`file.py`, `file.py:name`, `module`, `module:name`) and what each fault is called. A module that is
named is run, as Python does: this is the place where everything is caught that an author's module may raise. It refuses
to start anything.
"""

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import attrs

from trio_mcp.cli.errors import CliError, one_line, told
from trio_mcp.server import Server

DEFAULT_NAMES: Final = ("mcp", "server", "app")
SHOW_WHERE: Final = "--debug shows where"
_LISTED: Final = 8

FORMS: Final = "file.py, file.py:name, module or module:name"


@attrs.frozen
class Target:
    """What was typed, taken apart.

    Attributes:
        source: a file's path or a module's dotted name.
        name: the name in it, dotted where it is an attribute of something; None looks for the usual ones.
    """

    source: str
    name: str | None
    is_file: bool

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Take a target apart.

        Raises:
            CliError: it has none of the forms.
        """
        source, colon, name = text.rpartition(":")
        if not colon or os.sep in name or name.endswith(".py"):  # C:\folder\file.py has a colon, too
            source, name, colon = text, "", ""
        is_file = source.endswith(".py") or os.sep in source or "/" in source or Path(source).is_file()
        if not source or (colon and not _dotted(name)) or not (is_file or _dotted(source)):
            hint = f": did you mean {source}.py?" if Path(f"{source}.py").is_file() else ""
            raise CliError(f"{text!r} is no target: write {FORMS}{hint}")
        return cls(source, name or None, is_file)

    def named(self, name: str) -> str:
        """How to type this target with a name."""
        return f"{self.source}:{name}"


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def load(text: str) -> Server:
    """Import what a target names and find the server in it.

    What the module prints meanwhile goes to stderr: stdout may be the protocol's.

    Raises:
        CliError: with the reason and what to do.
    """
    target = Target.parse(text)
    with redirect_stdout(sys.stderr):
        module = _import_file(target) if target.is_file else _import_module(target)
        return _found(target, module) if target.name is None else _named(target, module, target.name)


# Importing


def _import_file(target: Target) -> ModuleType:
    path = Path(target.source)
    if path.is_dir():
        raise CliError(f"{target.source} is a folder: name a file in it")
    if not path.exists():
        raise CliError(f"there is no file {target.source} in {Path.cwd()}" + _similar(path))
    if path.suffix != ".py":
        raise CliError(f"{target.source} is no Python file: its name must end in .py")
    path = path.resolve()
    _put_first(str(path.parent))
    # Under its own name, so that what it defines can be found again, unless that would replace another module.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}_target"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise CliError(_import_failed(target, error, str(path))) from error
    return module


def _import_module(target: Target) -> ModuleType:
    _put_first(str(Path.cwd()))
    try:
        return importlib.import_module(target.source)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{target.source}.".startswith(f"{error.name}."):
            raise CliError(_import_failed(target, error, None)) from error
        parent, _, last = target.source.rpartition(".")
        hint = f": did you mean {parent}:{last}?" if parent in sys.modules else ""
        raise CliError(f"there is no module {error.name} in {Path.cwd()} or this Python's packages{hint}") from error
    except (Exception, SystemExit) as error:
        raise CliError(_import_failed(target, error, None)) from error


def _put_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _similar(path: Path) -> str:
    others = sorted(other.name for other in path.parent.glob("*.py")) if path.parent.is_dir() else []
    return f": there are {_listed(others)}" if others else ""


def _import_failed(target: Target, error: BaseException, file: str | None) -> str:
    """What happened, and the line of the author's own file where it did."""
    reason = f"it called sys.exit({error.code!r})" if isinstance(error, SystemExit) else told(error)
    if isinstance(error, ImportError) and "relative import" in str(error):
        return f"cannot import {target.source}: it belongs to a package, so give it as package.module ({reason})"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if lines and not isinstance(error, SyntaxError):  # its text has the line already
        reason += f", line {lines[-1]}"
    if isinstance(error, ModuleNotFoundError):
        reason += f"; is it installed for {sys.executable}?"
    return f"cannot import {target.source}: {reason} ({SHOW_WHERE})"


# Finding


def _found(target: Target, module: ModuleType) -> Server:
    """The server under one of the usual names, else the only one there is."""
    for name in DEFAULT_NAMES:
        value = getattr(module, name, None)
        if isinstance(value, Server):
            return value
    servers: dict[int, tuple[str, Server]] = {}
    for name, value in vars(module).items():
        if isinstance(value, Server):
            servers.setdefault(id(value), (name, value))
    if not servers:
        raise CliError(_nothing_found(target, module))
    if len(servers) > 1:
        names = [name for name, _ in servers.values()]
        raise CliError(f"{target.source} holds the servers {_listed(names)}: name one, as in {target.named(names[0])}")
    return next(iter(servers.values()))[1]


def _named(target: Target, module: ModuleType, name: str) -> Server:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            own = _listed(sorted(key for key in vars(module) if not key.startswith("_")))
            raise CliError(f"{target.source} has no {name}; it has {own or 'nothing'}") from error
    if isinstance(value, Server):
        return value
    if not callable(value):
        raise CliError(f"{target.named(name)} is {_kind(value)}: name a Server, or a function that returns one")
    return _made(target.named(name), value)


def _made(named: str, factory: Any) -> Server:
    try:
        value = factory()
    except (Exception, SystemExit) as error:
        raise CliError(f"{named}() failed: {told(error)} ({SHOW_WHERE})") from error
    if isinstance(value, Server):
        return value
    if inspect.iscoroutine(value):
        value.close()
        raise CliError(
            f"{named} is async: a function that makes a Server is a plain one; what awaits goes to lifespan="
        )
    raise CliError(f"{named}() returned {_kind(value)}: it must return a Server")


def _nothing_found(target: Target, module: ModuleType) -> str:
    """Every public thing that the module itself defines, so that a factory or a typing error is seen."""
    own = [
        f"{name} ({_kind(value)})"
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    ]
    there = f"it has {_listed(own)}" if own else "it defines nothing"
    advice = f"write mcp = Server(…), or name a function that returns one, as in {target.named('make_server')}"
    return f"there is no Server in {target.source}; {there}: {advice}"


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {one_line(name)}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
