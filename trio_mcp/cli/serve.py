"""`trio-mcp serve`: options to settings, signals to exit codes, faults to one line.

It owns the banner, and what wins of flags and other sources. stdout stays untouched: on stdio it is the
protocol's. It refuses to put servers together: `trio_mcp.serve` does.
"""

import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs
import click
import trio

from trio_mcp import demo
from trio_mcp.cli.errors import CANNOT_BEGIN, FAILED, CliError, leaves, told, tracebacks
from trio_mcp.cli.logs import set_up_logging
from trio_mcp.cli.reload import run_reloading
from trio_mcp.cli.sources import META, Given, configurable, option_defaults, read_sources, sources_of
from trio_mcp.cli.supervisor import Bounds
from trio_mcp.cli.target import SHOW_WHERE, Target, load
from trio_mcp.cli.values import applied, converted, parse_assignment
from trio_mcp.cli.watch import check_watcher
from trio_mcp.cli.workers import Worker, check_platform, run_workers
from trio_mcp.http.worker import listen_on
from trio_mcp.protocol.revisions import PER_REQUEST_VERSIONS
from trio_mcp.runtime.sqlite_store import SQLiteEventStore
from trio_mcp.serve import Shutdown, run_until_signal, serve_http, serve_stdio
from trio_mcp.server import Lifespan, Server
from trio_mcp.settings import HEARTBEATS, TRANSPORTS, Settings

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
    "event_store",
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


