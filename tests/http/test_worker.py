"""The worker: sockets, TLS, limits on connections, clients as they are, faults of the kernel, shutdown in order."""

import errno
import gc
import http.client
import os
import resource
import socket
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from tests.http.lane_kit import (
    CERTIFICATE,
    GET,
    KEY,
    PATIENCE,
    Http2,
    Peer,
    Worked,
    bench,
    descriptors,
    echo,
    post,
    respond,
    served,
    until,
)
from trio_mcp.http import worker as worker_module
from trio_mcp.http.asgi import CONNECTION_EXTENSION, Receive, Scope, Send
from trio_mcp.http.connection import Limits
from trio_mcp.http.worker import HttpWorker, bind, listen_on

# Clients


async def test_requests_are_served_over_tcp_and_say_from_where():
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await echo(scope, receive, send)

    async with served(app) as house:
        peer = await house.dial()
        for number in range(3):
            await peer.send(post(b"%d" % number))
            assert (await peer.answer()).body == b"POST / %d" % number
        assert scopes[0]["client"] == peer.stream.socket.getsockname()
        assert scopes[0]["server"] == ("127.0.0.1", house.port)
        assert scopes[0]["scheme"] == "http"
        await peer.leave()


async def test_http_client_gets_along_with_it():
    async with served(echo) as house:

        def ask() -> list[bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE)
            answers = []
            for number in range(3):
                connection.request("POST", f"/{number}", body=b"abc")
                answers.append(connection.getresponse().read())
                kept = connection.sock
                assert kept is not None, "the connection was closed"
            connection.request("POST", "/chunked", body=iter([b"ab", b"c"]), encode_chunked=True)
            answers.append(connection.getresponse().read())
            connection.close()
            return answers

        answers = await trio.to_thread.run_sync(ask)
    assert answers == [b"POST /0 abc", b"POST /1 abc", b"POST /2 abc", b"POST /chunked abc"]


async def test_a_client_built_on_h11_gets_along_with_it():
    """It waits for 100 Continue, and does not go on before the connection may be used again."""
    async with served(echo) as house:
        peer, client = await house.dial(), h11.Connection(h11.CLIENT)
        for _ in range(2):
            headers = [("Host", "a"), ("Content-Length", "3"), ("Expect", "100-continue")]
            await peer.send(client.send(h11.Request(method="POST", target="/", headers=headers)) or b"")
            seen: list[Any] = []
            while not (seen and type(seen[-1]) is h11.EndOfMessage):
                event = client.next_event()
                if event is h11.NEED_DATA:
                    client.receive_data(await peer.read())
                    continue
                seen.append(event)
                if type(event) is h11.InformationalResponse:
                    for part in (h11.Data(data=b"abc"), h11.EndOfMessage()):
                        await peer.send(client.send(part) or b"")
            assert [getattr(event, "status_code", None) for event in seen[:2]] == [100, 200]
            client.start_next_cycle()
        await peer.leave()


# TLS


async def test_https_is_served_with_the_same_guarantees():
    async with served(echo, tls=True) as house:
        assert house.url.startswith("https://127.0.0.1:")
        peer = await house.dial_tls()
        for _ in range(2):
            await peer.send(post(b"abc"))
            assert (await peer.answer()).body == b"POST / abc"
        await peer.send(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert (await peer.answer()).status == 400
        await peer.leave()


async def test_https_says_so_in_the_scope():
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send)

    async with served(app, tls=True) as house:
        peer = await house.dial_tls()
        await peer.send(GET)
        await peer.answer()
        assert (scopes[0]["scheme"], scopes[0]["client"][0]) == ("https", "127.0.0.1")
        await peer.leave()


