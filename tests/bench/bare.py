"""The limit of this ground: trio and httptools answering a constant through a lane of the same shape as ours.

One task a connection, the socket read when it is ready, the head and the body parsed by llhttp, one write. No ASGI,
no checks, no JSON, no sessions, no deadlines: what a request costs before anything is done with it.
"""

import socket
import sys

import httptools
import trio

PORT = int(sys.argv[1])
MESSAGE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello, world"}],"isError":false}}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(MESSAGE), MESSAGE)


class Lane:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line."""
        self.headers.append((name.lower(), value))

    def on_body(self, data: bytes) -> None:
        """The body."""
        self.body = data

    def on_message_complete(self) -> None:
        """A request is whole."""
        self.complete += 1

    async def run(self) -> None:
        """Answer until the peer leaves."""
        parser = httptools.HttpRequestParser(self)
        with self.sock:
            while True:
                await trio.lowlevel.wait_readable(self.sock)
                try:
                    data = self.sock.recv(65536)
                except ConnectionResetError:
                    return
                if not data:
                    return
                parser.feed_data(data)
                while self.complete:
                    self.complete -= 1
                    self.sock.send(ANSWER)


async def main() -> None:
    """Accept and answer until killed."""
    listeners = await trio.open_tcp_listeners(PORT, host="127.0.0.1")
    async with trio.open_nursery() as bare_nursery:
        while True:
            stream = await listeners[0].accept()
            sock = socket.socket(fileno=stream.socket.detach())
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            bare_nursery.start_soon(Lane(sock).run, name="serve connection")


if __name__ == "__main__":
    trio.run(main)
