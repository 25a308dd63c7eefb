"""TARGET: each of its forms finds the server, and each of its faults is one line that says what to do."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.commands import ran
from trio_mcp.cli import main
from trio_mcp.cli.errors import CliError, told
from trio_mcp.cli.target import Target, load

ONE = "from trio_mcp import Server\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working directory; what is imported from it is forgotten again."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def inspected(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *arguments], prog_name="trio-mcp")


def refusal(target: str) -> str:
    """The one line that is told."""
    result = inspected(target)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("trio-mcp: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# Forms


@pytest.mark.parametrize("name", ["mcp", "server", "app"])
def test_the_usual_names_are_found(name: str, folder: Path):
    write(folder, "a_target.py", ONE + f"other = Server('other')\n{name} = Server('usual')")
    assert load("a_target.py").name == "usual"


def test_of_the_usual_names_mcp_comes_first_and_what_is_no_server_is_passed_over(folder: Path):
    write(folder, "a_target.py", ONE + "app = Server('app')\nserver = Server('server')\nmcp = None")
    assert load("a_target.py").name == "server"


def test_the_only_server_is_found_under_any_name_and_more_than_one(folder: Path):
    write(folder, "a_target.py", ONE + "weather = also = Server('only')")
    assert load("a_target.py").name == "only"


@pytest.mark.parametrize("target", ["a_target.py:second", "a_target:second", "./a_target.py:second"])
def test_a_name_chooses(target: str, folder: Path):
    write(folder, "a_target.py", ONE + "mcp = Server('first')\nsecond = Server('second')")
    assert load(target).name == "second"


def test_a_name_may_be_dotted(folder: Path):
    write(folder, "a_target.py", ONE + "class house:\n    mcp = Server('inner')")
    assert load("a_target.py:house.mcp").name == "inner"


def test_a_function_that_returns_a_server_is_called(folder: Path):
    write(folder, "a_target.py", ONE + "def build():\n    return Server('built')")
    assert load("a_target:build").name == "built"


def test_a_module_in_a_package_is_found_from_the_working_directory(folder: Path):
    write(folder, "a_package/__init__.py", "")
    write(folder, "a_package/inner.py", ONE + "from . import sibling\nmcp = Server(sibling.NAME)")
    write(folder, "a_package/sibling.py", "NAME = 'packaged'")
    assert load("a_package.inner").name == "packaged"


def test_a_file_imports_its_neighbours_and_finds_itself_again(folder: Path):
    write(folder, "deep/a_target.py", ONE + "import a_neighbour\nimport a_target\nmcp = Server(a_neighbour.NAME)")
    write(folder, "deep/a_neighbour.py", "NAME = 'beside'")
    assert load("deep/a_target.py").name == "beside"
    assert load(str(folder / "deep" / "a_target.py")).name == "beside"


def test_a_file_named_like_a_loaded_module_does_not_replace_it(folder: Path):
    json = sys.modules["json"]
    write(folder, "json.py", ONE + "mcp = Server('mine')")
    assert load("json.py").name == "mine"
    assert sys.modules["json"] is json


def test_a_drive_letter_is_no_target_and_name():
    assert Target.parse("C:/folder/server.py") == Target("C:/folder/server.py", None, is_file=True)
    assert Target.parse("C:/folder/server.py:mcp") == Target("C:/folder/server.py", "mcp", is_file=True)


def test_what_a_module_prints_does_not_reach_stdout(folder: Path):
    write(folder, "a_target.py", ONE + "print('noise')\nmcp = Server('s')")
    result = inspected("a_target.py", "--json")
    assert result.exit_code == 0
    assert "noise" not in result.stdout
    assert "noise" in result.stderr


# Faults


@pytest.mark.parametrize("target", ["", ":mcp", "a b", "file.py:", "module:two words", "module:1"])
def test_what_has_no_form_is_told_the_forms(target: str, folder: Path):
    assert "file.py, file.py:name, module or module:name" in refusal(target)


def test_a_file_without_its_ending_is_recognised(folder: Path):
    write(folder, "my-server.py", ONE + "mcp = Server('s')")
    assert "did you mean my-server.py?" in refusal("my-server")


def test_a_missing_file_is_told_with_what_is_there(folder: Path):
    write(folder, "server.py", "")
    line = refusal("sevrer.py")
    assert f"there is no file sevrer.py in {folder}" in line
    assert "there are server.py" in line


def test_a_folder_is_no_target(folder: Path):
    (folder / "inner").mkdir()
    assert "is a folder" in refusal("./inner")


def test_a_file_that_is_not_python_is_refused(folder: Path):
    write(folder, "notes.txt", "")
    assert "must end in .py" in refusal("notes.txt")


def test_a_missing_module_is_told_with_where_it_was_looked_for(folder: Path):
    assert f"there is no module nowhere_at_all in {folder}" in refusal("nowhere_at_all")
    assert "there is no module nowhere_at_all in" in refusal("nowhere_at_all.inner:mcp")


def test_a_dot_for_a_colon_is_recognised(folder: Path):
    write(folder, "a_target.py", ONE + "mcp = Server('s')")
    assert "did you mean a_target:mcp?" in refusal("a_target.mcp")


def test_a_module_that_is_missing_inside_is_not_blamed_on_the_target(folder: Path):
    write(folder, "a_target.py", "import os\nimport nowhere_at_all")
    for target in ("a_target.py", "a_target"):
        line = refusal(target)
        assert f"cannot import {target}: ModuleNotFoundError: No module named 'nowhere_at_all'" in line
        assert f"is it installed for {sys.executable}?" in line
    assert "line 2" in refusal("a_target.py")


def test_a_failing_import_is_told_with_its_line(folder: Path):
    write(folder, "a_target.py", "x = 1\ny = x / 0\n")
    line = refusal("a_target.py")
    assert "cannot import a_target.py: ZeroDivisionError: division by zero, line 2" in line
    assert "--debug" in line
    assert "a_target" not in sys.modules


def test_a_failing_import_of_a_module_is_told(folder: Path):
    write(folder, "a_target.py", "raise ValueError('first\\nsecond')")
    assert "cannot import a_target: ValueError: first second" in refusal("a_target")


def test_a_syntax_error_is_told_with_its_place(folder: Path):
    write(folder, "a_target.py", "def f(:\n")
    assert "SyntaxError: invalid syntax (a_target.py, line 1)" in refusal("a_target.py")


def test_a_module_that_exits_is_told(folder: Path):
    write(folder, "a_target.py", "import sys\nsys.exit(3)")
    assert "it called sys.exit(3)" in refusal("a_target.py")


def test_a_tool_that_cannot_be_registered_is_told(folder: Path):
    write(folder, "a_target.py", ONE + "mcp = Server('s')\n@mcp.tool\ndef f(x: object(), /): ...")
    assert "cannot import a_target.py: " in refusal("a_target.py")


def test_a_file_of_a_package_is_told_to_come_as_a_module(folder: Path):
    write(folder, "a_package/inner.py", "from . import sibling")
    assert "give it as package.module" in refusal("a_package/inner.py")


def test_no_server_lists_what_there_is(folder: Path):
    write(folder, "a_target.py", ONE + "import os\ndef build(): ...\nLIMIT = 3\nempty = None\n_hidden = 1")
    line = refusal("a_target.py")
    assert "there is no Server in a_target.py; it has build (a function), LIMIT (an int), empty (None): " in line
    assert "os" not in line.partition("it has")[2].partition(":")[0]


def test_a_module_with_nothing_in_it_says_so(folder: Path):
    write(folder, "a_target.py", "")
    assert "it defines nothing" in refusal("a_target.py")


def test_a_long_list_is_cut(folder: Path):
    write(folder, "a_target.py", "\n".join(f"x{number} = {number}" for number in range(12)))
    assert "x7 (an int) and 4 more" in refusal("a_target.py")


def test_several_servers_are_listed_with_how_to_choose(folder: Path):
    write(folder, "a_target.py", ONE + "first = Server('1')\nsecond = Server('2')")
    assert "holds the servers first, second: name one, as in a_target.py:first" in refusal("a_target.py")


def test_a_wrong_name_lists_the_right_ones(folder: Path):
    write(folder, "a_target.py", ONE + "weather = Server('w')")
    assert "a_target.py has no wether; it has Server, weather" in refusal("a_target.py:wether")


def test_a_name_of_something_else_is_refused(folder: Path):
    write(folder, "a_target.py", "answer = 42")
    assert "a_target.py:answer is an int: name a Server" in refusal("a_target.py:answer")


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("def build(): return 'text'", "a_target:build() returned a str: it must return a Server"),
        ("def build(): pass", "a_target:build() returned None"),
        ("def build(): raise ValueError('no key')", "a_target:build() failed: ValueError: no key"),
        ("def build(needed): ...", "a_target:build() failed: TypeError: "),
        ("async def build(): ...", "a_target:build is async"),
    ],
)
def test_a_factory_that_makes_no_server_is_refused(factory: str, says: str, folder: Path):
    write(folder, "a_target.py", factory)
    assert says in refusal("a_target:build")


# Tracebacks


@pytest.mark.parametrize("command", ["serve", "inspect"])
def test_a_traceback_is_shown_with_debug_only_and_the_line_comes_last(command: str, tmp_path: Path):
    write(tmp_path, "a_target.py", "1 / 0")
    plain, debug = ran(command, "a_target.py", cwd=tmp_path), ran(command, "a_target.py", "--debug", cwd=tmp_path)
    assert (plain.returncode, debug.returncode) == (2, 2)
    assert plain.stderr.count("\n") == 1
    assert debug.stderr.startswith("Traceback")
    assert debug.stderr.endswith(plain.stderr)


def test_a_group_is_told_by_its_first_error():
    inner = ExceptionGroup("inner", [KeyError("k"), ValueError("v")])
    assert told(ExceptionGroup("outer", [inner])) == "KeyError: 'k' (and 1 more)"
    assert told(ValueError()) == "ValueError"
    assert len(told(ValueError("x" * 5000))) < 600


def test_a_refusal_keeps_its_cause(folder: Path):
    write(folder, "a_target.py", "1 / 0")
    with pytest.raises(CliError) as caught:
        load("a_target.py")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
