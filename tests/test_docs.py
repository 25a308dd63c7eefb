"""The documentation is true: its code runs, its commands exist, its links lead somewhere, its outputs are real."""

import argparse
import json
import re
import shlex
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from itertools import zip_longest
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import CliRunner

from tests.documents import ROOT, Block, Namespace, blocks, converse, differences, lines_of, revisions_of, same
from trio_mcp import Server, Settings, demo, serve_http
from trio_mcp.cli import main
from trio_mcp.cli.running import Banner
from trio_mcp.cli.target import load
from trio_mcp.protocol.revisions import REVISIONS

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
PORT = 8000


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def languages(*names: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in names]


# Code


@pytest.mark.parametrize("page", PAGES, ids=page_id)
async def test_a_page_does_what_it_shows(page: Path):
    """Top to bottom: Python blocks run, and what stands below them is what comes out."""
    with Namespace(page.stem) as namespace:
        found = blocks(page)
        for block, following in zip_longest(found, found[1:]):
            if block.language == "python":
                if following is not None and following.is_error:
                    assert namespace.failure(block) == following.text.rstrip("\n"), block.place
                else:
                    namespace.run(block)
                    if following is not None and following.language == "json":
                        assert json.loads(following.text) == namespace.last_tool(), following.place
            elif block.is_conversation:
                for revision in revisions_of(block.text):
                    said = await converse(namespace.server, block.text, revision)
                    assert differences(block.text, said) == "", f"{block.place} in {revision}"


def test_every_block_is_of_a_kind_that_is_checked():
    kinds = {"python", "text", "json", "console", "sh", "mermaid"}
    assert [block.place for block in BLOCKS if block.language not in kinds] == []
    assert [block.place for block in languages("json") if not isinstance(json.loads(block.text), dict)] == []


def test_pages_that_show_something_else_are_found_out():
    text = '> tools/list {}\n< {"tools": [], "cursor": "…"}\n* notifications/x\n'
    shown = list(lines_of(text))
    assert differences(text, shown) == ""
    assert differences(text, shown[:-1]) != ""
    assert differences(text, [*shown[:-1], next(lines_of("* notifications/y"))]) != ""
    assert differences(text, [shown[0], next(lines_of('< {"tools": [1]}')), shown[2]]) != ""
    assert same({"a": ["…", 1]}, {"a": ["any", 1]})
    assert not same({"a": "…"}, {"a": 1})
    assert not same({"a": 1}, {"a": True})


# Commands


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a block, each on one line."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    for line in text.splitlines():
        command = line.removeprefix("$ ") if block.language == "console" else line
        if block.language == "sh" or line.startswith("$ "):
            yield command.partition(" #")[0].strip()


COMMANDS = [(block.place, line) for block in languages("sh", "console") for line in shell_lines(block) if line]


def test_every_option_of_the_command_exists():
    seen = 0
    for place, line in COMMANDS:
        words = line.split("trio-mcp ", 1)[-1].split() if "trio-mcp " in line else []
        if not words or words[0] not in main.commands:
            continue
        seen += 1
        command = main.commands[words[0]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
        assert used <= known | {"--help"}, f"{place}: {line}"
    assert seen >= 3


def test_every_make_command_exists():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    goals = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    used = {word for _, line in COMMANDS for word in re.findall(r"^make ([a-z]+)", line)}
    used |= {word for page in PAGES for word in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))}
    assert {"serve", "test"} <= used <= goals


def test_every_configuration_of_a_client_starts_a_server_that_is_there():
    found = 0
    for block in languages("json"):
        for server in json.loads(block.text).get("mcpServers", {}).values():
            found += 1
            if "command" in server:
                assert server["command"].endswith("/trio-mcp")
                name, target, *options = server["args"]
                assert (name, Path(target).name, options) == ("serve", "server.py", ["--transport", "stdio"])
            else:
                path = {"http": "/mcp", "sse": "/sse"}[server["type"]]
                assert server == {"type": server["type"], "url": f"http://127.0.0.1:{PORT}{path}"}
    assert found >= 2


