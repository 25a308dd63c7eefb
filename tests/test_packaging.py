"""What an installation brings, what an import loads, and what the repository must not say."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trio_mcp.version import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Written so that this file passes its own check.
REGISTRIES = [
    *("pypi" + dot for dot in (".org", ".python.org")),
    "python" + "hosted.org",
    *("npm" + dot for dot in ("js.org", "js.com")),
    "yarn" + "pkg.com",
    "crates" + ".io",
    "proxy.go" + "lang.org",
    "deb." + "debian.org",
]
FORBIDDEN = re.compile(
    "|".join(
        [
            *(rf"\b{re.escape(host)}" for host in REGISTRIES),
            r"--(?:extra-)?index-url[ =]\S",
            r"--find-links[ =]\S",
            r"\bregistry\s*=\s*\S*//",
            r"(?<![\w.*}-])(?<!:/)/(?:" + "|".join(("ro" + "ot", "wo" + "rk", "tm" + "p")) + r")(?:/|(?=[\s\"'`)])|$)",
        ]
    )
)


def closure(requirements: Iterable[str]) -> set[str]:
    """The distributions that these requirements bring to this Python on this system, by name."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            inner = [Requirement(text) for text in requires(name)]
            waiting += [one for one in inner if one.marker is None or one.marker.evaluate({"extra": extra})]
        found.add(name)
    return found - {"trio-mcp"}


def requires(name: str) -> list[str]:
    """The project's own requirements come from pyproject.toml, as an installation of the tree may be older than it."""
    if name != "trio-mcp":
        return importlib.metadata.requires(name) or []
    inner = [f'{text}; extra == "{extra}"' for extra, texts in EXTRAS.items() for text in texts]
    return [*PROJECT["dependencies"], *inner]


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def repository_files() -> list[Path]:
    """What is tracked or about to be: everything that git does not ignore."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git here to tell the project's files from others")
    listing = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_a_bare_installation_is_these_sixteen_distributions():
    """The issue asks for at most 15, but the six packages that it names (trio, hypercorn, httptools, msgspec, attrs,
    click) need sixteen by themselves: these and nothing else."""
    assert closure(["trio-mcp"]) == {
        *("attrs", "click", "h11", "h2", "hpack", "httptools", "hypercorn", "hyperframe"),
        *("idna", "msgspec", "outcome", "priority", "sniffio", "sortedcontainers", "trio", "wsproto"),
    }


def test_the_extra_all_brings_every_optional_extra():
    optional = [f"trio-mcp[{extra}]" for extra in EXTRAS if extra not in ("all", "dev")]
    assert len(optional) >= 2
    assert closure(["trio-mcp[all]"]) == closure(optional)


def test_the_closure_follows_extras_and_markers():
    assert closure(["trio-mcp"]) < closure(["trio-mcp[pydantic]"])
    assert {"pydantic", "pydantic-core"} <= closure(["trio-mcp[all]"])
    assert "exceptiongroup" not in closure(["trio-mcp[dev]"])


def test_the_constraints_pin_every_distribution_that_the_tests_run_with():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            assert re.fullmatch(r"[a-z0-9-]+", name)
            assert re.fullmatch(r"[a-z0-9.]+", version)
            pins[name] = version
    assert closure(["trio-mcp[dev]"]) - set(pins) == set()
    assert {"pip", "setuptools", "trio-mcp"}.isdisjoint(pins)


def test_the_installed_distribution_is_this_version_with_its_command():
    assert importlib.metadata.version("trio-mcp") == __version__
    scripts = importlib.metadata.distribution("trio-mcp").entry_points.select(group="console_scripts")
    assert [(script.name, script.value) for script in scripts] == [("trio-mcp", "trio_mcp.cli:main")]


EXPLORED = """
import pytest
from trio_mcp import Server
from trio_mcp.testing import connect


@pytest.mark.explore(seeds=3)
async def test_it():
    async with connect(Server("s")) as client:
        await client.ping()
"""


def test_the_pytest_plugin_is_there_once_the_package_is_installed(tmp_path: Path):
    plugins = importlib.metadata.distribution("trio-mcp").entry_points.select(group="pytest11")
    assert [(plugin.name, plugin.value) for plugin in plugins] == [("trio-mcp", "trio_mcp.testing.plugin")]
    (tmp_path / "test_it.py").write_text(EXPLORED, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-v", "--strict-markers", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "test_it: 3 runs" in run.stdout


def test_the_package_carries_its_types():
    assert (ROOT / "trio_mcp" / "py.typed").is_file()


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return modules_after("import trio_mcp")


@pytest.mark.parametrize(
    "heavy",
    [
        *("pydantic", "pydantic_core", "jsonschema_rs", "annotated_types", "asyncio", "pytest", "hypothesis"),
        *("joserfc", "cryptography", "httpx2", "trio_mcp.auth.jose", "trio_mcp.auth.fetch"),
    ],
)
def test_importing_the_package_loads_nothing_optional(heavy: str, loaded: set[str]):
    assert heavy not in loaded


def test_what_an_import_loads_is_seen(loaded: set[str]):
    assert "trio_mcp" in loaded
    assert "asyncio" in modules_after("import asyncio")


def test_no_file_names_a_registry_or_a_place_on_a_machine():
    files = repository_files()
    assert ROOT / "pyproject.toml" in files
    found = []
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace")
        lines = enumerate(text.splitlines(), 1)
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in lines
            if FORBIDDEN.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        *(f"see https://{host}/project/x" for host in REGISTRIES),
        "pip install --extra-" + "index-url http://mirror.example/simple",
        "regi" + "stry=https://mirror.example/npm",
        *(f"open('/{place}/file')" for place in ("ro" + "ot", "wo" + "rk", "tm" + "p")),
        "cd /" + "wo" + "rk",
    ],
)
def test_a_registry_or_a_place_is_seen(line: str):
    assert FORBIDDEN.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "the framework/root of it",
        "a network/work/item",
        "tests/tmp/x and node_modules/tmp/lib",
        "the registry = {} of tools",
        "/workers/1 and /rooted",
        "{base}/work/1",
        "files://" + "ro" + "ot" + "/{path}",
    ],
)
def test_a_harmless_line_passes(line: str):
    assert not FORBIDDEN.search(line)


def test_the_conformance_suite_is_pinned_by_content_and_not_by_address():
    text = (ROOT / "tests/conformance/package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    assert '"resolved"' not in text
    assert packages["node_modules/@modelcontextprotocol/conformance"]["version"] == "0.2.0-alpha.12"
    assert packages[""]["dependencies"] == {"@modelcontextprotocol/conformance": "0.2.0-alpha.12"}
    assert all("integrity" in package for name, package in packages.items() if name)
