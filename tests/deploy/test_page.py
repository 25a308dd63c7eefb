"""What docs/deploy.md shows of a terminal is what the commands print, through nginx where they name the public host."""

import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from tests.deploy.nginx import NAME, Front, fronted
from tests.documents import ROOT, blocks
from tests.external import require
from tests.http.servers import small_server
from trio_mcp.cli import main

PAGE = ROOT / "docs/deploy.md"


def commands(program: str) -> list[tuple[str, str]]:
    """The commands of a program on the page, and what is shown below each."""
    found = []
    for block in blocks(PAGE):
        if block.language == "console":
            line, _, shown = block.text.removeprefix("$ ").partition("\n")
            assert "\n$ " not in shown, block.place
            if line.startswith(program):
                found.append((line, shown))
    return found


def test_every_command_that_shows_something_is_run_here():
    shown = [block for block in blocks(PAGE) if block.language == "console"]
    assert len(shown) == len(commands("curl ")) + len(commands("trio-mcp ")) >= 5


def test_a_taken_port_is_told_as_the_page_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    [(line, shown)] = commands("trio-mcp ")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, shlex.split(line.replace("8000", port))[1:])
    assert done.exit_code == 2
    assert done.stderr == shown.replace("8000", port)


async def printed(front: Front, line: str, until: str) -> str:
    """What a command of curl prints, until it ends, or to that end of it."""
    _, *words = shlex.split(line)
    command = [require("curl"), "--noproxy", "*", "--connect-to", f"{NAME}:80:127.0.0.1:{front.port}", *words]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    text = ""
    try:
        assert process.stdout is not None
        while re.search(until, text) is None:
            piece = await process.stdout.receive_some()
            if not piece:
                break
            text += piece.decode()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
        assert process.stdout is not None
        await process.stdout.aclose()
    return text


@pytest.mark.parametrize(("line", "shown"), commands("curl "))
@pytest.mark.usefixtures("nginx")
async def test_a_request_is_answered_as_the_page_has_it(line: str, shown: str):
    require("curl")
    async with fronted(small_server(allowed_hosts=[NAME], trusted_proxies=["127.0.0.1"])) as front:
        stream = "-sN" in line
        pattern = re.sub("…", r"\\S+", re.escape(shown.rstrip("\n"))) if stream else re.escape(shown.rstrip("\n"))
        assert re.fullmatch(pattern, (await printed(front, line, pattern + r"\n\n" if stream else "(?!)")).rstrip("\n"))