# Links and tables


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_within_the_repository_leads_somewhere(page: Path):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def table(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose head begins with `first`, without head and rule."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first}"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_tables_of_settings_have_each_one_with_its_default():
    page = ROOT / "docs/guide/settings.md"
    rows = table(page, "field") + table(page, "HTTP")
    shown = {name.strip("`"): default.strip("`") for name, default, _ in rows}
    assert shown == {field.name: repr(field.default) for field in attrs.fields(Settings)}
    assert len(rows) == len(shown)


def test_the_table_of_revisions_agrees_with_their_facts():
    text = README.read_text(encoding="utf-8")
    head = next(line for line in text.splitlines() if line.startswith("| |"))
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == list(REVISIONS)
    rows = {row[0]: [cell[:3] == "yes" for cell in row[1:]] for row in table(README, "|") if row[0]}
    facts = {
        "batches": "batching",
        "structured output": "structured_content",
        "elicitation": "elicitation",
        "elicitation by URL": "url_elicitation",
        "polling a stream": "polling",
        "icons": "icons",
    }
    for name, fact in facts.items():
        assert rows[name] == [getattr(revision, fact) for revision in REVISIONS.values()], name


# What the README shows of a terminal


@attrs.frozen
class Command:
    """One command of a console block, and what it printed."""

    line: str
    output: str


def session_of(block: Block) -> Iterator[Command]:
    """The commands of a console block; one goes on while a quotation is open or a line ends in a backslash."""
    lines = block.text.splitlines()
    while lines:
        line = lines.pop(0)
        assert line.startswith("$ "), f"{block.place}: {line}"
        command = line[2:]
        while _is_open(command):
            command += "\n" + lines.pop(0)
        output = []
        while lines and not lines[0].startswith("$ "):
            output.append(lines.pop(0))
        yield Command(command, "".join(f"{line}\n" for line in output))


def _is_open(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return True
    return command.endswith("\\")


CURL = argparse.ArgumentParser("curl", exit_on_error=False)
CURL.add_argument("url")
CURL.add_argument("-s", action="store_true", required=True)
CURL.add_argument("-i", action="store_true")
CURL.add_argument("-X", dest="method")
CURL.add_argument("-H", dest="headers", action="append", default=[])
CURL.add_argument("-d", dest="data")


def curl(words: list[str], port: int) -> str:
    """What curl prints, for the options that the README uses; the request is the one that curl sends."""
    options = CURL.parse_args(words)
    origin, slash, path = options.url.removeprefix("http://").partition("/")
    assert origin == f"127.0.0.1:{PORT}"
    headers = {"Accept": "*/*"} | dict(header.split(": ", 1) for header in options.headers)
    data = None if options.data is None else options.data.replace("\n", "").encode()  # as curl -d does
    method = options.method or ("GET" if data is None else "POST")
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, slash + path, data, headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    head = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(f"{name}: {text}" for name, text in response.getheaders()),
    ]
    return ("\n".join(head) + "\n\n" if options.i else "") + body


def normalised(output: str) -> str:
    """Without what differs from run to run."""
    output = re.sub(r"^date: .*$", "date: …", output, flags=re.MULTILINE)
    output = re.sub(r"^(mcp-session-id: )\S{32}$", r"\1…", output, flags=re.MULTILINE)
    return output.strip()


@attrs.define
class Terminal:
    """Where the README's commands are typed: a folder with its files, and a server on some port."""

    folder: Path
    server: Server
    port: int
    session: str = ""

    async def run(self, command: Command) -> str:
        """What a command prints."""
        line = command.line.replace("\\\n", " ").replace("$SESSION", self.session)
        program, *words = shlex.split(line)
        if program == "curl":
            output = await trio.to_thread.run_sync(curl, words, self.port)
            found = re.search(r"^mcp-session-id: (\S+)$", output, re.MULTILINE)
            self.session = found[1] if found else self.session
            return output
        if program.startswith("SESSION="):
            return ""
        if program == "make" or words[0] == "serve":
            return self.banner(demo.mcp if program == "make" else self.server)
        if (program, words[0]) == ("trio-mcp", "inspect"):
            return CliRunner().invoke(main, ["inspect", str(self.folder / words[1])]).output
        raise AssertionError(f"not a command that is checked: {command.line}")

    def banner(self, server: Server) -> str:
        """What `serve` says once it serves."""
        runner = CliRunner()
        with runner.isolation() as (_, stderr, _):
            Banner(server).started([f"http://127.0.0.1:{PORT}/mcp"])
            return stderr.getvalue().decode()


# The SDK leaves generators of its HTTP library to the garbage.
@pytest.mark.filterwarnings(r"ignore:Async generator 'http(x|core)2\..* was garbage collected:ResourceWarning")
async def test_the_readme_shows_what_its_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    for block in blocks(README):
        if block.file is not None:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    server = load(str(tmp_path / "server.py"))
    commands = [command for block in blocks(README) if block.language == "console" for command in session_of(block)]
    assert len(commands) >= 9
    with trio.fail_after(60):
        async with trio.open_nursery() as test_nursery:
            [url] = await test_nursery.start(partial(serve_http, server, port=0))
            terminal = Terminal(tmp_path, server, int(url.rpartition(":")[2].partition("/")[0]))
            for command in commands:
                if command.line == "python client.py":
                    client = next(block.text for block in blocks(README) if block.file == "client.py")
                    output = await run_client(client, url, capsys)
                else:
                    output = await terminal.run(command)
                shown = command.output
                if command.line.startswith("make"):  # the lines before are what make itself says
                    *made, shown = shown.splitlines()
                    assert_said_by_make(made)
                assert normalised(output) == normalised(shown), command.line
            test_nursery.cancel_scope.cancel()


def assert_said_by_make(lines: list[str]) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    assert [line for line in lines if f'@echo "{line}"' not in text] == []


async def run_client(text: str, url: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a program of the README against another port than the one it names."""
    assert f"http://127.0.0.1:{PORT}/mcp" in text
    namespace: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(compile(text.replace(f"http://127.0.0.1:{PORT}/mcp", url), "client.py", "exec", dont_inherit=True), namespace)
    capsys.readouterr()
    await namespace["main"]()
    return capsys.readouterr().out
