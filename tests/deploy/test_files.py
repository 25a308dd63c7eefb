"""The files of `examples/deploy`: each is well-formed, starts what exists with settings that exist, and gives the
server the time to end that it needs. Those of platforms that are not here are checked no further."""

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import yaml
from click.testing import CliRunner

from tests.documents import ROOT
from tests.external import require
from tests.http.servers import small_server
from trio_mcp import Settings, Shutdown, serve_http
from trio_mcp.cli import main
from trio_mcp.cli.supervisor import Bounds

FOLDER = ROOT / "examples/deploy"
PAGE = ROOT / "docs/deploy.md"
TO_SPARE = 5
"""Seconds between the end of the longest shutdown and the signal that kills."""


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def unit(name: str) -> dict[str, list[tuple[str, str]]]:
    """The sections of a systemd unit, in which keys may come more than once."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in read(name).splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.append((key, value))
    return sections


def values(section: list[tuple[str, str]], key: str) -> list[str]:
    return [value for name, value in section if name == key]


# The Dockerfile


@attrs.frozen
class Step:
    """One instruction, on one line."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Of the form that needs no shell."""
        found = json.loads(self.text)
        assert all(isinstance(word, str) for word in found)
        return list(found)


def dockerfile() -> list[Step]:
    lines = [line for line in read("Dockerfile").splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line]


def steps(name: str) -> list[Step]:
    return [step for step in dockerfile() if step.name == name]


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for step in steps("ENV") for word in step.text.split())


def healthcheck() -> list[str]:
    """The command, with this Python."""
    [step] = steps("HEALTHCHECK")
    command = Step("CMD", step.text.partition("CMD ")[2]).words
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


def test_the_image_is_made_of_files_that_are_there():
    assert [step.text.partition(" AS ")[0] for step in steps("FROM")] == ["python:${PYTHON}-slim"] * 2
    arguments = dict(step.text.split("=") for step in steps("ARG"))
    copied = [step.text for step in steps("COPY") if not step.text.startswith("--from")]
    sources = [word for text in copied for word in text.split()[:-1]]
    assert "trio_mcp" in sources
    for source in sources:
        assert (ROOT / re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], source)).exists(), source
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(arguments["EXTRAS"].split(",")) <= set(extras)


def test_the_image_runs_without_root_and_begins_with_the_command():
    last = dockerfile()[max(number for number, step in enumerate(dockerfile()) if step.name == "FROM") :]
    [user] = [step.text for step in last if step.name == "USER"]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user), "a number, so that runAsNonRoot can be checked"
    [entry], [command] = steps("ENTRYPOINT"), steps("CMD")
    assert entry.words == ["trio-mcp"]
    assert command.words[0] == "serve"
    assert [step.text for step in last if step.name == "EXPOSE"] == [image_environment()["TRIO_MCP_PORT"]]


async def test_the_healthcheck_tells_a_server_that_works_from_one_that_does_not():
    async def check(port: int) -> int:
        environment = {**os.environ, "TRIO_MCP_PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
        done = await trio.run_process(healthcheck(), env=environment, check=False, stderr=subprocess.DEVNULL)
        return done.returncode

    shutdown = Shutdown()
    server = small_server(allowed_hosts=["mcp.example.org"])
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown))
            port = int(url.split(":")[2].partition("/")[0])
            assert await check(port) == 0
            shutdown.begin.set()
        assert await check(port) != 0
        server.settings = Settings(https_redirect=True)
        async with trio.open_nursery() as nursery:
            shutdown = Shutdown()
            [url] = await nursery.start(partial(serve_http, server, port=port, shutdown=shutdown))
            assert await check(port) == 0, "a server that sends to HTTPS works"
            shutdown.begin.set()
        server.settings = Settings(operational_routes=False)
        async with trio.open_nursery() as nursery:
            shutdown = Shutdown()
            [url] = await nursery.start(partial(serve_http, server, port=port, shutdown=shutdown))
            assert await check(port) != 0, "404"
            shutdown.begin.set()


# What is started, and with which settings


@attrs.frozen
class Start:
    """How a file starts the server, and how long it lets it end."""

    file: str
    options: list[str]
    environment: dict[str, str]
    patience: float


def container() -> dict[str, Any]:
    """The pod's container."""
    [deployment] = [one for one in yaml.safe_load_all(read("kubernetes.yaml")) if one["kind"] == "Deployment"]
    [found] = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def pod() -> dict[str, Any]:
    [deployment] = [one for one in yaml.safe_load_all(read("kubernetes.yaml")) if one["kind"] == "Deployment"]
    return dict(deployment["spec"]["template"]["spec"])


