"""nginx as Debian has it, with the site of `examples/deploy`, in front of a server in the test's own nursery.

It owns the ways in which the site's file is changed for a test, each of which must find what it changes, and clients
that come from addresses of their own. nginx runs without privileges, with all its files in a folder of its own; it is
handed its listening socket, so no port is guessed and no start is waited for.
"""

import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import attrs
import trio

from tests.external import require
from tests.http.lane_kit import CERTIFICATE, KEY
from tests.http.servers import Diary, small_server
from tests.http.sockets import Wire
from trio_mcp import Context, Server, Shutdown, serve_http

SITE = Path(__file__).resolve().parents[2] / "examples/deploy/nginx.conf"
NAME = "mcp.example.org"
PATIENCE = 60
NOBODY = 65534
_log = logging.getLogger("tests.deploy")

MAIN = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {extra}
    include site.conf;
}}
"""


def changed(text: str, pattern: str, replacement: str) -> str:
    """The text with every match replaced; there must be some."""
    text, count = re.subn(pattern, lambda _: replacement, text, flags=re.MULTILINE)
    assert count, f"the site has no {pattern!r} any more"
    return text


def site(*, front: int, back: int) -> str:
    """The site on the ports of a test, without IPv6."""
    text = changed(SITE.read_text(encoding="utf-8"), r"^ +listen \[::\]:80;\n", "")
    text = changed(text, r"^( +)listen 80;", f"    listen 127.0.0.1:{front};")
    return changed(text, r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{back};")


def with_https(text: str) -> str:
    """The site with the lines for HTTPS switched on, but for the redirect's server, which would need a second port."""
    here = re.findall(r"^ +listen (127\.0\.0\.1:[0-9]+);", text, re.MULTILINE)
    text = changed(text, r"^ +listen 127\.0\.0\.1:[0-9]+;\n", "")
    text = changed(text, r"^#server \{\n(#.*\n)+", "")
    text = changed(text, r"^ +#listen \[::\]:443.*\n", "")
    text = changed(text, r"^( +)#listen 443", f"listen {here[0]}")
    text = changed(text, r"^ +#ssl_certificate  .*", "ssl_certificate certificate.pem;")
    return changed(text, r"^ +#ssl_certificate_key .*", "ssl_certificate_key key.pem;")


def redirect(*, front: int) -> str:
    """The server of the site that only sends to HTTPS, alone."""
    [block] = re.findall(r"^#server \{\n(?:#.*\n)+", SITE.read_text(encoding="utf-8"), re.MULTILINE)
    text = changed(block, r"^#", "")
    text = changed(text, r"^ +listen \[::\]:80;\n", "")
    return changed(text, r"listen 80;", f"listen 127.0.0.1:{front};")


@attrs.define
class Front:
    """nginx, and the server behind it.

    Attributes:
        port: of nginx.
        back: of the server.
    """

    port: int
    back: int
    shutdown: Shutdown
    tls: ssl.SSLContext | None = None

    async def connect(self, path: str = "/mcp", *, client: str = "127.0.0.1", host: str = NAME) -> "Through":
        """A connection to nginx, from one of loopback's addresses."""
        stream: Any = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=client)
        if self.tls is not None:
            stream = trio.SSLStream(stream, self.tls, server_hostname="localhost", https_compatible=True)
        return Through(stream, path, host)


class Through(Wire):
    """A connection whose streams are read event by event."""

    _events = b""

    async def block(self) -> str:
        """The next event, or comment, as it stands."""
        while b"\n\n" not in self._events:
            piece = await self.chunk()
            assert piece, "the stream ended"
            self._events += piece
        block, _, self._events = self._events.partition(b"\n\n")
        return block.decode()

    async def rest(self) -> str:
        """What is left of the stream; it must end with its terminator."""
        while piece := await self.chunk():
            self._events += piece
        return self._events.decode()

    async def message(self) -> Any:
        """The next message; comments and events without data are passed over."""
        while True:
            for line in (await self.block()).splitlines():
                if line.startswith("data: ") and line != "data: ":
                    return json.loads(line[6:])

    async def __aenter__(self) -> "Through":
        return self

    async def __aexit__(self, *error: object) -> None:
        await trio.aclose_forcefully(self.stream)


