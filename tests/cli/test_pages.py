"""What docs/configuration.md and docs/cli.md show of a terminal is what the commands print."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.commands import call, session, started
from tests.documents import ROOT, Block, blocks
from trio_mcp.cli import main

PAGES = [ROOT / "docs" / "configuration.md", ROOT / "docs" / "cli.md"]
COMMANDS = [block for page in PAGES for block in blocks(page) if block.language == "console"]


def write_files(page: Path, folder: Path) -> None:
    """Blocks that begin with a comment that is a file's name are that file."""
    for block in blocks(page):
        found = re.match(r"# ([\w.-]+)\n", block.text)
        if found and block.language in ("python", "text"):
            (folder / found[1]).write_text(block.text, encoding="utf-8")


def run(line: str) -> str:
    """What a command of `trio-mcp` prints, with variables before it and `grep -v` behind it."""
    command, _, pipe = line.partition(" | ")
    words = shlex.split(command)
    environ = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environ[name] = value
    assert words.pop(0) == "trio-mcp"
    done = CliRunner().invoke(main, words, env=environ)
    if not pipe:
        return done.stdout + (done.stderr if done.exit_code else "")
    [grep, option, hidden] = pipe.split()
    assert (grep, option) == ("grep", "-v")
    return "".join(part for part in done.output.splitlines(keepends=True) if hidden not in part)


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.place)
def test_a_command_prints_what_stands_below_it(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in os.environ if name.startswith("TRIO_MCP_")]:
        monkeypatch.delenv(name)
    write_files(block.page, tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    assert commands
    for command in commands:
        line, _, shown = command.partition("\n")
        assert re.sub(" +", " ", run(line)) == re.sub(" +", " ", shown)  # a longer name elsewhere widens the columns


async def test_a_line_of_the_call_log_has_the_fields_that_are_shown(tmp_path: Path):
    [shown] = [json.loads(block.text) for block in blocks(PAGES[0]) if block.language == "json"]
    options = ("--log-format", "json", "--call-log")
    async with started("serve", "--port", "0", *options, cwd=tmp_path) as command:
        made = await session(await command.port())
        await made.call("add", a=1, b=2)
        line = json.loads(await command.hears("trio_mcp.calls"))
    assert list(line) == list(shown)
    varying = ("ts", "session", "duration_ms", "event")
    assert {key: line[key] for key in line if key not in varying} == {
        key: shown[key] for key in shown if key not in varying
    }
    assert call("add")["id"] == shown["request_id"]
