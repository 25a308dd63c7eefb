"""The command `trio-mcp`: it owns the arguments, the exit codes and the one line that an error is told in.

Exit codes: 0 served and was told to stop, 1 failed while serving, 2 could not begin. The commands have a module each.
It refuses to serve anything by itself: `trio_mcp.serve` does.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import click

from trio_mcp.cli.check import check_command
from trio_mcp.cli.errors import CliError, one_line
from trio_mcp.cli.inspect import inspect_command
from trio_mcp.cli.install import install_command
from trio_mcp.cli.serve import serve_command
from trio_mcp.cli.settings import settings_command
from trio_mcp.version import __version__

INTERRUPTED: Final = 130
"""What shells report of a command that Ctrl-C ended (128 + SIGINT)."""


class _Commands(click.Group):
    """A group whose errors are one line each, beginning with the program's name."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit unless `standalone_mode` is False."""
        run: Callable[[], Any] = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            code = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            _say(f"{one_line(error.format_message())}{_help_of(error)}")
            code = error.exit_code
        except CliError as error:
            _say(str(error))
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)


def _say(text: str) -> None:
    click.echo(f"trio-mcp: {text}", err=True)


def _help_of(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return "" if context is None else f" ({context.command_path} --help shows what there is)"


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with: trio-mcp serve, which serves a demo at http://127.0.0.1:8000/mcp",
)
@click.version_option(__version__, prog_name="trio-mcp", message="%(prog)s %(version)s")
def main() -> None:
    """Serve Model Context Protocol servers written with trio_mcp."""


@main.command("version")
def _version() -> None:
    """Print the version of trio_mcp."""
    click.echo(f"trio-mcp {__version__}")


main.add_command(serve_command)
main.add_command(inspect_command)
main.add_command(settings_command)
main.add_command(install_command)
main.add_command(check_command)
