"""`trio-mcp install`: each client's form, and a file of somebody else's that loses nothing."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trio_mcp.cli import main
from trio_mcp.cli.clients import CLIENTS
from trio_mcp.cli.json_file import JsonFile, UnusableFileError

SERVER = 'from trio_mcp import Server\nmcp = Server("My notes")\nother = Server("other")\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a home of its own."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "server.py").write_text(SERVER)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    sys.modules.pop("server", None)
    return project


def install(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["install", *arguments])


def printed(*arguments: str) -> dict:
    done = install(*arguments, "--print")
    assert done.exit_code == 0, done.output
    document: dict = json.loads(done.stdout)
    return document


def refused(*arguments: str) -> str:
    done = install(*arguments)
    assert done.exit_code == 2, done.output
    return done.stderr


# Forms


def started_by(document: dict, key: str = "mcpServers", name: str = "My-notes") -> list[str]:
    entry = document[key][name]
    return [entry["command"], *entry["args"]]


@pytest.mark.parametrize(
    ("client", "key", "type_"),
    [
        ("claude-desktop", "mcpServers", None),
        ("claude-code", "mcpServers", "stdio"),
        ("cursor", "mcpServers", None),
        ("vscode", "servers", "stdio"),
        ("mcp-json", "mcpServers", "stdio"),
    ],
)
def test_a_local_server_in_each_form(client: str, key: str, type_: str | None, folder: Path):
    document = printed(client, "server.py", "--env", "A=b=c")
    assert list(document) == [key]
    entry = document[key]["My-notes"]
    assert entry.get("type") == type_
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-4:] == ["serve", str(folder / "server.py"), "--transport", "stdio"]
    assert entry["env"] == {"A": "b=c"}


@pytest.mark.parametrize(
    ("client", "key", "type_"),
    [
        ("claude-code", "mcpServers", {"type": "http"}),
        ("cursor", "mcpServers", {}),
        ("vscode", "servers", {"type": "http"}),
        ("mcp-json", "mcpServers", {"type": "http"}),
    ],
)
def test_a_remote_server_in_each_form_with_its_variables_as_they_are(client: str, key: str, type_: dict):
    header = "Authorization: Bearer ${TOKEN}"
    document = printed(client, "--name", "n", "--url", "https://mcp.example/mcp", "--header", header)
    headers = {"Authorization": "Bearer ${TOKEN}"}
    assert document == {key: {"n": {**type_, "url": "https://mcp.example/mcp", "headers": headers}}}


@pytest.mark.parametrize(
    ("client", "type_"),
    [("claude-code", {"type": "sse"}), ("cursor", {}), ("vscode", {"type": "sse"}), ("mcp-json", {"type": "sse"})],
)
def test_a_server_on_http_with_sse_is_known_by_its_path_or_named(client: str, type_: dict):
    for url, named in (("https://a.example/sse", []), ("https://a.example/x", ["--transport", "sse"])):
        [entries] = printed(client, "--name", "n", "--url", url, *named).values()
        assert entries == {"n": {**type_, "url": url}}
    [entries] = printed(client, "--name", "n", "--url", "https://a.example/sse", "--transport", "http").values()
    assert entries["n"].get("type") == ("http" if type_ else None)
    [entries] = printed(client, "server.py", "--transport", "sse").values()
    assert entries["My-notes"]["url"] == "http://127.0.0.1:8000/sse"


@pytest.mark.parametrize(
    ("client", "value", "warned"),
    [
        ("claude-code", "${TOKEN}", False),
        ("mcp-json", "${TOKEN:-none}", False),
        ("cursor", "${TOKEN}", True),
        ("cursor", "${env:TOKEN}", False),
        ("vscode", "${TOKEN}", True),
        ("vscode", "${input:token}", False),
    ],
)
def test_a_variable_that_the_client_would_not_replace_is_warned_of(client: str, value: str, warned: bool):
    done = install(client, "--name", "n", "--url", "https://x", "--header", f"X: {value}", "--print")
    assert ("literally" in done.stderr) == warned


def test_an_entry_for_http_without_an_address_is_for_this_machine():
    assert printed("claude-code", "server.py", "--transport", "http") == {
        "mcpServers": {"My-notes": {"type": "http", "url": "http://127.0.0.1:8000/mcp"}}
    }


@pytest.mark.skipif(sys.platform == "win32", reason="homes are elsewhere there")
@pytest.mark.parametrize(
    ("client", "platform", "place"),
    [
        ("claude-desktop", "darwin", "home/Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", "home/.config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", "home/AppData/Roaming/Claude/claude_desktop_config.json"),
        ("cursor", "linux", "home/.cursor/mcp.json"),
        ("claude-code", "linux", "project/.mcp.json"),
        ("vscode", "linux", "project/.vscode/mcp.json"),
        ("mcp-json", "linux", "project/.mcp.json"),
    ],
)
def test_each_file_is_where_its_client_looks(client: str, platform: str, place: str, tmp_path: Path):
    found = CLIENTS[client].place(platform, tmp_path / "home", tmp_path / "project", {})
    assert found == tmp_path / place


def test_places_follow_the_environment(tmp_path: Path):
    place = CLIENTS["claude-desktop"].place
    assert place("win32", tmp_path, tmp_path, {"APPDATA": "/roaming"}).parts[:3] == ("/", "roaming", "Claude")
    assert place("linux", tmp_path, tmp_path, {"XDG_CONFIG_HOME": "/conf"}).parts[:3] == ("/", "conf", "Claude")


def test_what_is_installed_names_this_python_and_full_paths(folder: Path):
    assert started_by(printed("claude-desktop", "server.py:other"), name="other")[-3:] == [
        f"{folder / 'server.py'}:other",
        "--transport",
        "stdio",
    ]
    command = started_by(printed("claude-desktop", "server.py"))[0]
    assert Path(command).parent == Path(sys.executable).parent


def test_a_module_of_this_folder_is_found_from_elsewhere(folder: Path):
    entry = printed("claude-desktop", "server:mcp")["mcpServers"]["My-notes"]
    assert entry["args"][-3:] == ["server:mcp", "--transport", "stdio"]
    assert entry["env"] == {"PYTHONPATH": str(folder)}
    entry = printed("claude-desktop", "server:mcp", "--env", "PYTHONPATH=/mine")["mcpServers"]["My-notes"]
    assert entry["env"] == {"PYTHONPATH": "/mine"}


def test_an_installed_module_needs_no_path():
    entry = printed("claude-desktop", "trio_mcp.demo")["mcpServers"]["trio-mcp-demo"]
    assert "env" not in entry


def test_where_the_script_is_not_installed_python_starts_the_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    command = started_by(printed("claude-desktop"), name="trio-mcp-demo")
    assert command == [str(tmp_path / "python"), "-m", "trio_mcp", "serve", "--transport", "stdio"]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("claude-desktop", "--url", "https://x", "--name", "n"), "under Connectors"),
        (("claude-code", "server.py", "--transport", "http", "--env", "A=1"), "--env is for a server that the client"),
        (("claude-code", "server.py", "--transport", "stdio", "--url", "https://x"), "are for a server that runs"),
        (("claude-code", "--url", "https://x"), "give the entry a name"),
        (("claude-code", "server.py", "--name", "a b"), "'a b' is no name for an entry"),
        (("claude-code", "server.py", "--env", "A"), "'A' is no NAME=VALUE"),
        (("claude-code", "server.py", "--header", "A=b"), "'A=b' is no 'NAME: VALUE'"),
        (("claude-code", "lost.py"), "there is no file lost.py"),
        (("emacs", "server.py"), "'emacs' is not one of"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(arguments: tuple[str, ...], says: str, folder: Path):
    assert says in refused(*arguments)
    assert [path.name for path in folder.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


# Files


def test_a_new_file_is_made_and_the_next_step_told(folder: Path):
    done = install("vscode", "server.py")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"My-notes is in {folder / '.vscode' / 'mcp.json'}. Next: press Start")
    written = json.loads((folder / ".vscode" / "mcp.json").read_text())
    assert list(written["servers"]) == ["My-notes"]
    assert [path.name for path in (folder / ".vscode").iterdir()] == ["mcp.json"]


def test_other_entries_keys_order_and_indentation_stay(folder: Path):
    before = {"z": 1, "mcpServers": {"b": {"command": "b", "odd": [1.5, None]}, "a": {"url": "ü"}}, "other": {"x": {}}}
    text = json.dumps(before, indent="\t", ensure_ascii=False)
    (folder / ".mcp.json").write_text(text, encoding="utf-8")
    assert "kept as .mcp.json.bak" in install("claude-code", "server.py").stdout
    after = (folder / ".mcp.json").read_text(encoding="utf-8")
    document = json.loads(after)
    added = document["mcpServers"].pop("My-notes")
    assert added["type"] == "stdio"
    assert json.dumps(document) == json.dumps(before)
    assert after.startswith('{\n\t"z": 1,\n\t"mcpServers": {\n\t\t"b"')
    assert "ü" in after
    assert (folder / ".mcp.json.bak").read_text(encoding="utf-8") == text


def test_the_same_again_changes_nothing(folder: Path):
    install("claude-code", "server.py")
    before = (folder / ".mcp.json").stat().st_mtime_ns, (folder / ".mcp.json").read_bytes()
    done = install("claude-code", "server.py")
    assert (done.exit_code, done.stdout) == (0, f"My-notes is in {folder / '.mcp.json'} already\n")
    assert ((folder / ".mcp.json").stat().st_mtime_ns, (folder / ".mcp.json").read_bytes()) == before
    assert not (folder / ".mcp.json.bak").exists()


def test_another_entry_of_the_name_needs_force(folder: Path):
    (folder / ".mcp.json").write_text('{"mcpServers": {"My-notes": {"command": "mine"}}}')
    done = install("claude-code", "server.py")
    assert done.exit_code == 2
    assert "it has another My-notes; --force replaces it, --name gives another name" in done.stderr
    assert "My-notes" in json.loads(done.stdout)["mcpServers"]
    assert "mine" in (folder / ".mcp.json").read_text()
    assert install("claude-code", "server.py", "--force").exit_code == 0
    assert "mine" not in (folder / ".mcp.json").read_text()
    assert "mine" in (folder / ".mcp.json.bak").read_text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{\n  // mine\n  "servers": {}\n}', "it has comments, which would be lost"),
        ('{"servers": {},}', "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"servers": []}', 'its "servers" is not an object'),
        ('{"servers": {}, "servers": {"a": 1}}', '"servers" stands twice'),
        ('{"servers": {"a": NaN}}', "it is not JSON (NaN is no JSON)"),
        ("[" * 100_000, "it is not JSON"),
        (b"\xff\xfe", "it cannot be read"),
    ],
)
def test_a_file_that_is_not_understood_is_left_and_what_belongs_there_printed(
    text: str | bytes, why: str, folder: Path
):
    path = folder / "mcp.json"
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    done = install("vscode", "server.py", "--config", str(path))
    assert done.exit_code == 2
    assert f"trio-mcp: {path} was left as it is: {why}" in done.stderr
    assert "My-notes" in json.loads(done.stdout)["servers"]
    assert path.read_bytes() == data
    assert sorted(one.name for one in folder.iterdir() if one.name != "__pycache__") == ["mcp.json", "server.py"]


def test_print_writes_nothing_even_where_it_could_not(folder: Path):
    (folder / ".mcp.json").write_text("not JSON")
    assert printed("claude-code", "server.py")["mcpServers"]
    assert (folder / ".mcp.json").read_text() == "not JSON"


@pytest.mark.parametrize("text", ["", " \n", "{}", "\ufeff{}"])
def test_an_empty_file_is_one_without_entries(text: str, folder: Path):
    (folder / ".mcp.json").write_text(text, encoding="utf-8")
    assert install("claude-code", "server.py").exit_code == 0
    assert list(json.loads((folder / ".mcp.json").read_text())["mcpServers"]) == ["My-notes"]


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
def test_the_mode_of_a_file_is_kept_and_links_are_followed(folder: Path, tmp_path: Path):
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text('{"mcpServers": {}}')
    real.chmod(0o640)
    (tmp_path / "home" / ".cursor").mkdir(parents=True)
    link = tmp_path / "home" / ".cursor" / "mcp.json"
    link.symlink_to(real)
    assert install("cursor", "server.py").exit_code == 0
    assert link.is_symlink()
    assert "My-notes" in json.loads(real.read_text())["mcpServers"]
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert (real.parent / "mcp.json.bak").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_new_file_of_a_user_is_for_its_owner_and_one_of_a_project_for_all(folder: Path, tmp_path: Path):
    install("cursor", "server.py")
    install("claude-code", "server.py")
    assert stat.S_IMODE((tmp_path / "home" / ".cursor" / "mcp.json").stat().st_mode) == 0o600
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((folder / ".mcp.json").stat().st_mode) == 0o666 & ~mask


def test_a_write_that_fails_leaves_the_file_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch):
    path = folder / ".mcp.json"
    path.write_text("{}")

    def full(source: str, destination: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trio_mcp.cli.json_file.os.replace", full)
    done = install("claude-code", "server.py")
    assert done.exit_code == 2
    assert "it cannot be written ([Errno 28] No space left on device)" in done.stderr
    assert path.read_text() == "{}"
    assert {one.name for one in folder.iterdir()} <= {".mcp.json", ".mcp.json.bak", "server.py", "__pycache__"}


def test_a_link_that_leads_round_is_refused(folder: Path):
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    with pytest.raises(UnusableFileError, match="it cannot be read"):
        JsonFile.read(folder / "a")


def test_its_help_shows_a_command_for_a_client():
    text = install("--help").stdout
    assert "trio-mcp install claude-desktop server.py" in text
    assert "${TOKEN}" in text
