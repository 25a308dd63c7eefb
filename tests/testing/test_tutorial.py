"""docs/testing.md as a program: its files are written, its changes made and its commands run, top to bottom.

`python -m tests.testing.test_tutorial` writes the outputs into the pages anew, as they really are.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.documents import ROOT, Block, blocks

PAGE: Final = ROOT / "docs" / "testing.md"
README: Final = ROOT / "README.md"
EXAMPLE: Final = ROOT / "examples" / "testing"
REFERENCE: Final = "## The client"
"""Where the tutorial ends."""
PYTEST: Final = (sys.executable, "-m", "pytest", "-p", "no:trio-mcp", "-p", "trio_mcp.testing.plugin")
#: pytest's own, what measures us, and what makes pytest say more: a reader is at a terminal.
_NOT_A_READERS: Final = ("PYTEST_", "COVERAGE_", "CI", "BUILD_NUMBER")
IMPORT: Final = "from booking import HOLD, Bank, Office, make_server"


def tutorial(page: Path) -> Iterator[Block]:
    """The blocks of the tutorial, without those of the reference."""
    text = page.read_text(encoding="utf-8")
    end = text.count("\n", 0, text.index(f"\n{REFERENCE}\n"))
    return (block for block in blocks(page) if block.line < end)


def normalised(output: str) -> str:
    """Without what differs from run to run: wall times, and the rules that are as long as they leave room for."""
    output = re.sub(r"\bin \d+\.\d+ ?s\b", "in … s", output)
    return re.sub(r"={3,}", "===", output)


def is_change(block: Block) -> bool:
    """Whether a block tells lines to take away and lines to put in."""
    return block.language == "text" and all(line[:1] in " +-" for line in block.text.splitlines())


def changed(source: str, block: Block) -> str:
    """The source with the change made, at the one place where it fits."""
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    assert source.count(before) == 1, f"{block.place}: the change fits {source.count(before)} times"
    return source.replace(before, after)


class Folder:
    """A folder of somebody who reads the tutorial and types what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.booking = folder / "booking.py"
        self.tests = folder / "test_booking.py"
        shutil.copy(EXAMPLE / "pytest.ini", folder)
        (folder / "bin").mkdir()
        command = folder / "bin" / "pytest"
        command.write_text(f'#!/bin/sh\nexec {" ".join(PYTEST)} -p no:cacheprovider "$@"\n', encoding="utf-8")
        command.chmod(0o755)

    def follow(self, block: Block) -> str:
        """Do what a block says; what the page should show in its place."""
        if block.language == "console":
            lines = [line for line in block.text.splitlines() if line.startswith("$ ")]
            return "".join(f"{line}\n{self.run(line[2:])}" for line in lines)
        if is_change(block):
            self.booking.write_text(changed(self.booking.read_text("utf-8"), block), encoding="utf-8")
        elif block.file == "booking.py":
            self.booking.write_text(block.text, encoding="utf-8")
            self.tests.write_text(f"{IMPORT}\n", encoding="utf-8")
        elif block.language == "python" and block.file is None:
            with self.tests.open("a", encoding="utf-8") as file:
                file.write(f"\n\n{block.text}")
        return block.text

    def run(self, command: str) -> str:
        """What a command prints."""
        assert command.startswith("pytest "), command
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_A_READERS)}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env={**kept, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.stdout

    def try_readme(self) -> tuple[Block, str]:
        """Run the README's test of the README's server; the block that shows what is said, and what is."""
        found = blocks(README)
        server = next(block for block in found if block.file == "server.py")
        number, test = next((n, block) for n, block in enumerate(found) if "trio_mcp.testing" in block.text)
        (self.folder / server.file).write_text(server.text, encoding="utf-8")  # type: ignore[operator]  # it has one
        (self.folder / "test_server.py").write_text(f"from server import mcp\n{test.text}", encoding="utf-8")
        said = self.run("pytest -v test_server.py")
        return found[number + 1], "".join(line for line in said.splitlines(keepends=True) if " schedules, " in line)


def meaning(source: str) -> str:
    """What a module does, without its docstring, how its imports are laid out, and blank lines."""
    body = source.partition("\n@")[2]
    return re.sub(r"\n{2,}", "\n", body).strip()


def test_the_tutorial_shows_what_its_commands_print_and_ends_at_the_example(tmp_path: Path):
    reader = Folder(tmp_path)
    followed = 0
    for block in tutorial(PAGE):
        real = reader.follow(block)
        assert normalised(block.text) == normalised(real), f"{block.place}: write it anew as this module says"
        followed += block.language == "console"
    assert followed >= 8
    assert meaning(reader.booking.read_text("utf-8")) == meaning(
        (EXAMPLE / "booking.py").read_text("utf-8").partition("\n\nif __name__")[0]
    )
    assert meaning(reader.tests.read_text("utf-8")) == meaning((EXAMPLE / "test_booking.py").read_text("utf-8"))


def test_the_readme_shows_what_its_test_says(tmp_path: Path):
    block, real = Folder(tmp_path).try_readme()
    assert normalised(block.text) == normalised(real)


def test_the_example_passes_as_a_project_of_its_own(tmp_path: Path):
    reader = Folder(tmp_path)
    shutil.copy(EXAMPLE / "booking.py", tmp_path)
    shutil.copy(EXAMPLE / "test_booking.py", tmp_path)
    said = reader.run("pytest -q --trio-mcp-seeds=20")
    assert re.search(r"^6 passed in ", said, re.MULTILINE), said


@pytest.mark.parametrize("text", ["-a\n+b\n", " nowhere\n+b\n", " x\n+b\n"])
def test_a_change_that_does_not_fit_once_is_found_out(text: str):
    with pytest.raises(AssertionError, match="the change fits"):
        changed("x\nx\n", Block(PAGE, 1, "text", text))


def main() -> None:
    """Write every output anew that is not as it is shown."""
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as other:
        reader = Folder(Path(name))
        shown = [(block, reader.follow(block)) for block in tutorial(PAGE)]
        for block, real in (*shown, Folder(Path(other)).try_readme()):
            if normalised(block.text) != normalised(real):
                text = block.page.read_text(encoding="utf-8")
                assert text.count(f"\n{block.text}```") == 1, block.place
                block.page.write_text(text.replace(f"\n{block.text}```", f"\n{real}```"), encoding="utf-8")
                print(f"{block.place} is written anew")


if __name__ == "__main__":
    main()