async def test_http_2_is_served_where_alpn_chose_it():
    schemes: set[str] = set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        schemes.add(scope["scheme"])
        await echo(scope, receive, send)

    async with served(app, tls=True) as house:
        peer = await house.dial_tls("h2", "http/1.1")
        assert peer.stream.selected_alpn_protocol() == "h2"
        client = await Http2(peer).begin()
        first, second = await client.request(b"/1"), await client.request(b"/2", method=b"POST", body=b"x" * 100_000)
        assert await client.answer(first) == (200, b"GET /1 ")
        assert await client.answer(second) == (200, b"POST /2 " + b"x" * 100_000)
        await peer.leave()
        await house.quiet()
    assert schemes == {"https"}


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
async def test_what_is_no_handshake_ends_alone(garbage: bytes, caplog: pytest.LogCaptureFixture):
    async with served(echo, tls=True) as house:
        peer = await house.dial()
        if garbage:
            await peer.send(garbage)
        else:
            await peer.half_close()
        assert b"HTTP" not in await peer.remains()
        await peer.leave()
        await house.quiet()
        good = await house.dial_tls()
        await good.send(GET)
        assert (await good.answer()).status == 200
        await good.leave()
    assert caplog.records == []


async def test_a_handshake_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_module, "_HANDSHAKE_SECONDS", 0.01)
    async with served(echo, tls=True) as house:
        peer = await house.dial()
        assert await peer.remains() == b""
        await peer.leave()


async def test_a_client_that_leaves_tls_without_goodbye_is_no_error(caplog: pytest.LogCaptureFixture):
    async with served(echo, tls=True) as house:
        peer = await house.dial_tls()
        await peer.send(GET)
        await peer.answer()
        await trio.aclose_forcefully(peer.stream)
        await house.quiet()
    assert caplog.records == []


# Too many


async def test_beyond_the_limit_a_connection_is_503_and_says_when_to_come_again():
    async with served(echo, max_connections=2) as house:
        inside = [await house.dial() for _ in range(2)]
        await until(lambda: house.worker._open == 2)
        for _ in range(3):
            peer = await house.dial()
            await peer.send(post(b"x" * 10_000))
            answer = await peer.answer()
            assert (answer.status, answer[b"retry-after"], answer[b"connection"]) == (503, b"1", b"close")
            assert await peer.remains() == b""
            await peer.leave()
        for peer in inside:
            await peer.send(GET)
            assert (await peer.answer()).status == 200
        await inside[0].leave()
        await until(lambda: house.worker._open == 1)
        peer = await house.dial()
        await peer.send(GET)
        assert (await peer.answer()).status == 200
        await peer.leave()
        await inside[1].leave()


async def test_a_503_is_not_overtaken_by_a_reset():
    """Bytes that nobody read would make one of the close."""
    async with served(echo, max_connections=1) as house:
        inside = await house.dial()
        await until(lambda: house.worker._open == 1)
        raw = socket.create_connection(("127.0.0.1", house.port))  # in one breath, so that the request is there first
        raw.sendall(post(b"x" * 10_000))
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(raw))
        seen = b""
        while data := await stream.receive_some():
            seen += data
        assert seen.startswith(b"HTTP/1.1 503")
        await stream.aclose()
        await inside.leave()


async def test_a_refused_request_is_told_the_end_before_we_have_lingered():
    async with served(echo) as house:
        peer = await house.dial()
        await peer.send(b"GET / HTTP/1.1\r\n\r\n")
        began = trio.current_time()
        assert (await peer.remains()).startswith(b"HTTP/1.1 400")
        assert trio.current_time() - began < 1
        await peer.leave()


async def test_beyond_the_limit_a_tls_connection_is_closed():
    async with served(echo, tls=True, max_connections=1) as house:
        inside = await house.dial_tls()
        peer = await house.dial()
        assert await peer.remains() == b""
        await peer.leave()
        await inside.leave()


# The kernel


async def test_without_a_free_descriptor_connections_wait_and_are_served_later(caplog: pytest.LogCaptureFixture):
    async with served(echo) as house:
        client = socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 3, hard))
            while True:
                try:
                    taken.append(os.dup(0))
                except OSError:
                    break
            client.connect(("127.0.0.1", house.port))
            client.sendall(GET)
            await until(lambda: bool(caplog.records))
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.setblocking(False)
        await trio.lowlevel.wait_readable(client)
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()
    assert "cannot accept a connection for now" in caplog.records[0].getMessage()


