"""The options of `trio-mcp serve`: their names, their words, and which field of `Settings` each is.

It refuses to act on them: the command does.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs
import click

from trio_mcp.cli.auth import AUTH_OPTIONS, auth_options
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.sources import META, Given, configurable, option_defaults, read_sources
from trio_mcp.cli.values import converted, parse_assignment
from trio_mcp.protocol.revisions import PER_REQUEST_VERSIONS
from trio_mcp.settings import HEARTBEATS, TRANSPORTS, Settings

F = TypeVar("F", bound=Callable[..., Any])
EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

SECONDS: Final = click.FloatRange(min=0, min_open=True)
PEM: Final = click.Path(exists=True, dir_okay=False, readable=True)

#: Options that are a field of `Settings`, and its name; one that is not given leaves the server's own setting alone.
SETTINGS: Final = {
    "path": "path",
    "json_response": "json_response",
    "allowed_host": "allowed_hosts",
    "allowed_origin": "allowed_origins",
    "tool_timeout": "tool_timeout",
    "session_idle": "session_idle",
    "shutdown_grace": "shutdown_grace",
    "access_log": "access_log",
    "trusted_proxy": "trusted_proxies",
    "https_redirect": "https_redirect",
    "hsts": "hsts",
    "rate_limit": "rate_limit",
    "only": "transports",
    "sse_heartbeat": "sse_heartbeat",
    "routes": "operational_routes",
    "metrics": "metrics",
    "call_log": "call_log",
    "docs_page": "docs_page",
    "introspection": "introspection",
    "resource_url": "resource_url",
    "authorization_server": "authorization_servers",
}
#: Options for a field that means something to a pipe, too.
ALSO_STDIO: Final = ("tool_timeout", "call_log")
#: Options that mean nothing to a pipe.
HTTP_ONLY: Final = (
    "host",
    "port",
    "workers",
    "reload",
    "reload_dir",
    "reload_include",
    "certfile",
    "keyfile",
    "redirect_port",
    "event_store",
    *AUTH_OPTIONS,
    *(name for name in SETTINGS if name not in ALSO_STDIO),
)


def _read_elsewhere(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Take what is given in the environment, `.env` and `trio-mcp.toml` as defaults of the options."""
    if context.resilient_parsing:
        return value
    options = configurable(context.command, SETTINGS)
    sources = read_sources({*options, *(field.name for field in attrs.fields(Settings))}, config=value)
    context.meta[META] = sources
    context.default_map = option_defaults(context, options, sources.given)
    return value


