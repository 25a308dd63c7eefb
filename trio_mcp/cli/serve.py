"""`trio-mcp serve`: what is served with which settings, and how.

It owns what wins of flags and other sources. It refuses to run anything by itself: `cli.running` does.
"""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import click

from trio_mcp import demo
from trio_mcp.cli.auth import verifier_of
from trio_mcp.cli.errors import tracebacks
from trio_mcp.cli.logs import set_up_logging
from trio_mcp.cli.options import EMPTY, HTTP_ONLY, flags_of, serve_options
from trio_mcp.cli.running import run_as_worker, run_http, run_parent, run_reloader, run_stdio
from trio_mcp.cli.sources import Given, sources_of
from trio_mcp.cli.target import load
from trio_mcp.cli.values import applied
from trio_mcp.cli.workers import Worker
from trio_mcp.server import Server


@click.command("serve")
@click.argument("target", required=False)
@serve_options
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
            run_as_worker(worker, _guarded(configured(_server_of(target), options, given), options), options)
        elif options["reload"]:
            context.exit(run_reloader(context, target, given, options))
        elif options["workers"] > 1:
            if options["event_store"] is not None:
                text = "--event-store keeps sessions, and several workers have none: leave out one of the two"
                raise click.UsageError(text, context)
            if options["redirect_port"] is not None:
                raise click.UsageError("--redirect-port goes with one worker: run a proxy in front of several", context)
            context.exit(run_parent(options))
        else:
            verifier_of(options)  # first: what is missing here need not wait for the target's import
            run_http(_guarded(configured(_server_of(target), options, given), options), options)


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


def _guarded(server: Server, options: dict[str, Any]) -> Server:
    """The server behind what the options say, else behind its own."""
    server.auth = verifier_of(options) or server.auth
    return server