class Listener:
    """A fake of a listening socket: each accept fails in its own way."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.closed = False

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    async def accept(self) -> Any:
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise OSError(self.errors.pop(0), "fake")
        await trio.sleep_forever()


async def test_clients_that_left_before_they_were_accepted_cost_no_time_and_end_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock
):
    async with bench(echo) as lab, trio.open_nursery() as nursery:
        listener = Listener(errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM, errno.EHOSTUNREACH)
        monkeypatch.setattr(trio.socket, "from_stdlib_socket", lambda sock: listener)
        with socket.socket() as sock:
            nursery.start_soon(lab.worker._accept, sock, nursery)
            began = trio.current_time()
            await trio.testing.wait_all_tasks_blocked()
        assert (listener.errors, trio.current_time()) == ([], began)
        nursery.cancel_scope.cancel()
    assert listener.closed


async def test_a_listener_that_is_broken_ends_the_worker(monkeypatch: pytest.MonkeyPatch, autojump_clock):
    async with bench(echo) as lab, trio.open_nursery() as nursery:
        monkeypatch.setattr(trio.socket, "from_stdlib_socket", lambda sock: Listener(errno.EBADF))
        with socket.socket() as sock, pytest.raises(OSError, match="fake"):
            await lab.worker._accept(sock, nursery)


# One bad connection is one bad connection


async def test_a_task_that_fails_beside_a_request_ends_its_connection_alone(caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise ValueError

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/fail":
            scope["extensions"][CONNECTION_EXTENSION].spawn(fail, name="fail")
            await trio.sleep_forever()
        await respond(send)

    async with served(app) as house:
        good, bad = await house.dial(), await house.dial()
        await bad.send(GET.replace(b"/", b"/fail", 1))
        assert await bad.remains() == b""
        await good.send(GET)
        assert (await good.answer()).status == 200
        await good.leave()
        await bad.leave()
    assert [record.getMessage() for record in caplog.records] == ["a connection failed and was closed"]


async def test_no_way_to_end_a_connection_leaves_a_descriptor_behind():
    before = descriptors()
    app = Worked()
    app.go_on.set()
    async with served(app, write_timeout=0.05) as house:
        for number in range(40):
            peer = await house.dial()
            if number % 8 == 0:
                await peer.leave()
            elif number % 8 == 1:
                peer.reset()
            elif number % 8 == 2:
                await peer.send(GET[:-1])
                await peer.half_close()
            elif number % 8 == 3:
                await peer.send(b"\x00garbage")
                assert (await peer.answer()).status == 501
            elif number % 8 == 4:
                await peer.send(GET * 3)
                await peer.answer()
                peer.reset()
            elif number % 8 == 5:
                await peer.send(post(b"x" * 9)[:-1])
                await peer.leave()
            elif number % 8 == 6:
                await peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                await peer.half_close()
            else:
                await peer.send(GET)
                await peer.answer()
            await trio.aclose_forcefully(peer.stream)
        await house.quiet()
        assert not house.worker.connections
        assert not house.worker.hangups._watched
    assert descriptors() == before


async def test_no_way_to_end_a_tls_connection_leaves_a_descriptor_behind():
    before = descriptors()
    async with served(echo, tls=True) as house:
        for number in range(9):
            if number % 3 == 0:
                peer = await house.dial()
                await peer.send(b"\x16\x03\x01")
            elif number % 3 == 1:
                peer = await house.dial_tls("h2")
                client = await Http2(peer).begin()
                await client.answer(await client.request())
            else:
                peer = await house.dial_tls()
                await peer.send(GET)
                await peer.answer()
            await trio.aclose_forcefully(peer.stream)
        await house.quiet()
    assert descriptors() == before


# Listening


async def test_a_taken_port_is_an_error_that_says_where_and_leaves_nothing_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = HttpWorker(echo, bind("127.0.0.1", port), limits=Limits())
        before = descriptors()
        text = f"cannot listen on 127.0.0.1 port {port}: Address already in use"
        with pytest.raises(OSError, match=text) as raised, worker.listening():
            pass
        assert raised.value.errno == errno.EADDRINUSE
        assert descriptors() == before
    gc.collect()


@pytest.mark.parametrize(
    ("host", "port", "error"),
    [("192.0.2.1", 0, OSError), ("no such host", 0, OSError), ("127.0.0.1", 70_000, OverflowError)],
)
async def test_an_address_that_cannot_be_is_an_error_and_leaves_nothing_open(
    host: str, port: int, error: type[Exception]
):
    before = descriptors()
    with pytest.raises(error, match="cannot listen on" if error is OSError else "port"):
        listen_on(host, port)
    assert descriptors() == before
    gc.collect()


async def test_what_listens_is_closed_when_a_second_address_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = bind("127.0.0.1", 0)
        config.bind = [*config.bind, f"127.0.0.1:{taken.getsockname()[1]}"]
        before = descriptors()
        with pytest.raises(OSError, match="in use"), HttpWorker(echo, config, limits=Limits()).listening():
            pass
        assert descriptors() == before


async def test_a_port_can_be_taken_again_at_once_after_connections_on_it():
    async with served(echo) as house:
        peer = await house.dial()
        await peer.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await peer.remains()  # we closed first, so that the port waits in the kernel
        await peer.leave()
        port = house.port
    with HttpWorker(echo, bind("127.0.0.1", port), limits=Limits()).listening():
        pass


async def test_sockets_that_listen_already_are_served_and_closed():
    listening = [*listen_on("127.0.0.1", 0), *listen_on("127.0.0.1", 0)]
    worker = HttpWorker(echo, bind("192.0.2.1", 1), limits=Limits(), sockets=listening)
    shutdown = trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        ports = [sock.getsockname()[1] for sock in listening]
        async with trio.open_nursery() as nursery:
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=5)
            urls = await nursery.start(run)
            assert urls == [f"http://127.0.0.1:{port}" for port in ports]
            for port in ports:
                peer = Peer(await trio.open_tcp_stream("127.0.0.1", port))
                await peer.send(GET)
                assert (await peer.answer()).status == 200
                await peer.leave()
            shutdown.set()
    assert [sock.fileno() for sock in listening] == [-1, -1]


async def test_sockets_that_were_given_are_closed_also_when_the_certificate_cannot_be_read():
    listening = listen_on("127.0.0.1", 0)
    config = bind("127.0.0.1", 0, certfile=str(KEY), keyfile=str(CERTIFICATE))
    with pytest.raises(ssl.SSLError), HttpWorker(echo, config, limits=Limits(), sockets=listening).listening():
        pass
    assert listening[0].fileno() == -1


async def test_a_process_that_shares_a_socket_goes_on_when_the_other_closes_it():
    (listening,) = listen_on("127.0.0.1", 0)
    with listening, HttpWorker(echo, bind("127.0.0.1", 0), limits=Limits(), sockets=[listening.dup()]).listening():
        pass
    with listen_on("127.0.0.1", 0)[0] as listening:
        other = listening.dup()
        with HttpWorker(echo, bind("127.0.0.1", 0), limits=Limits(), sockets=[other]).listening():
            assert not other.getblocking()
        socket.create_connection(listening.getsockname(), timeout=PATIENCE).close()


async def test_what_waits_to_be_sent_goes_out_at_once():
    with HttpWorker(echo, bind("127.0.0.1", 0), limits=Limits()).listening():
        pass
    for sockets in (None, [socket.create_server(("127.0.0.1", 0))]):
        worker = HttpWorker(echo, bind("127.0.0.1", 0), limits=Limits(), sockets=sockets)
        with worker.listening():
            assert worker._listening[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_unix_socket_that_listens_already_is_served(tmp_path: Path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await respond(send)

    worker, shutdown = HttpWorker(app, bind("127.0.0.1", 0), limits=Limits(), sockets=[listening]), trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        async with trio.open_nursery() as nursery:
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=5)
            assert await nursery.start(run) == [f"http+unix://{tmp_path}/s"]
            peer = Peer(await trio.open_unix_socket(str(tmp_path / "s")))
            await peer.send(GET)
            assert (await peer.answer()).status == 200
            await peer.leave()
            shutdown.set()
    assert (scopes[0]["client"], scopes[0]["server"]) == (None, None)


async def test_a_certificate_that_cannot_be_read_is_an_error():
    worker = HttpWorker(echo, bind("127.0.0.1", 0, certfile=str(KEY), keyfile=str(CERTIFICATE)), limits=Limits())
    with pytest.raises(ssl.SSLError), worker.listening():
        pass


async def test_a_client_may_come_before_the_worker_runs():
    worker = HttpWorker(echo, bind("127.0.0.1", 0), limits=Limits())
    shutdown = trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        client = socket.create_connection(worker._listening[0].getsockname())
        client.sendall(GET)
        async with trio.open_nursery() as nursery:
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=5)
            await nursery.start(partial(run, url_path="/mcp"))
            await trio.lowlevel.wait_readable(client)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()
            shutdown.set()


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
async def test_an_ipv6_address_is_told_as_a_url():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    worker, shutdown = HttpWorker(echo, bind("::1", 0), limits=Limits()), trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        async with trio.open_nursery() as nursery:
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=5)
            (url,) = await nursery.start(partial(run, url_path="/mcp"))
            assert url.startswith("http://[::1]:")
            assert url.endswith("/mcp")
            shutdown.set()


# Shutdown


async def test_shutdown_drains_then_closes_the_idle_then_waits_for_the_busy():
    order: list[str] = []
    app = Worked()

    async def drain() -> None:
        order.append("drain")
        assert not worker.closing
        with pytest.raises(OSError, match="failed"):
            await trio.open_tcp_stream("127.0.0.1", port)

    worker, shutdown = HttpWorker(app, bind("127.0.0.1", 0), limits=Limits()), trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        port = worker._listening[0].getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(worker.run, shutdown=shutdown, drain=drain, close_timeout=PATIENCE))
            idle, busy = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
            await busy.send_all(GET)
            await until(lambda: app.began == 1 and len(worker.connections) == 2)
            shutdown.set()
            assert await idle.receive_some(1) == b""
            order.append("idle closed")
            app.go_on.set()
            seen = b""
            while data := await busy.receive_some():
                seen += data
            order.append("busy closed")
            await idle.aclose()
            await busy.aclose()
    assert order == ["drain", "idle closed", "busy closed"]
    assert b"connection: close\r\n" in seen
    assert seen.endswith(b"done")


async def test_shutdown_cuts_what_does_not_end():
    cancelled: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    worker, shutdown = HttpWorker(app, bind("127.0.0.1", 0), limits=Limits()), trio.Event()
    with trio.fail_after(PATIENCE), worker.listening():
        async with trio.open_nursery() as nursery:
            run = partial(worker.run, shutdown=shutdown, drain=trio.lowlevel.checkpoint, close_timeout=0.02)
            (url,) = await nursery.start(run)
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))
            await stream.send_all(GET)
            await until(lambda: bool(worker.connections))
            shutdown.set()
            assert await stream.receive_some(1) == b""
            await stream.aclose()
    assert cancelled == [True]


async def test_shutdown_closes_an_idle_http_2_connection():
    async with served(echo, tls=True) as house:
        peer = await house.dial_tls("h2")
        client = await Http2(peer).begin()
        await client.answer(await client.request())
        house.shutdown.set()
        with trio.fail_after(2):  # hypercorn's own limit for idle connections is 5 s
            await house.quiet()
        await trio.aclose_forcefully(peer.stream)


async def test_cancellation_cuts_everything_at_once():
    app = Worked()
    async with served(app) as house:
        peer = await house.dial()
        await peer.send(GET)
        await until(lambda: app.began == 1)
        house.nursery.cancel_scope.cancel()
    assert await peer.remains() == b""
    await peer.leave()


def test_the_lane_is_imported_without_what_only_http_2_and_websocket_need_at_run_time():
    """A guard on start-up: what hypercorn brings for HTTP/3 and for asyncio stays out."""
    code = "import sys, trio_mcp.http.worker; print([m for m in ('asyncio', 'aioquic', 'uvloop') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