def starts() -> Iterator[Start]:
    [command] = steps("CMD")
    of_image = image_environment()
    compose = yaml.safe_load(read("compose.yaml"))["services"]["mcp"]
    patience = float(compose["stop_grace_period"].removesuffix("s"))
    yield Start("compose.yaml", command.words, of_image | compose["environment"], patience)

    quadlet = unit("trio-mcp.container")
    environment = dict(value.split("=", 1) for value in values(quadlet["Container"], "Environment"))
    [arguments] = values(quadlet["Container"], "PodmanArgs")
    patience = float(arguments.removeprefix("--stop-timeout="))
    assert float(values(quadlet["Service"], "TimeoutStopSec")[0]) >= patience
    yield Start("trio-mcp.container", command.words, of_image | environment, patience)

    service = unit("trio-mcp.service")["Service"]
    program, *options = shlex.split(values(service, "ExecStart")[0].replace("%S", "state"))
    assert program.endswith("/bin/trio-mcp")
    yield Start("trio-mcp.service", options, {}, float(values(service, "TimeoutStopSec")[0]))

    deploy = tomllib.loads(read("railway.toml"))["deploy"]
    shell, dash_c, script = shlex.split(deploy["startCommand"])
    assert (shell, dash_c) == ("/bin/sh", "-c")
    execute, program, *options = shlex.split(script)
    assert (execute, program) == ("exec", "trio-mcp")
    options = ["9123" if option == "$PORT" else option for option in options]
    yield Start("railway.toml", options, of_image, deploy["drainingSeconds"])

    fly = tomllib.loads(read("fly.toml"))
    yield Start("fly.toml", command.words, of_image | fly["env"], fly["kill_timeout"])

    environment = {one["name"]: one.get("value", "a secret of at least 32 bytes, yes") for one in container()["env"]}
    before = float(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    patience = pod()["terminationGracePeriodSeconds"] - before
    yield Start("kubernetes.yaml", container()["args"], of_image | environment, patience)


STARTS = list(starts())


def effective(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What `trio-mcp settings` says of a start: by name, its value and where it is from."""
    (folder / "server.py").write_text("from trio_mcp import Server\nmcp = Server('deployed')\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("TRIO_MCP_")]:
        monkeypatch.delenv(name)
    verb, *options = start.options
    assert verb == "serve"
    shown = CliRunner().invoke(main, ["settings", "--json", *options], env=start.environment)
    assert shown.exit_code == 0, shown.output
    assert "trio-mcp: " not in shown.stderr, shown.stderr  # a variable that is no setting
    return dict(json.loads(shown.stdout))


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.file)
def test_what_is_started_exists_and_so_does_every_setting(start: Start, tmp_path: Path, monkeypatch):
    shown = effective(start, tmp_path, monkeypatch)
    used = {one["source"].partition(" in the environment")[0] for one in shown.values()}
    given = {name for name in start.environment if name.startswith("TRIO_MCP_")}
    by_flag = {"TRIO_MCP_PORT"} if start.file == "railway.toml" else set()
    assert given - used == by_flag, "a variable has no effect"
    assert shown["port"]["value"] == (9123 if by_flag else 8000)
    if start.environment:
        assert shown["host"]["value"] == "0.0.0.0", "in a container, nobody could reach loopback"


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.file)
def test_the_server_has_the_time_to_end_that_it_needs(start: Start, tmp_path: Path, monkeypatch):
    shown = effective(start, tmp_path, monkeypatch)
    chosen = Settings(**{name: shown[name]["value"] for name in ("shutdown_grace", "cleanup_timeout")})
    bounds = Bounds.of(chosen)
    assert chosen.shutdown_grace == 20
    assert start.patience >= bounds.grace + bounds.cleanup + TO_SPARE


def test_the_port_of_railway_reaches_the_server_and_signals_do_too(tmp_path: Path):
    (tmp_path / "trio-mcp").write_text('#!/bin/sh\necho "$$ $*"\n', encoding="utf-8")
    (tmp_path / "trio-mcp").chmod(0o755)
    words = shlex.split(tomllib.loads(read("railway.toml"))["deploy"]["startCommand"])
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PORT": "7777"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate(timeout=20)
    assert said.split()[0] == str(process.pid), "the shell has made way, so that signals reach the server"
    assert "--port 7777" in said


# Platforms


def test_probes_ask_what_they_are_for():
    found = container()
    assert found["livenessProbe"]["httpGet"]["path"] == "/health"
    assert found["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert found["startupProbe"]["httpGet"]["path"] == "/ready"
    assert {probe["httpGet"]["port"] for name, probe in found.items() if name.endswith("Probe")} == {"http"}
    assert found["ports"] == [{"name": "http", "containerPort": int(image_environment()["TRIO_MCP_PORT"])}]
    liveness = found["livenessProbe"]["periodSeconds"] * found["livenessProbe"]["failureThreshold"]
    assert liveness > pod()["terminationGracePeriodSeconds"], "a shutdown is no reason to be restarted"
    assert tomllib.loads(read("railway.toml"))["deploy"]["healthcheckPath"] == "/ready"
    assert [check["path"] for check in tomllib.loads(read("fly.toml"))["http_service"]["checks"]] == ["/ready"]


def test_kubernetes_names_fit_together_and_root_is_not_needed():
    deployment, service = yaml.safe_load_all(read("kubernetes.yaml"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert service["spec"]["ports"][0]["targetPort"] == container()["ports"][0]["name"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    [user] = {step.text.partition(":")[0] for step in steps("USER")}
    assert pod()["securityContext"]["runAsUser"] == int(user)
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod()["enableServiceLinks"] is False
    assert deployment["spec"]["replicas"] == 1


def test_compose_builds_the_image_and_publishes_it_to_this_machine_alone():
    compose = yaml.safe_load(read("compose.yaml"))
    service = compose["services"]["mcp"]
    build = service["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]) == FOLDER / "Dockerfile"
    assert (ROOT / build["args"]["SERVER"]).is_file()
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert {volume.partition(":")[0] for volume in service["volumes"]} == set(compose["volumes"])


def test_platform_files_name_the_dockerfile_and_the_port():
    railway, fly = tomllib.loads(read("railway.toml")), tomllib.loads(read("fly.toml"))
    assert ROOT / railway["build"]["dockerfilePath"] == FOLDER / "Dockerfile"
    assert (FOLDER / fly["build"]["dockerfile"]).is_file()
    assert str(fly["http_service"]["internal_port"]) == image_environment()["TRIO_MCP_PORT"]


def test_the_proxies_agree_with_our_defaults():
    settings = Settings()
    nginx, caddy = read("nginx.conf"), read("Caddyfile")
    for text, pattern in ((nginx, r"client_max_body_size ([0-9]+)m;"), (caddy, r"max_size ([0-9]+)MiB")):
        [megabytes] = re.findall(pattern, text)
        assert int(megabytes) * 1024 * 1024 == settings.max_body
    for text, pattern in ((nginx, r"keepalive_timeout ([0-9]+)s;"), (caddy, r"keepalive ([0-9]+)s")):
        [seconds] = re.findall(pattern, text)
        assert int(seconds) < settings.idle_timeout
    assert caddy.count("{") == caddy.count("}") == 4
    for name, value in re.findall(r"\((\w+), ([0-9]+) s\)", nginx + caddy):
        assert getattr(settings, name) == int(value), f"a comment says {name} is {value}"


def test_the_quadlet_is_one_and_publishes_to_this_machine_alone():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(read("trio-mcp.container"))
    assert parser.sections() == ["Unit", "Container", "Service", "Install"]
    section = unit("trio-mcp.container")["Container"]
    assert values(section, "Image") == ["localhost/trio-mcp"]
    assert values(section, "PublishPort") == ["127.0.0.1:8000:8000"]


# systemd


def verified(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What `systemd-analyze verify` says of the unit, with a program that is there."""
    path = folder / "trio-mcp.service"
    path.write_text(text.replace("/opt/trio-mcp/venv/bin/trio-mcp", sys.executable), encoding="utf-8")
    command = [require("systemd-analyze"), "verify", "--man=no", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    done = verified(read("trio-mcp.service"), tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    wrong = verified(read("trio-mcp.service").replace("KillMode=mixed", "KillMode=gentle"), tmp_path)
    assert "gentle" in wrong.stderr


def test_systemd_calls_the_units_exposure_low(tmp_path: Path):
    path = tmp_path / "trio-mcp.service"
    path.write_text(read("trio-mcp.service"), encoding="utf-8")
    command = [require("systemd-analyze"), "security", "--offline=true", "--threshold=20", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_unit_has_descriptors_for_every_connection_and_does_not_repeat_what_cannot_work():
    service = unit("trio-mcp.service")["Service"]
    assert int(values(service, "LimitNOFILE")[0]) >= 1.5 * Settings().max_connections
    assert values(service, "RestartPreventExitStatus") == ["2"]
    assert values(service, "Type") == ["exec"]
    assert values(service, "KillSignal") == ["SIGTERM"]
    assert values(service, "DynamicUser") == ["yes"]


# The page


def test_the_page_names_every_file_and_no_other():
    named = set(re.findall(r"examples/deploy/([\w.-]*\w)", PAGE.read_text(encoding="utf-8")))
    assert named == {path.name for path in FOLDER.iterdir()}
