"""Where settings come from: which source wins, what is read of each, and what is told of what cannot be."""

import builtins
import os
from enum import Enum
from pathlib import Path
from typing import Literal

import attrs
import pytest
from click.testing import CliRunner

from trio_mcp import Settings
from trio_mcp.cli import main
from trio_mcp.cli.errors import CliError
from trio_mcp.cli.sources import Given, is_secret, read_sources
from trio_mcp.cli.values import applied, converted

NAMES = {"port", "config", "log_level", *(field.name for field in attrs.fields(Settings))}

SERVER = """
from trio_mcp import Server, Settings
mcp = Server("own", settings=Settings(tool_timeout=5))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("TRIO_MCP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(*arguments: str, **environ: str) -> dict[str, tuple[object, str]]:
    """Name to value and source, as `trio-mcp settings` tells programs."""
    import json

    done = CliRunner().invoke(main, ["settings", *arguments, "--json"], env=environ)
    assert done.exit_code == 0, done.output
    return {name: (row["value"], row["source"]) for name, row in json.loads(done.stdout).items()}


def refused(*arguments: str, **environ: str) -> str:
    """What is told where a value cannot be."""
    done = CliRunner().invoke(main, ["settings", *arguments], env=environ)
    assert done.exit_code == 2, done.output
    return done.stderr.removeprefix("trio-mcp: ").rstrip("\n")


# Precedence

#: Each source of a field, strongest first: what puts it there, the value, and how it is called.
FIELD = [
    ("flag", 1, "--tool-timeout"),
    ("environment", 2, "TRIO_MCP_TOOL_TIMEOUT in the environment"),
    ("dotenv", 3, "TRIO_MCP_TOOL_TIMEOUT in .env line 1"),
    ("toml", 4, "tool_timeout in trio-mcp.toml line 1"),
    ("code", 5, "the server's code"),
    ("default", None, "default"),
]
OPTION = [
    ("flag", 1, "--port"),
    ("environment", 2, "TRIO_MCP_PORT in the environment"),
    ("dotenv", 3, "TRIO_MCP_PORT in .env line 1"),
    ("toml", 4, "port in trio-mcp.toml line 1"),
    ("default", 8000, "default"),
]


@pytest.mark.parametrize(
    ("name", "rows", "strongest"),
    [("tool_timeout", FIELD, number) for number in range(len(FIELD))]
    + [("port", OPTION, number) for number in range(len(OPTION))],
)
def test_the_strongest_source_that_has_a_value_counts(name: str, rows: list, strongest: int, folder: Path):
    there = {source: value for source, value, _ in rows[strongest:]}
    upper = f"TRIO_MCP_{name.upper()}"
    arguments = ["own.py"] if "code" in there else []
    (folder / "own.py").write_text(SERVER)
    if "toml" in there:
        (folder / "trio-mcp.toml").write_text(f"{name} = {there['toml']}\n")
    if "dotenv" in there:
        (folder / ".env").write_text(f"{upper}={there['dotenv']}\n")
    if "flag" in there:
        arguments += [f"--{name.replace('_', '-')}", str(there["flag"])]
    environ = {upper: str(there["environment"])} if "environment" in there else {}
    assert shown(*arguments, **environ)[name] == rows[strongest][1:]


def test_every_field_can_be_set_by_every_source(folder: Path):
    values = {
        field.name: text
        for field in attrs.fields(Settings)
        for kind, text in ((bool, "true"), (int, "7"), (float, "7"), (str, "/7"))
        if field.type is kind
    }
    values |= {"tool_timeout": "7", "json_response": "true", "allowed_hosts": "a,b", "allowed_origins": "*"}
    values |= {"state_secret": "7" * 32}
    by_flag = Settings()
    for name, value in values.items():
        field = getattr(attrs.fields(Settings), name)
        by_flag = attrs.evolve(by_flag, **{name: converted(field.type, value)})
    environ = {f"TRIO_MCP_{name.upper()}": value for name, value in values.items()}
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in environ.items()))
    (folder / "trio-mcp.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in values.items()))
    for sources in (
        read_sources(NAMES, environ=environ, folder=folder / "none"),
        read_sources(NAMES, environ={}, folder=folder),
        read_sources(NAMES, environ={"TRIO_MCP_CONFIG": "trio-mcp.toml"}, folder=folder),
    ):
        assert applied(Settings(), sources.given, {}) == by_flag
    flags = [f"--set={name}={value}" for name, value in values.items()]
    (folder / ".env").unlink()
    (folder / "trio-mcp.toml").unlink()
    found = shown(*flags)
    assert {name: found[name][1] for name in values} == {name: f"--set {name}" for name in values}


def test_an_empty_variable_is_one_that_is_not_set():
    assert shown(TRIO_MCP_PORT="", TRIO_MCP_TOOL_TIMEOUT="")["port"] == (8000, "default")


def test_serve_is_given_what_settings_shows(folder: Path, monkeypatch: pytest.MonkeyPatch):
    served = []
    monkeypatch.setattr("trio_mcp.cli.serve.run_http", lambda server, options: served.append((server, options)))
    (folder / "own.py").write_text(SERVER)
    (folder / "trio-mcp.toml").write_text('port = 4\nhost = "::1"\nmax_depth = 9\ntarget = "own.py"\n')
    done = CliRunner().invoke(main, ["serve", "--session-idle", "3"], env={"TRIO_MCP_PORT": "2"})
    assert done.exit_code == 0, done.output
    [(server, options)] = served
    assert (server.name, options["port"], options["host"]) == ("own", 2, "::1")
    assert server.settings == Settings(tool_timeout=5, max_depth=9, session_idle=3)


# Values


@pytest.mark.parametrize(
    ("kind", "value", "is_"),
    [
        (bool, "YES", True),
        (bool, "0", False),
        (bool, True, True),
        (bool | None, "none", None),
        (bool | None, "off", False),
        (int, "1_000", 1000),
        (int, 3, 3),
        (float, "1.5", 1.5),
        (float, 2, 2),
        (float | None, "None", None),
        (str, "none", "none"),
        (str | None, "null", None),
        (bytes | None, "ü", "ü".encode()),
        (tuple[str, ...] | None, " a , b,", ("a", "b")),
        (tuple[str, ...], ["a", "b,c"], ("a", "b,c")),
        (Literal["a", 2], "2", 2),
        (Enum("Kind", {"A": "a"}), "a", None),
        (int | str, "x", "x"),
        (int | str, "5", 5),
    ],
)
def test_text_becomes_what_a_field_holds(kind, value, is_):
    found = converted(kind, value)
    assert (found.value if isinstance(found, Enum) else found) == (is_ if not isinstance(found, Enum) else "a")


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (bool, "perhaps", "must be true or false"),
        (bool, 3, "must be true or false"),
        (int, "1.5", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (int, True, "must be a whole number"),
        (int, "none", "must be a whole number"),
        (float, "abc", "must be a number of seconds"),
        (float | None, "nan", "must be a number of seconds"),
        (float, [1], "must be a number of seconds"),
        (str, 5, "must be text"),
        (bytes, 5, "must be text"),
        (tuple[str, ...], [1], "must be a list of texts"),
        (Literal["a", "b"], "c", "must be one of a, b"),
        (Enum("Kind", {"A": "a"}), "b", "must be one of a"),
        (dict[str, int], "x", "cannot be: Expected `object`"),
    ],
)
def test_what_a_field_cannot_hold_is_refused_with_what_it_must_be(kind, value, reason):
    with pytest.raises(ValueError, match=reason):
        converted(kind, value)


# Faults


@pytest.mark.parametrize(
    ("dotenv", "toml", "environ", "says"),
    [
        (
            "# mine\n\nTRIO_MCP_TOOL_TIMEOUT=abc\n",
            "",
            {},
            "TRIO_MCP_TOOL_TIMEOUT='abc' in .env line 3: must be a number of seconds",
        ),
        ("", "", {"TRIO_MCP_RETRY": "-1"}, "TRIO_MCP_RETRY='-1' in the environment: must be >= 0"),
        ("", "\nretry = -1", {}, "retry=-1 in trio-mcp.toml line 2: must be >= 0"),
        ("", 'path = "x"', {}, "path='x' in trio-mcp.toml line 1: must begin with a slash, not 'x'"),
        ("", "port = 1.5", {}, "port=1.5 in trio-mcp.toml line 1: '1.5' is not a valid integer range"),
        ("", "port = true", {}, "port=True in trio-mcp.toml line 1: 'true' is not a valid integer range"),
        ("", "port = [1]", {}, "port=[1] in trio-mcp.toml line 1: must be one value"),
        ("TRIO_MCP_PORT=70000", "", {}, "TRIO_MCP_PORT='70000' in .env line 1: 70000 is not in the range 0<=x<=65535"),
        ("", "tool-timeout = 3", {}, "tool-timeout in trio-mcp.toml line 1 is no setting: did you mean tool_timeout?"),
        (
            "",
            "[served]\nx = 1",
            {},
            "served in trio-mcp.toml line 1 is no setting: trio-mcp settings shows what there is",
        ),
        ("", 'config = "x"', {}, "config in trio-mcp.toml line 1 is no setting: did you mean config?"),
        (
            "",
            "port 3",
            {},
            "trio-mcp.toml is not TOML: Expected '=' after a key in a key/value pair (at line 1, column 6)",
        ),
        ("TRIO_MCP_PORT='1\n", "", {}, ".env line 1 cannot be read: write NAME=value"),
        ("", "", {"TRIO_MCP_CONFIG": "lost.toml"}, "there is no file lost.toml, which was named as the configuration"),
    ],
)
def test_a_fault_names_its_place(dotenv: str, toml: str, environ: dict[str, str], says: str, folder: Path):
    (folder / ".env").write_text(dotenv)
    (folder / "trio-mcp.toml").write_text(toml)
    assert refused(**environ).replace(f"{folder}{os.sep}", "") == says


def test_faults_of_flags_name_the_flag():
    assert refused("--set", "max_body=many") == "--set max_body='many': must be a whole number"
    assert "'max_bodi' is no field of Settings" in refused("--set", "max_bodi=1")
    assert "is no NAME=VALUE" in refused("--set", "max_body")
    assert refused("--set", "path=/a", "--path", "/b") == "path is given twice: as an option and with --set"
    assert "must be > 0" in refused("--set", "keepalive=0")


def test_a_flag_hides_the_fault_of_a_field_that_it_replaces():
    assert shown("--tool-timeout", "3", TRIO_MCP_TOOL_TIMEOUT="abc")["tool_timeout"] == (3, "--tool-timeout")


def test_an_unknown_variable_is_warned_of_with_what_may_be_meant(folder: Path):
    (folder / ".env").write_text("TRIO_MCP_PRT=1\nOTHER=2\nTRIO_MCP_Path=/x\n")
    done = CliRunner().invoke(main, ["settings"], env={"TRIO_MCP_ALOWED_HOSTS": "x", "TRIO_MCP_": "y"})
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "trio-mcp: TRIO_MCP_ in the environment is no setting and does nothing: trio-mcp settings shows what there is",
        "trio-mcp: TRIO_MCP_ALOWED_HOSTS in the environment is no setting and does nothing: did you mean"
        " TRIO_MCP_ALLOWED_HOSTS?",
        "trio-mcp: TRIO_MCP_PRT in .env line 1 is no setting and does nothing: did you mean TRIO_MCP_PORT?",
        "trio-mcp: TRIO_MCP_Path in .env line 3 is no setting and does nothing: did you mean TRIO_MCP_PATH?",
    ]


def test_a_variable_that_an_option_names_is_not_warned_of():
    sources = read_sources(NAMES, environ={"TRIO_MCP_TOKEN": "x"})
    assert len(list(sources.warnings())) == 1
    assert list(sources.warnings(["TRIO_MCP_TOKEN"])) == []


# .env and its extra


def test_values_of_dotenv_may_be_quoted_and_refer_to_others(folder: Path):
    (folder / ".env").write_text("BASE=/mcp\nexport TRIO_MCP_PATH=\"${BASE}/v1\"  # mine\nTRIO_MCP_RETRY='2'\n")
    found = shown()
    assert found["path"] == ("/mcp/v1", "TRIO_MCP_PATH in .env line 2")
    assert found["retry"] == (2, "TRIO_MCP_RETRY in .env line 3")


@pytest.fixture
def without_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python where the extra is not installed."""
    real = builtins.__import__

    def importing(name, *rest):
        if name.startswith("dotenv"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_without_the_extra_a_dotenv_with_settings_is_told_of(folder: Path, without_dotenv):
    (folder / ".env").write_text("A=1\nexport TRIO_MCP_PORT=9000\n")
    assert refused() == (".env gives TRIO_MCP_PORT, and needs python-dotenv to be read: pip install 'trio-mcp[dotenv]'")


@pytest.mark.parametrize("text", ["A=1\n", "# TRIO_MCP_PORT=1\n", "TRIO_MCP_PORT=1\n"])
def test_without_the_extra_a_dotenv_that_changes_nothing_is_left_alone(text: str, folder: Path, without_dotenv):
    (folder / ".env").write_text(text)
    assert shown(TRIO_MCP_PORT="2")["port"] == (2, "TRIO_MCP_PORT in the environment")


# Secrets


@pytest.mark.parametrize("name", ["state_secret", "auth_token", "auth_tokens", "password"])
def test_names_of_secrets_are_known(name: str):
    assert is_secret(name)
    assert not is_secret(f"{name}_env")
    assert not is_secret("tool_timeout")


def test_a_secret_is_shown_nowhere(folder: Path):
    secret = "hush-hush-hush-hush-hush-hush-hush"
    for environ in ({"TRIO_MCP_STATE_SECRET": secret}, {"TRIO_MCP_STATE_SECRET": secret, "TRIO_MCP_RETRY": "x"}):
        for arguments in (["settings"], ["settings", "--json"], ["settings", "--debug"]):
            done = CliRunner().invoke(main, arguments, env=environ)
            assert "hush" not in done.output
    assert shown(TRIO_MCP_STATE_SECRET=secret)["state_secret"][0] == "set"
    assert shown()["state_secret"][0] == "not set"
    (folder / "trio-mcp.toml").write_text("state_secret = 123456789\n")
    assert refused() == "state_secret in trio-mcp.toml line 1: must be text"
    assert "hush" not in repr(Given("state_secret", "STATE_SECRET", secret, "x"))


def test_the_reason_of_a_fault_may_not_hold_the_secret_either():
    fault = Given("state_secret", "STATE_SECRET", "hush", "x").fault("must be longer than 'hush'")
    assert isinstance(fault, CliError)
    assert str(fault) == "STATE_SECRET in x: cannot be"


# The table


def test_the_table_is_aligned_and_complete(folder: Path):
    (folder / "trio-mcp.toml").write_text('allowed_hosts = ["a.example", "b.example"]\n')
    done = CliRunner().invoke(main, ["settings", "--session-idle", "7"])
    lines = done.stdout.splitlines()
    rows = [line for line in lines if line.startswith("  ")]
    names = [row.split()[0] for row in rows]
    assert {"host", "port", "log_format", *(field.name for field in attrs.fields(Settings))} <= set(names)
    assert not {"config", "debug", "settings", "as_json", "tool-timeout"} & set(names)
    sources = [" default", " --session-idle", " allowed_hosts in trio-mcp.toml line 1"]
    starts = {row.rindex(source) for row in rows for source in sources if row.endswith(source)}
    assert len(starts) == 1
    [hosts] = [row for row in rows if "allowed_hosts" in row]
    assert "a.example, b.example" in hosts
    assert lines[0] == "Served"


def test_its_help_explains_where_a_name_may_stand_and_only_its_own_options():
    text = CliRunner().invoke(main, ["settings", "--help"]).stdout
    assert "TRIO_MCP_TOOL_TIMEOUT=30" in text
    assert "--json" in text
    assert "--config" in text
    assert "--keyfile" not in text
