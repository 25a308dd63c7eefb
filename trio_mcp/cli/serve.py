"""`trio-mcp serve`: options to settings, signals to exit codes, faults to one line.

It owns logging, which the library itself never sets up, and the banner. stdout stays untouched: on stdio it is the
protocol's. It refuses to put servers together: `trio_mcp.serve` does.
"""

import logging
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stdout
from functools import partial
from typing import Any, Final

import attrs
import click
import trio

from trio_mcp import demo
from trio_mcp.cli.auth import AUTH_OPTIONS, auth_options, verifier_of
from trio_mcp.cli.errors import CANNOT_BEGIN, FAILED, CliError, leaves, told, tracebacks
from trio_mcp.cli.target import SHOW_WHERE, load
from trio_mcp.serve import Shutdown, run_until_signal, serve_http, serve_stdio
from trio_mcp.server import Lifespan, Server

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
    "resource_url": "resource_url",
    "authorization_server": "authorization_servers",
}
#: Options that mean nothing to a pipe.
HTTP_ONLY: Final = (
    "host",
    "port",
    "certfile",
    "keyfile",
    *AUTH_OPTIONS,
    *(name for name in SETTINGS if name != "tool_timeout"),
)


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
@auth_options
@click.option("--access-log/--no-access-log", default=None, help="Log each HTTP request, at level info.  [default: no]")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="Least weight of what is logged, on stderr.",
)
@click.option("--debug", is_flag=True, help="Log at level debug, and show the traceback when something cannot begin.")
@click.pass_context
def serve_command(
    context: click.Context, /, target: str | None, transport: str, log_level: str, debug: bool, **options: Any
) -> None:
    """Serve TARGET until Ctrl-C, over Streamable HTTP or stdio.

    TARGET is file.py, file.py:name, module or module:name. Without a name it is the Server called mcp, server or app,
    else the only one there is; a name may also be that of a function that returns a Server. Without TARGET, a demo
    with the tools echo, add and sleep is served.

    \b
    trio-mcp serve                                 the demo at http://127.0.0.1:8000/mcp
    trio-mcp serve server.py --port 9000
    trio-mcp serve package.module:make_server --transport stdio
    """
    set_up_logging("debug" if debug else log_level)
    with tracebacks(debug):
        if transport == "stdio":
            _refuse_http_options(context)
            with redirect_stdout(sys.stderr):  # a lifespan may print before and after the pipe's own guard
                run_stdio(configured(_server_of(target), options))
        else:
            verifier = verifier_of(options)  # first: what is missing here need not wait for the target's import
            server = configured(_server_of(target), options)
            server.auth = verifier or server.auth
            run_http(server, options)


def set_up_logging(level: str) -> None:
    """Log for people, on stderr."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )


def _refuse_http_options(context: click.Context) -> None:
    given = click.core.ParameterSource.COMMANDLINE
    for parameter in context.command.params:
        if parameter.name in HTTP_ONLY and context.get_parameter_source(parameter.name) is given:
            raise click.UsageError(f"{parameter.opts[0]} is for HTTP and does nothing with --transport stdio", context)


def _server_of(target: str | None) -> Server:
    return demo.mcp if target is None else load(target)


def configured(server: Server, options: dict[str, Any]) -> Server:
    """The server with the settings that were given as options.

    Raises:
        CliError: a setting that cannot be.
    """
    given = {SETTINGS[name]: value for name, value in options.items() if name in SETTINGS and value not in (None, ())}
    try:
        server.settings = attrs.evolve(server.settings, **given)
    except ValueError as error:
        raise CliError(told(error).removeprefix("ValueError: ")) from error
    return server


# Serving


def run_http(server: Server, options: dict[str, Any]) -> None:
    """Serve Streamable HTTP until a signal ends it.

    Raises:
        CliError: it could not begin, or failed.
    """
    host, port, certfile, keyfile = (options[name] for name in ("host", "port", "certfile", "keyfile"))
    check_certificate(certfile, keyfile)
    check_address(host, port)
    shutdown, banner = Shutdown(), Banner(server)
    serve = partial(
        serve_http,
        server,
        host=host,
        port=port,
        certfile=certfile,
        keyfile=keyfile,
        shutdown=shutdown,
        task_status=banner,
    )
    _run(server, serve, shutdown, begun=lambda: banner.shown)


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
    shown: bool = False

    def started(self, value: list[str] | None = None) -> None:
        """Say it on stderr; the value are the URLs."""
        self.shown = True
        server = self.server
        counts = (
            _count(len(server.tools), "tool"),
            _count(len(server.resources) + len(server.templates), "resource"),
            _count(len(server.prompts), "prompt"),
        )
        what = f"{server.name} {server.info.version} at {' and '.join(value or ())}"
        click.echo(f"{what} ({', '.join(counts)}). Ctrl-C to stop", err=True)


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
    server: Server, serve: Callable[[], Awaitable[None]], shutdown: Shutdown, *, begun: Callable[[], bool]
) -> None:
    try:
        trio.run(run_until_signal, serve, shutdown)
    except BaseException as error:
        if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves(error)):
            return  # a Ctrl-C that came after the end, or before the beginning
        happened, code = ("failed", FAILED) if begun() else ("did not start", CANNOT_BEGIN)
        raise CliError(f"{server.name} {happened}: {told(error)} ({SHOW_WHERE})", exit_code=code) from error
