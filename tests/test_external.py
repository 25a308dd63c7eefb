"""Programs that tests need: found, else skipped and told of, else failed where they must be there."""

import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.external import INSTALLED_BY_CI, PROGRAMS, REQUIRED, find, missing, require


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it."""
    monkeypatch.setattr("tests.external._SBIN", (str(tmp_path / "sbin"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    return tmp_path


def put(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_found_by_any_of_its_names(bare: Path, name: str):
    assert find(name) is None
    for other in reversed(PROGRAMS[name][0]):
        path = put(bare / other)
        assert find(name) == require(name) == path


def test_a_program_is_found_where_only_administrators_look(bare: Path):
    path = put(bare / "sbin/nginx")
    assert require("nginx") == path


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_it_a_test_is_skipped_with_the_reason(bare: Path, name: str):
    with pytest.raises(pytest.skip.Exception, match=f"there is no {name} on this machine .*{PROGRAMS[name][1]}"):
        require(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_where_they_could_be_installed_it_must_be_there(bare: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(REQUIRED, "1")
    wanted = pytest.fail.Exception if name in INSTALLED_BY_CI else pytest.skip.Exception
    with pytest.raises(wanted, match=name):
        require(name)


def test_what_was_not_tested_is_counted_by_program(bare: Path):
    reports = [SimpleNamespace(longrepr=("tests/x.py", 1, "Skipped: needs /proc"))]
    for name in ("nginx", "curl", "nginx"):
        try:
            require(name)
        except pytest.skip.Exception as skipped:
            reports.append(SimpleNamespace(longrepr=("tests/x.py", 2, f"Skipped: {skipped}")))
    assert missing(reports) == [
        "NOT TESTED for want of curl: 1 skipped; install curl",
        "NOT TESTED for want of nginx: 2 skipped; install nginx-light",
    ]
