"""`trio-mcp settings`: what a server would be served with, and where each value came from.

It owns the layout. It takes what `trio-mcp serve` takes, so that the answer is the one for that command; it refuses
to show a secret, and to serve.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import click
import msgspec
from click.core import ParameterSource

from trio_mcp import demo
from trio_mcp.cli.errors import tracebacks
from trio_mcp.cli.options import SETTINGS, flags_of
from trio_mcp.cli.serve import say_warnings, serve_command
from trio_mcp.cli.sources import Given, configurable, is_secret, sources_of
from trio_mcp.cli.target import load
from trio_mcp.cli.values import applied
from trio_mcp.settings import Settings

#: Options that are no settings of what is served.
NOT_SHOWN: Final = ("config", "debug", "target")


@attrs.frozen
class Row:
    """One setting as it counts.

    Attributes:
        value: as JSON has it; for a secret, whether it is set.
        source: where it came from, for people.
    """

    name: str
    value: Any
    source: str


class _Settings(click.Command):
    """A command that takes what `serve` takes, and explains only what is its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that are not those of `serve`, and `--config`."""
        own = [one for one in self.get_params(ctx) if one not in serve_command.params or one.name == "config"]
        with formatter.section("Options, beside those of trio-mcp serve"):
            formatter.write_dl([record for one in own if (record := one.get_help_record(ctx)) is not None])


@click.command("settings", cls=_Settings, params=[*serve_command.params], options_metavar="[OPTIONS OF SERVE]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: a value and its source for each name.")
@click.pass_context
def settings_command(context: click.Context, /, target: str | None, debug: bool, as_json: bool, **options: Any) -> None:
    """Print the settings that count, and where each came from.

    It takes TARGET and all options of `trio-mcp serve`, and answers for a `serve` with the same. Each name can be
    given, in this order of precedence, as

    \b
    a flag                       --tool-timeout 30, or --set tool_timeout=30
    an environment variable      TRIO_MCP_TOOL_TIMEOUT=30
    a line of .env               TRIO_MCP_TOOL_TIMEOUT=30     (pip install 'trio-mcp[dotenv]')
    a line of trio-mcp.toml      tool_timeout = 30
    the server's own code        Server(…, settings=Settings(tool_timeout=30))

    and has its default otherwise. Secrets are shown as set or not set. Lists are texts with commas; none is no value.
    """
    say_warnings(context)
    given = sources_of(context).given
    with tracebacks(debug):
        own = (demo.mcp if target is None else load(target)).settings
        settings = applied(own, given, flags_of(options))
    served, fields = served_rows(context, given), field_rows(settings, own, context, given)
    if as_json:
        found = {row.name: {"value": row.value, "source": row.source} for row in (*served, *fields)}
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        click.echo("\n".join(layout(served, fields)))


def served_rows(context: click.Context, given: Mapping[str, Given]) -> list[Row]:
    """How it is served: the options that are no field of `Settings`."""
    rows = []
    for name, parameter in configurable(serve_command, SETTINGS).items():
        if name not in NOT_SHOWN:
            source = context.get_parameter_source(name)
            if source is ParameterSource.COMMANDLINE:
                said = max((*parameter.opts, *parameter.secondary_opts), key=len)
            else:
                said = given[name].source if source is ParameterSource.DEFAULT_MAP else "default"
            rows.append(_row(name, context.params[name], said))
    return rows


def field_rows(settings: Settings, own: Settings, context: click.Context, given: Mapping[str, Given]) -> list[Row]:
    """The fields of `Settings`, in their order; `own` is what the server's code says."""
    flags = {
        SETTINGS[parameter.name]: max(parameter.opts, key=len)
        for parameter in serve_command.params
        if parameter.name in SETTINGS and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    } | {name: one.spelled for name, one in context.params["settings"].items()}
    rows = []
    for field in attrs.fields(Settings):
        if field.name in flags:
            said = flags[field.name]
        elif field.name in given:
            said = given[field.name].source
        else:
            said = "default" if getattr(own, field.name) == field.default else "the server's code"
        rows.append(_row(field.name, getattr(settings, field.name), said))
    return rows


def _row(name: str, value: Any, source: str) -> Row:
    if is_secret(name):
        return Row(name, "set" if value else "not set", source)
    return Row(name, msgspec.to_builtins(value), source)


def layout(served: list[Row], fields: list[Row]) -> Iterator[str]:
    """Two aligned tables."""
    cells = [[(row.name, _shown(row.value), row.source) for row in rows] for rows in (served, fields)]
    widths = [max(len(row[column]) for rows in cells for row in rows) for column in (0, 1)]
    for title, rows in zip(("Served", "Settings"), cells, strict=True):
        yield title
        for name, value, source in rows:
            yield f"  {name.ljust(widths[0])}  {value.ljust(widths[1])}  {source}".rstrip()
        if title == "Served":
            yield ""


def _shown(value: Any) -> str:
    if value is None or value in ([], ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
