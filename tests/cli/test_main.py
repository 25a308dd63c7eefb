"""`trio-mcp` itself: version, help, and that every fault is one line and exit code 2."""

import pytest
from click.testing import CliRunner, Result

from tests.cli.commands import ran
from trio_mcp.cli import main
from trio_mcp.version import __version__


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="trio-mcp")


@pytest.mark.parametrize("arguments", [("version",), ("--version",)])
def test_the_version_is_told(arguments: tuple[str, ...]):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"trio-mcp {__version__}\n")


@pytest.mark.parametrize("module", ["trio_mcp", "trio_mcp.cli"])
def test_the_package_and_the_cli_run_as_modules(module: str, tmp_path):
    done = ran("version", cwd=tmp_path, module=module)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"trio-mcp {__version__}\n", "")


def test_without_a_command_the_help_is_shown_and_nothing_is_done():
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "inspect" in result.stderr
    assert "serve" in result.stderr


def test_help_names_every_option_of_serve():
    result = run("serve", "--help")
    assert result.exit_code == 0
    for option in ("--host", "--port", "--transport", "--path", "--log-level", "--debug", "--json-response"):
        assert option in result.stdout
    for option in ("--sse-response", "--allowed-host", "--allowed-origin", "--shutdown-grace", "--tool-timeout"):
        assert option in result.stdout
    assert "demo" in result.stdout


def test_click_itself_can_still_be_asked_for_a_value():
    assert main.main(["version"], "trio-mcp", standalone_mode=False) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("srve",), "No such command 'srve'"),
        (("--bad",), "--bad"),
        (("serve", "--prot", "1"), "--port"),
        (("serve", "--port", "many"), "'many' is not a valid integer range"),
        (("serve", "--port", "70000"), "70000"),
        (("serve", "--tool-timeout", "0"), "--tool-timeout"),
        (("serve", "--transport", "carrier-pigeon"), "carrier-pigeon"),
        (("serve", "--path", "mcp"), "path must begin with a slash"),
        (("serve", "--transport", "stdio", "--port", "9"), "--port is for HTTP"),
        (("serve", "--transport", "stdio", "--workers", "2"), "--workers is for HTTP"),
        (("serve", "--workers", "0"), "'--workers': 0 is not in the range x>=1"),
        (("serve", "--workers", "-2"), "'--workers': -2 is not in the range x>=1"),
        (("serve", "--workers", "2", "--certfile", __file__), "HTTPS needs both"),
        (("serve", "--transport", "stdio", "--sse-response"), "--json-response is for HTTP"),
        (("serve", "--transport", "stdio", "--allowed-host", "x"), "--allowed-host is for HTTP"),
        (("serve", "--certfile", __file__), "HTTPS needs both"),
        (("serve", "--certfile", __file__, "--keyfile", __file__), "must be PEM files that belong together"),
        (("serve", "--certfile", "there/is/none.pem"), "none.pem"),
    ],
)
def test_what_is_typed_wrong_is_told_in_one_line(arguments: tuple[str, ...], says: str):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("trio-mcp: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_ctrl_c_before_anything_is_served_is_quiet(monkeypatch):
    def interrupted(text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trio_mcp.cli.serve.load", interrupted)
    result = run("serve", "any.py")
    assert result.exit_code == 130
    assert result.output.strip() == ""
