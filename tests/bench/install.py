"""What the bench needs beside the project: the peers in an environment of their own, Node's packages, and wrk.

It owns `tests/bench/.venv` and `tests/bench/node_modules`, which are made anew only when a pin changes. It refuses to
touch the project's own environment.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.peers import HERE, PEER_PYTHON, node

_PINS: Final = ("requirements.txt", "package.json", "package-lock.json", ".npmrc")
_STAMP: Final = HERE / ".venv" / ".installed"
_MINUTES: Final = 60


class NotInstalledError(RuntimeError):
    """Something is missing that the bench cannot bring by itself; the message says what to do."""


def install_peers() -> None:
    """Install the pinned peers, unless they are there.

    Raises:
        NotInstalledError: pip or npm failed.
    """
    pins = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in _PINS)).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == pins and (HERE / "node_modules").exists():
        return
    if not PEER_PYTHON.exists():
        print("bench: making tests/bench/.venv", flush=True)
        _run([sys.executable, "-m", "venv", str(HERE / ".venv")])
    print("bench: installing the Python peers", flush=True)
    pip = [str(PEER_PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    _run([*pip, "-r", str(HERE / "requirements.txt")])
    print("bench: installing the TypeScript SDK", flush=True)
    wheel = Path(node()).parent.parent
    npm = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"  # the wheel's own bin/npm does not work
    _run([node(), str(npm), "ci", "--loglevel=error", "--ignore-scripts", "--no-audit", "--no-fund"])
    _STAMP.write_text(pins)


def find_wrk() -> None:
    """Install the load generator from the system's packages when it is missing and we may.

    Raises:
        NotInstalledError: it is missing and stays so.
    """
    if shutil.which("wrk") is None and shutil.which("apt-get") and os.geteuid() == 0:
        print("bench: installing wrk", flush=True)
        try:
            _run(["apt-get", "install", "-y", "-qq", "wrk"])
        except NotInstalledError:
            _run(["apt-get", "update", "-qq"])
            _run(["apt-get", "install", "-y", "-qq", "wrk"])
    if shutil.which("wrk") is None:
        raise NotInstalledError("wrk is missing, the load generator: install it (Debian: apt-get install wrk)")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=10 * _MINUTES, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{' '.join(command[:4])} … did not end within ten minutes") from None
    if done.returncode:
        raise NotInstalledError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