def _assignments(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, Given]:
    try:
        return {given.name: given for given in map(parse_assignment, value)}
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def flags_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Settings` that were given as flags.

    Raises:
        CliError: a value of `--set` that cannot be.
    """
    flags = {SETTINGS[name]: value for name, value in options.items() if name in SETTINGS and value not in (None, ())}
    for name, one in options.get("settings", EMPTY).items():
        if name in flags:
            raise CliError(f"{name} is given twice: as an option and with --set")
        try:
            flags[name] = converted(getattr(attrs.fields(Settings), name).type, one.value)
        except ValueError as error:
            raise one.fault(str(error)) from error
    return flags


#: In the order that `--help` shows them.
OPTIONS: Final[tuple[Callable[[Any], Any], ...]] = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8000,
        show_default=True,
        help="Port to listen on; 0 takes a free one and says which.",
    ),
    click.option(
        "--transport",
        type=click.Choice(["http", "stdio"]),
        default="http",
        show_default=True,
        help="http serves many clients; stdio serves the one that started this command, through its pipes.",
    ),
    click.option("--path", help="Path of the MCP endpoint.  [default: the server's own, else /mcp]"),
    click.option(
        "--json-response/--sse-response",
        default=None,
        help="Answer calls always as one JSON body, or always as an event stream.  [default: what fits each answer]",
    ),
    click.option(
        "--allowed-host",
        multiple=True,
        metavar="NAME",
        help="Host name to answer for, such as mcp.example.org or *.example.org; may be repeated; '*' for any."
        "  [default: loopback names on a loopback address, else any]",
    ),
    click.option(
        "--allowed-origin",
        multiple=True,
        metavar="ORIGIN",
        help="Origin of web pages that may call, such as https://app.example.org; may be repeated; '*' for any."
        "  [default: those of the allowed hosts]",
    ),
    click.option("--certfile", type=PEM, help="PEM file with the certificate chain, to serve HTTPS; needs --keyfile."),
    click.option("--keyfile", type=PEM, help="PEM file with the certificate's private key."),
    click.option(
        "--tool-timeout", type=SECONDS, metavar="SECONDS", help="Longest a tool may run.  [default: no limit]"
    ),
    click.option(
        "--session-idle", type=SECONDS, metavar="SECONDS", help="Silence after which a session ends.  [default: 1800]"
    ),
    click.option(
        "--shutdown-grace",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="How long calls in flight may go on once told to stop; a second Ctrl-C cuts it short.  [default: 5]",
    ),
    click.option(
        "--trusted-proxy",
        multiple=True,
        metavar="ADDRESS",
        help="Address or network of a proxy whose X-Forwarded-For and X-Forwarded-Proto are believed, such as"
        " 10.0.0.0/8;"
        " may be repeated.  [default: nobody]",
    ),
    click.option(
        "--redirect-port",
        type=click.IntRange(0, 65535),
        help="With a certificate: port that sends plain HTTP to HTTPS, such as 80.  [default: none]",
    ),
    click.option(
        "--https-redirect/--no-https-redirect",
        default=None,
        help="Send what a trusted proxy took over plain HTTP to HTTPS.  [default: no]",
    ),
    click.option(
        "--hsts",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Tell browsers to keep to HTTPS for so long, such as 31536000, a year.  [default: nothing is told]",
    ),
    click.option(
        "--rate-limit",
        metavar="RATE",
        help="Requests of one client, such as 10/minute; more are refused with 429.  [default: no limit]",
    ),
    click.option(
        "--only",
        multiple=True,
        type=click.Choice(TRANSPORTS),
        metavar="NAME",
        help="Serve only this; may be repeated. http: Streamable HTTP at /mcp. sse: GET /sse and POST /messages."
        " notifications: GET /notifications and POST /mcp?session_id=. message: POST /message. websocket: /ws."
        "  [default: all of them]",
    ),
    click.option(
        "--sse-heartbeat",
        type=click.Choice(HEARTBEATS),
        default=None,
        help="What breaks the silence of GET /sse: a comment, or an event that a page can listen to (connected, then"
        " heartbeat).  [default: comment]",
    ),
    click.option(
        "--event-store",
        metavar="PATH.db",
        help="Keep sessions and what was sent in this SQLite file, so that clients can go on after a restart; made"
        " if there"
        " is none. Needs trio-mcp[sqlite].  [default: in memory]",
    ),
    click.option(
        "--docs-page/--no-docs-page",
        default=None,
        help="Serve /docs, a page to look at this server and call it.  [default: yes]",
    ),
    click.option(
        "--introspection/--no-introspection",
        default=None,
        help="Show live sessions, calls and tasks at /introspection: to the operator, or without authentication to"
        " this machine.  [default: yes]",
    ),
    auth_options,
    click.option(
        "--access-log/--no-access-log", default=None, help="Log each HTTP request, at level info.  [default: no]"
    ),
    click.option(
        "--routes/--no-routes",
        default=None,
        help="Answer /health, /ready, /metrics, /tools, /resources, /prompts and /openapi.json.  [default: yes]",
    ),
    click.option(
        "--metrics/--no-metrics",
        default=None,
        help="Count calls and requests, and show it at /metrics; needs the extra metrics.  [default: yes]",
    ),
    click.option(
        "--call-log/--no-call-log",
        default=None,
        help="Log each finished call with method, tool, duration and outcome, at level info.  [default: no]",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        default="info",
        show_default=True,
        help="Least weight of what is logged, on stderr.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Processes that share the address; one that dies is started again. Sessions live in one process, so"
        " with more"
        f" than one only clients that need none are served (protocol {', '.join(PER_REQUEST_VERSIONS)}).",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="text for people, coloured on a terminal unless NO_COLOR is set; json for programs, an object a line.",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_assignments,
        help="Any field of Settings, such as max_body=1048576; may be repeated. trio-mcp settings shows them all.",
    ),
    click.option(
        "--config",
        type=click.Path(dir_okay=False),
        is_eager=True,
        callback=_read_elsewhere,
        help="TOML file with settings: any option above as name = value (tool_timeout = 30), and any field of Settings."
        "  [default: trio-mcp.toml, if there is one here]",
    ),
    click.option(
        "--reload",
        is_flag=True,
        help="For development: serve again when a Python file changes. Sessions end properly, connections wait for"
        " the new"
        " server; one that cannot be loaded is told and waited out. Needs pip install 'trio-mcp[reload]'.",
    ),
    click.option(
        "--reload-dir",
        multiple=True,
        type=click.Path(exists=True, file_okay=False),
        metavar="FOLDER",
        help="Folder to watch with --reload, and all below it; may be repeated.  [default: this one, and that of"
        " TARGET]",
    ),
    click.option(
        "--reload-include",
        multiple=True,
        metavar="PATTERN",
        help="Files to watch with --reload beside *.py, such as '*.json' or 'templates/*'; may be repeated.",
    ),
    click.option(
        "--debug", is_flag=True, help="Log at level debug, and show the traceback when something cannot begin."
    ),
)


def serve_options(command: F) -> F:
    """Give a command all of them."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
