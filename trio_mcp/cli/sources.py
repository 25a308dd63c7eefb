"""Where settings come from beside flags: the environment, `.env`, `trio-mcp.toml`; the first that has a name wins.

It owns the names (`TRIO_MCP_PORT`, `port`), the places that errors speak of, and what becomes of a name that nothing
knows. It refuses to know what a value means: `values` and the options themselves do.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click

from trio_mcp.cli.dotenv_file import names_in, read_dotenv
from trio_mcp.cli.errors import CliError, one_line
from trio_mcp.settings import Settings

PREFIX: Final = "TRIO_MCP_"
DOTENV: Final = ".env"
FILE: Final = "trio-mcp.toml"
#: Where the sources of one command are kept: a key of `click.Context.meta`.
META: Final = "trio_mcp.sources"

_SECRET: Final = re.compile(r"(secret|token|password)s?$")


def is_secret(name: str) -> bool:
    """Whether values of a name are never shown: fields that `Settings` leaves out of its repr, names that say so."""
    field: Any = getattr(attrs.fields(Settings), name, None)
    return (field is not None and field.repr is False) or _SECRET.search(name) is not None


@attrs.frozen
class Given:
    """One value as somebody wrote it.

    Attributes:
        name: of the setting.
        spelled: how it is called where it stands.
        value: text, or what TOML has.
        where: the place, empty for a flag.
    """

    name: str
    spelled: str
    value: Any = attrs.field(repr=False)
    where: str

    @property
    def source(self) -> str:
        """Name and place, for people."""
        return f"{self.spelled} in {self.where}" if self.where else self.spelled

    def fault(self, reason: str) -> CliError:
        """The error that says where a value stands and what it must be; a secret is not shown."""
        if is_secret(self.name):
            return CliError(
                f"{self.source}: {reason}" if str(self.value) not in reason else f"{self.source}: cannot be"
            )
        return CliError(one_line(f"{self.spelled}={self.value!r}{' in ' if self.where else ''}{self.where}: {reason}"))


@attrs.frozen
class Sources:
    """What was found.

    Attributes:
        given: what counts, by name.
        stray: variables that begin with `TRIO_MCP_` and are no setting.
        names: what can be set.
    """

    given: Mapping[str, Given] = attrs.field(factory=dict)
    stray: Sequence[Given] = ()
    names: Collection[str] = ()

    def warnings(self, used: Iterable[str] = ()) -> Iterator[str]:
        """A line for each stray variable, unless it is `used` for something else (a token that an option names)."""
        for given in self.stray:
            if given.spelled not in used:
                yield f"{given.source} is no setting and does nothing{_meant(given.name, self.names, PREFIX)}"


def read_sources(
    names: Collection[str],
    *,
    config: str | None = None,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Sources:
    """Read all three places.

    Args:
        names: what can be set.
        config: a file in place of `trio-mcp.toml`.
        folder: where `.env` and `trio-mcp.toml` are looked for; None: the working directory.

    Raises:
        CliError: a file cannot be read, or `trio-mcp.toml` has a key that is no setting.
    """
    folder = Path.cwd() if folder is None else folder
    given: dict[str, Given] = {}
    stray: list[Given] = []
    variables = (*_from_environment(environ), *_from_dotenv(folder / DOTENV, environ))
    for one in variables:
        if not one.name.islower() or one.name not in names:
            stray.append(one)
        elif one.value:  # empty is how compose files and shells say "not set"
            given.setdefault(one.name, one)
    if config is None and "config" in given:
        config = str(given["config"].value)
    for one in _from_toml(folder / (config or FILE), names, wanted=config is not None):
        given.setdefault(one.name, one)
    return Sources(given, stray, names)


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for spelled in sorted(environ):
        if spelled.startswith(PREFIX):
            yield Given(_name(spelled), spelled, environ[spelled], "the environment")


def _name(spelled: str) -> str:
    """`TRIO_MCP_PORT` is port; another spelling stays as it is, which is the name of nothing."""
    rest = spelled.removeprefix(PREFIX)
    return rest.lower() if rest == rest.upper() else rest


def _from_dotenv(path: Path, environ: Mapping[str, str]) -> Iterator[Given]:
    if not path.is_file():
        return
    missing = [name for name in names_in(path, PREFIX) if name not in environ]
    if missing:
        for spelled, value, line in read_dotenv(path, missing[0]):
            if spelled.startswith(PREFIX):
                yield Given(_name(spelled), spelled, value, f"{DOTENV} line {line}")


def _from_toml(path: Path, names: Collection[str], *, wanted: bool) -> Iterator[Given]:
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError as error:
        if wanted:
            raise CliError(f"there is no file {path}, which was named as the configuration") from error
        return
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"cannot read {path.name}: {one_line(str(error))}") from error
    except tomllib.TOMLDecodeError as error:
        raise CliError(f"{path.name} is not TOML: {one_line(str(error))}") from error
    for key, value in values.items():
        given = Given(key, key, value, f"{path.name}{_line_of(key, text)}")
        if key not in names or key == "config":
            raise CliError(f"{given.source} is no setting{_meant(key, names)}")
        yield given


def _line_of(key: str, text: str) -> str:
    """The line of a key at the top of a TOML file; tomllib does not say."""
    pattern = re.compile(rf"\s*\[?[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    return next((f" line {number}" for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), "")


def _meant(name: str, names: Collection[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(name.lower().replace("-", "_"), sorted(names), n=1, cutoff=0.6)
    if not close:
        return ": trio-mcp settings shows what there is"
    return f": did you mean {prefix}{close[0].upper() if prefix else close[0]}?"


# Options of a command


def configurable(command: click.Command, fields: Mapping[str, str]) -> dict[str, click.Parameter]:
    """The parameters of a command that can be set from elsewhere: none that is hidden, or a flag for a field.

    Args:
        fields: parameters that are a field of `Settings`, which has its own name.
    """
    return {
        parameter.name: parameter
        for parameter in command.params
        if parameter.name is not None
        and parameter.name not in fields
        and parameter.name not in ("settings", "as_json")
        and not getattr(parameter, "hidden", False)
    }


def option_defaults(
    context: click.Context, parameters: Mapping[str, click.Parameter], given: Mapping[str, Given]
) -> dict[str, Any]:
    """What was given for options, as a `default_map`.

    Raises:
        CliError: a value that an option does not take.
    """
    defaults = {}
    for name, parameter in parameters.items():
        if name in given and name != "config":
            value = _as_typed(given[name], parameter)
            try:
                parameter.type_cast_value(context, value)
            except click.BadParameter as error:
                raise given[name].fault(error.message.rstrip(".")) from error
            defaults[name] = value
    return defaults


def _as_typed(given: Given, parameter: click.Parameter) -> Any:
    """A value as it would be typed: text, or a list of it where an option may be repeated."""
    value = given.value
    if parameter.multiple:
        values = value.split(",") if isinstance(value, str) else value
        if isinstance(values, list) and all(isinstance(one, (str, int, float)) for one in values):
            return [str(one).strip() for one in values]
        raise given.fault("must be a list")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    raise given.fault("must be one value")


def sources_of(context: click.Context) -> Sources:
    """What `--config` left for the command."""
    found: Sources = context.meta.get(META, Sources())
    return found