@click.command("serve")
@click.argument("target", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one and says which.",
)
@click.option(
    "--transport",
    type=click.Choice(["http", "stdio"]),
    default="http",
    show_default=True,
    help="http serves many clients; stdio serves the one that started this command, through its pipes.",
)
@click.option("--path", help="Path of the MCP endpoint.  [default: the server's own, else /mcp]")
@click.option(
    "--json-response/--sse-response",
    default=None,
    help="Answer calls always as one JSON body, or always as an event stream.  [default: what fits each answer]",
)
@click.option(
    "--allowed-host",
    multiple=True,
    metavar="NAME",
    help="Host name to answer for, such as mcp.example.org or *.example.org; may be repeated; '*' for any."
    "  [default: loopback names on a loopback address, else any]",
)
@click.option(
    "--allowed-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Origin of web pages that may call, such as https://app.example.org; may be repeated; '*' for any."
    "  [default: those of the allowed hosts]",
)
@click.option("--certfile", type=PEM, help="PEM file with the certificate chain, to serve HTTPS; needs --keyfile.")
@click.option("--keyfile", type=PEM, help="PEM file with the certificate's private key.")
@click.option("--tool-timeout", type=SECONDS, metavar="SECONDS", help="Longest a tool may run.  [default: no limit]")
@click.option(
    "--session-idle", type=SECONDS, metavar="SECONDS", help="Silence after which a session ends.  [default: 1800]"
)
@click.option(
    "--shutdown-grace",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long calls in flight may go on once told to stop; a second Ctrl-C cuts it short.  [default: 5]",
)
@click.option(
    "--trusted-proxy",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network of a proxy whose X-Forwarded-For and X-Forwarded-Proto are believed, such as 10.0.0.0/8;"
    " may be repeated.  [default: nobody]",
)
@click.option(
    "--https-redirect/--no-https-redirect",
    default=None,
    help="Send what comes over plain HTTP to HTTPS.  [default: no]",
)
@click.option(
    "--hsts",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Tell browsers to keep to HTTPS for so long, such as 31536000, a year.  [default: nothing is told]",
)
@click.option(
    "--rate-limit",
    metavar="RATE",
    help="Requests of one client, such as 10/minute; more are refused with 429.  [default: no limit]",
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(TRANSPORTS),
    metavar="NAME",
    help="Serve only this; may be repeated. http: Streamable HTTP at /mcp. sse: GET /sse and POST /messages."
    " notifications: GET /notifications and POST /mcp?session_id=. message: POST /message. websocket: /ws."
    "  [default: all of them]",
)
@click.option(
    "--sse-heartbeat",
    type=click.Choice(HEARTBEATS),
    default=None,
    help="What breaks the silence of GET /sse: a comment, or an event that a page can listen to (connected, then"
    " heartbeat).  [default: comment]",
)
@click.option(
    "--event-store",
    metavar="PATH.db",
    help="Keep sessions and what was sent in this SQLite file, so that clients can go on after a restart; made if there"
    " is none. Needs trio-mcp[sqlite].  [default: in memory]",
)
@click.option(
    "--docs-page/--no-docs-page",
    default=None,
    help="Serve /docs, a page to look at this server and call it.  [default: yes]",
)
@click.option(
    "--introspection/--no-introspection",
    default=None,
    help="Show live sessions, calls and tasks at /introspection: to the operator, or without authentication to"
    " this machine.  [default: yes]",
)
@click.option("--access-log/--no-access-log", default=None, help="Log each HTTP request, at level info.  [default: no]")
@click.option(
    "--routes/--no-routes",
    default=None,
    help="Answer /health, /ready, /metrics, /tools, /resources, /prompts and /openapi.json.  [default: yes]",
)
@click.option(
    "--metrics/--no-metrics",
    default=None,
    help="Count calls and requests, and show it at /metrics; needs the extra metrics.  [default: yes]",
)
@click.option(
    "--call-log/--no-call-log",
    default=None,
    help="Log each finished call with method, tool, duration and outcome, at level info.  [default: no]",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="Least weight of what is logged, on stderr.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the address; one that dies is started again. Sessions live in one process, so with more"
    f" than one only clients that need none are served (protocol {', '.join(PER_REQUEST_VERSIONS)}).",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text for people, coloured on a terminal unless NO_COLOR is set; json for programs, an object a line.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_assignments,
    help="Any field of Settings, such as max_body=1048576; may be repeated. trio-mcp settings shows them all.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    is_eager=True,
    callback=_read_elsewhere,
    help="TOML file with settings: any option above as name = value (tool_timeout = 30), and any field of Settings."
    "  [default: trio-mcp.toml, if there is one here]",
)
@click.option(
    "--reload",
    is_flag=True,
    help="For development: serve again when a Python file changes. Sessions end properly, connections wait for the new"
    " server; one that cannot be loaded is told and waited out. Needs pip install 'trio-mcp[reload]'.",
)
@click.option(
    "--reload-dir",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="Folder to watch with --reload, and all below it; may be repeated.  [default: this one, and that of TARGET]",
)
@click.option(
    "--reload-include",
    multiple=True,
    metavar="PATTERN",
    help="Files to watch with --reload beside *.py, such as '*.json' or 'templates/*'; may be repeated.",
)
@click.option("--debug", is_flag=True, help="Log at level debug, and show the traceback when something cannot begin.")
@click.pass_context
def serve_command(
    context: click.Context,
    /,
    target: str | None,
    transport: str,
    log_level: str,
    log_format: str,
    debug: bool,
    **options: Any,
) -> None:
    """Serve TARGET until Ctrl-C, over Streamable HTTP or stdio.

    TARGET is file.py, file.py:name, module or module:name. Without a name it is the Server called mcp, server or app,
    else the only one there is; a name may also be that of a function that returns a Server. Without TARGET, a demo
    with the tools echo, add and sleep is served.

    \b
    trio-mcp serve                                 the demo at http://127.0.0.1:8000/mcp
    trio-mcp serve server.py --port 9000
    trio-mcp serve package.module:make_server --transport stdio

    What is no flag here may be in the environment (TRIO_MCP_PORT=9000), in .env, or in trio-mcp.toml (port = 9000):
    the first of them that has it counts, before what the server's code says. trio-mcp settings shows what came from
    where.
    """
    with tracebacks(debug):
        worker = Worker.inherited()
        who = f"worker {worker.number}" if worker is not None and worker.number else ""
        set_up_logging("debug" if debug else log_level, log_format, who)
        given = sources_of(context).given
        if worker is None:
            say_warnings(context)
        if transport == "stdio":
            _refuse_http_options(context)
            with redirect_stdout(sys.stderr):  # a lifespan may print before and after the pipe's own guard
                run_stdio(configured(_server_of(target), options, given))
        elif worker is not None:
            run_as_worker(worker, configured(_server_of(target), options, given), options)
        elif options["reload"]:
            context.exit(run_reloader(context, target, given, options))
        elif options["workers"] > 1:
            if options["event_store"] is not None:
                text = "--event-store keeps sessions, and several workers have none: leave out one of the two"
                raise click.UsageError(text, context)
            context.exit(run_parent(options))
        else:
            run_http(configured(_server_of(target), options, given), options)