@contextmanager
def prefix(**files: str) -> Iterator[Path]:
    """A folder with these files (`name_conf` is name.conf) and a certificate, which whoever nginx runs as can use."""
    with TemporaryDirectory(prefix="nginx-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file.replace("_", ".")).write_text(text, encoding="utf-8")
        for pem in (CERTIFICATE, KEY):
            shutil.copy(pem, folder)
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        yield folder


@asynccontextmanager
async def nginx(listener: socket.socket, text: str, *, extra: str = "") -> AsyncIterator[None]:
    """Run nginx with a site; it must not have failed."""
    with (
        prefix(
            site_conf=text,
            nginx_conf=MAIN.format(extra=extra),
        ) as folder,
        TemporaryFile() as log,
    ):
        async with _running(folder, listener, log):
            yield


@asynccontextmanager
async def _running(folder: Path, listener: socket.socket, log: IO[bytes]) -> AsyncIterator[None]:
    drop: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    process = await trio.lowlevel.open_process(
        [require("nginx"), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, "NGINX": f"{listener.fileno()};"},  # as a new nginx takes the place of an old one
        pass_fds=[listener.fileno()],
        **drop,
    )
    listener.close()
    try:
        yield
        assert process.returncode is None, f"nginx ended with {process.returncode}"
    except BaseException:
        log.seek(0)
        _log.warning("nginx said: %s", log.read().decode())
        raise
    finally:
        process.terminate()  # its worker goes with it, and all connections
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):  # told to go, it does at once
            await process.wait()
        process.kill()


def free_socket() -> socket.socket:
    """A listening socket on loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


@asynccontextmanager
async def fronted(
    server: Server,
    *,
    change: Callable[[str], str] = lambda text: text,
    extra: str = "",
    tls: ssl.SSLContext | None = None,
    relay: Callable[[int], Any] | None = None,
    **options: Any,
) -> AsyncIterator[Front]:
    """Serve behind nginx; both must end by themselves.

    Args:
        change: the site further.
        extra: lines of nginx's `http` block.
        relay: stands between the two; called with the server's port, it serves one connection of nginx.
    """
    shutdown = Shutdown()
    listener = free_socket()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve_http, server, port=0, shutdown=shutdown, **options))
            back = behind = int(url.split(":")[2].partition("/")[0])
            if relay is not None:
                [between] = await nursery.start(partial(trio.serve_tcp, relay(back), 0, host="127.0.0.1"))
                behind = between.socket.getsockname()[1]
            front = listener.getsockname()[1]
            async with nginx(listener, change(site(front=front, back=behind)), extra=extra):
                yield Front(front, back, shutdown, tls)
            shutdown.begin.set()
            if relay is not None:
                nursery.cancel_scope.cancel()


# What stands behind it


def behind(diary: Diary | None = None, **settings: Any) -> Server:
    """The small server as it runs behind the site."""
    return small_server(diary, allowed_hosts=[NAME], trusted_proxies=["127.0.0.1"], **settings)


def stepping(server: Server) -> trio.Semaphore:
    """Give the server a tool that takes its next step only once it is released."""
    go = trio.Semaphore(0)

    @server.tool
    async def steps(ctx: Context, times: int = 3) -> str:
        for number in range(times):
            await ctx.report_progress(number, times)
            await go.acquire()
        return "stepped"

    return go


def impatient(text: str) -> str:
    return changed(text, r"proxy_read_timeout 1h;", "proxy_read_timeout 1200ms;")


def recording(heard: bytearray, count: list[int] | None = None) -> Callable[[int], Any]:
    """A relay that keeps what it passes on to the server, and counts its connections."""

    async def pump(source: trio.SocketStream, target: trio.SocketStream, kept: bytearray) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while piece := await source.receive_some():
                kept += piece
                await target.send_all(piece)
            await target.send_eof()

    def towards(port: int) -> Any:
        async def relay(stream: trio.SocketStream) -> None:
            if count is not None:
                count[0] += 1
            async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
                nursery.start_soon(pump, stream, server, heard)
                nursery.start_soon(pump, server, stream, bytearray())

        return relay

    return towards
