"""`.ci/run`: it installs what tests drive where it can, says what it cannot, and is strict only where all is there."""

import os
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from tests.documents import ROOT

PACKAGES = {"nginx": "nginx-light", "chromium": "chromium", "curl": "curl"}
BORROWED = ("bash", "sh", "env", "dirname", "timeout", "chmod", "cat")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="it is a script for bash")


@attrs.frozen
class Machine:
    """A machine of scripts: what is on its PATH is all there is."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def has(self, name: str, text: str = "exit 0") -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def run(self) -> tuple[list[str], str]:
        """What make and apt-get were called with, and what was said."""
        done = subprocess.run(
            [self.folder / ".ci/run"],
            env={"PATH": str(self.bin), "LOG": str(self.folder / "log"), "BIN": str(self.bin)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 7, done.stderr  # make's own
        return (self.folder / "log").read_text().splitlines(), done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if os.path.exists("/usr/sbin/nginx"):  # where the script looks beside the PATH
        script = (ROOT / ".ci/run").read_text().replace("/usr/sbin/nginx", str(tmp_path / "sbin/nginx"))
    else:
        script = (ROOT / ".ci/run").read_text()
    made = Machine(tmp_path)
    made.bin.mkdir()
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text(script)
    (tmp_path / ".ci/run").chmod(0o755)
    for name in BORROWED:
        found = shutil.which(name)
        assert found is not None
        (made.bin / name).symlink_to(found)
    made.has("id", "echo 0")
    made.has("make", 'echo "make $* REQUIRE_EXTERNAL=$REQUIRE_EXTERNAL" >> "$LOG"; exit 7')
    return made


INSTALL = 'echo "apt-get $*" >> "$LOG"\n'
STRICT, LENIENT = "make test REQUIRE_EXTERNAL=1", "make test REQUIRE_EXTERNAL="


def installing(*names: str) -> str:
    """An apt-get that brings these programs."""
    lines = [f'echo "#!/bin/sh" > "$BIN/{name}"; chmod 755 "$BIN/{name}"' for name in names]
    return INSTALL + 'if [ "$1" = install ]; then\n:\n' + "\n".join(lines) + "\nfi"


def test_nothing_is_installed_where_all_is_there(machine: Machine):
    for name in PACKAGES:
        machine.has(name)
    machine.has("apt-get", INSTALL)
    assert machine.run() == ([STRICT], "")


@pytest.mark.parametrize("browser", ["chromium-browser", "google-chrome"])
def test_a_browser_may_have_other_names(machine: Machine, browser: str):
    for name in ("nginx", "curl", browser):
        machine.has(name)
    assert machine.run() == ([STRICT], "")


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_missing_is_installed_and_then_there_must_be_no_skips(machine: Machine, name: str):
    for other in set(PACKAGES) - {name}:
        machine.has(other)
    machine.has("apt-get", installing(name))
    calls, said = machine.run()
    assert calls == [
        "apt-get update -qq",
        f"apt-get install -y -qq --no-install-recommends {PACKAGES[name]}",
        STRICT,
    ]
    assert PACKAGES[name] in said


def test_an_installation_that_fails_is_told_and_the_tests_run_all_the_same(machine: Machine):
    machine.has("curl")
    machine.has("apt-get", INSTALL + "exit 100")
    calls, said = machine.run()
    assert calls == ["apt-get update -qq", LENIENT]
    assert "could not install nginx-light chromium" in said


def test_one_that_brought_nothing_makes_nothing_a_must(machine: Machine):
    machine.has("apt-get", INSTALL)
    assert machine.run()[0][-1] == LENIENT


@pytest.mark.parametrize("who", ["somebody", "root without apt-get"])
def test_who_cannot_install_is_told_so(machine: Machine, who: str):
    if who == "somebody":
        machine.has("id", "echo 1000")
        machine.has("apt-get", INSTALL)
    calls, said = machine.run()
    assert calls == [LENIENT]
    assert "cannot install nginx-light chromium curl" in said