def say_warnings(context: click.Context) -> None:
    """Tell of variables that look like settings and are none, on stderr."""
    used = [str(value) for name, value in context.params.items() if name.endswith("_env")]
    for line in sources_of(context).warnings(used):
        click.echo(f"trio-mcp: {line}", err=True)


def _refuse_http_options(context: click.Context) -> None:
    given = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        if parameter.name in HTTP_ONLY and context.get_parameter_source(parameter.name) is given:
            raise click.UsageError(f"{parameter.opts[0]} is for HTTP and does nothing with --transport stdio", context)


def _server_of(target: str | None) -> Server:
    return demo.mcp if target is None else load(target)


def configured(server: Server, options: Mapping[str, Any], given: Mapping[str, Given] = EMPTY) -> Server:
    """The server with the settings that were given as options, and those that were given elsewhere.

    Raises:
        CliError: a setting that cannot be.
    """
    server.settings = applied(server.settings, given, flags_of(options))
    return server


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


# Serving


def run_http(server: Server, options: dict[str, Any]) -> None:
    """Serve Streamable HTTP until a signal ends it.

    Raises:
        CliError: it could not begin, or failed.
    """
    check_certificate(options["certfile"], options["keyfile"])
    check_address(options["host"], options["port"])
    shutdown, banner = Shutdown(), Banner(server)
    serve = partial(serve_http, server, **_address(options), shutdown=shutdown, task_status=banner)
    _run(server, _kept(options, server, serve), shutdown, begun=lambda: banner.shown)


def _address(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("host", "port", "certfile", "keyfile")}


def run_parent(options: dict[str, Any]) -> int:
    """Serve Streamable HTTP with several processes until a signal ends it; the exit code.

    The target is not loaded here: what fails in it fails in a worker, and a worker says so.

    Raises:
        CliError: it could not begin.
    """
    check_platform()
    return run_workers(options["workers"], _listening(options), partial(click.echo, err=True))


def run_reloader(
    context: click.Context, target: str | None, given: Mapping[str, Given], options: dict[str, Any]
) -> int:
    """Serve Streamable HTTP with one process, a new one at each change, until a signal ends it; the exit code.

    Raises:
        CliError: it could not begin.
    """
    if options["workers"] > 1:
        raise click.UsageError("--reload is for one process: leave out --workers", context)
    check_platform("--reload")
    check_watcher()
    folders = [Path(folder) for folder in options["reload_dir"]] or folders_of(target)
    settings = applied(Settings(), given, flags_of(options))
    sockets = _listening(options)
    click.echo(f"watching {', '.join(map(str, folders))} for changes", err=True)
    return run_reloading(sockets, folders, options["reload_include"], settings, partial(click.echo, err=True))


def folders_of(target: str | None) -> list[Path]:
    """Where the source of a target is: the working directory, and the folder of a file that is elsewhere."""
    here = Path.cwd()
    parsed = None if target is None else Target.parse(target)
    if parsed is not None and parsed.is_file:
        folder = Path(parsed.source).resolve().parent
        if not folder.is_relative_to(here.resolve()):
            return [here, folder]
    return [here]


def _listening(options: dict[str, Any]) -> list[socket.socket]:
    """Sockets for processes that inherit them."""
    host, port = options["host"], options["port"]
    check_certificate(options["certfile"], options["keyfile"])
    check_address(host, port)
    try:
        return listen_on(host, port)
    except OSError as error:  # somebody was faster
        raise CliError(f"cannot listen on {host}:{port}: {_why(error)}") from error


def run_as_worker(worker: Worker, server: Server, options: dict[str, Any]) -> None:
    """Be one of several processes that serve Streamable HTTP.

    Raises:
        CliError: it could not begin, or failed.
    """
    worker.prepare(server)
    bounds = Bounds.of(server.settings)
    shutdown, banner = Shutdown(), Banner(server, tell=partial(worker.is_up, bounds=bounds))
    serve = partial(
        serve_http,
        server,
        **_address(options),
        sockets=worker.sockets,
        worker=worker.number or None,
        load=worker.load,
        shutdown=shutdown,
        task_status=banner,
    )
    _run(server, _kept(options, server, serve), shutdown, begun=lambda: banner.shown, under=partial(worker.run, bounds))


def _kept(
    options: dict[str, Any], server: Server, serve: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    """`serve` with `--event-store`, where that was given."""
    path = options["event_store"]
    return serve if path is None else partial(with_event_store, path, server, serve)


async def with_event_store(path: str, server: Server, serve: Callable[..., Awaitable[None]]) -> None:
    """Serve with events and sessions in a file, bounded as in memory.

    Raises:
        EventStoreError: the file cannot be used.
    """
    settings = server.settings
    limits = {"session_events": settings.replay_events, "session_bytes": settings.replay_bytes}
    async with SQLiteEventStore.open(path, **limits) as store:
        await serve(event_store=store)


def run_stdio(server: Server) -> None:
    """Serve stdin and stdout until stdin ends or a signal comes.

    Raises:
        CliError: it could not begin, or failed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise CliError("stdin is closed: a client starts this command and speaks through its stdin and stdout")
    if sys.stdin.isatty():
        what = (
            f"{server.name} speaks JSON-RPC on stdin and stdout, a message a line; a client starts it. Ctrl-C to stop"
        )
        click.echo(what, err=True)
    shutdown = Shutdown()
    server.lifespan = watched = _Watched(server.lifespan)
    _run(server, partial(serve_stdio, server, shutdown=shutdown), shutdown, begun=lambda: watched.entered)


def check_certificate(certfile: str | None, keyfile: str | None) -> None:
    """Try a certificate and its key, if there are any.

    Raises:
        CliError: one is missing, or they cannot be used.
    """
    if certfile is None and keyfile is None:
        return
    if certfile is None or keyfile is None:
        raise CliError("HTTPS needs both: --certfile and --keyfile")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
    except OSError as error:
        what = f"--certfile {certfile} and --keyfile {keyfile}"
        raise CliError(f"cannot use {what}: they must be PEM files that belong together ({told(error)})") from error


def check_address(host: str, port: int) -> None:
    """Try an address before anything is started for it, the lifespan above all.

    Raises:
        CliError: it cannot be listened on.
    """
    where = f"{host}:{port}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":  # there it would take the port away from its owner
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except socket.gaierror as error:
        raise CliError(f"cannot listen on {where}: {host!r} is no address of this machine; try 127.0.0.1") from error
    except PermissionError as error:
        raise CliError(f"cannot listen on {where}: not permitted; take a port above 1023, such as 8000") from error
    except OSError as error:
        raise CliError(f"cannot listen on {where}: {_why(error)}") from error


def _why(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    if "in use" in text:
        return "the port is taken; give another with --port, or --port 0 for a free one"
    return f"{text}; try --host 127.0.0.1"


@attrs.define
class Banner:
    """A task status that tells people what is served where, once it is."""

    server: Server
    tell: Callable[[str], None] = lambda text: click.echo(f"{text}. Ctrl-C to stop", err=True)
    shown: bool = False

    def started(self, value: list[str] | None = None) -> None:
        """Say it, on stderr or to whoever takes it; the value are the URLs."""
        self.shown = True
        server = self.server
        counts = (
            _count(len(server.tools), "tool"),
            _count(len(server.resources) + len(server.templates), "resource"),
            _count(len(server.prompts), "prompt"),
        )
        what = f"{server.name} {server.info.version} at {' and '.join(value or ())}"
        self.tell(f"{what} ({', '.join(counts)})")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@attrs.define
class _Watched:
    """A lifespan that remembers whether it was entered: what fails before that could not begin."""

    lifespan: Lifespan
    entered: bool = False

    @asynccontextmanager
    async def __call__(self, server: Server) -> AsyncIterator[Any]:
        async with self.lifespan(server) as value:
            self.entered = True
            yield value


def _run(
    server: Server,
    serve: Callable[[], Awaitable[None]],
    shutdown: Shutdown,
    *,
    begun: Callable[[], bool],
    under: Callable[..., Awaitable[None]] = run_until_signal,
) -> None:
    try:
        trio.run(under, serve, shutdown)
    except BaseException as error:
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
            return  # a Ctrl-C that came after the end, or before the beginning
        happened, code = ("failed", FAILED) if begun() else ("did not start", CANNOT_BEGIN)
        raise CliError(f"{server.name} {happened}: {told(error)} ({SHOW_WHERE})", exit_code=code) from error
