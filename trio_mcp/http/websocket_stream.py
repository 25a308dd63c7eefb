"""One WebSocket on hypercorn's machinery, with its faults mended: the frames, their size, pings and the closing.

What is mended: a message is bounded in bytes, also after inflation; what breaks the protocol (RFC 6455) is told with a
close frame and then nothing more is taken; the closing handshake is waited for; the application learns the code that
the client gave; a frame that was cut off is never followed by another. It refuses to know what messages mean.
"""

import zlib
from functools import partial
from typing import Any, Final

import trio
from hypercorn.protocol.events import Body, Data, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, Ping
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import LocalProtocolError

#: Where an application finds its `WebSocketStream`, in the scope's extensions.
WEBSOCKET_EXTENSION: Final = "trio_mcp.websocket"

#: How long the client has to answer our close frame before the connection is cut.
_CLOSE_SECONDS: Final = 2.0
#: Messages below this many bytes go out as they are: to deflate them costs more than it saves.
_SMALL: Final = 1024
_LISTS: Final = (b"sec-websocket-protocol", b"sec-websocket-extensions")


class BoundedDeflate(PerMessageDeflate):
    """permessage-deflate (RFC 7692) that gives up on a message once it inflates beyond `limit` bytes.

    Neither side keeps its window between messages: an idle connection holds no zlib state, and no message can be
    guessed from how well another one compresses.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._limit = limit
        self._inflated = 0

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """The head of a frame; one of a control frame leaves a message that it interrupts alone."""
        if not opcode.iscontrol():
            return super().frame_inbound_header(proto, opcode, rsv, payload_length)
        self._inbound_is_compressible = False
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """A piece of a frame, inflated."""
        if not (self._inbound_is_compressible and self._inbound_compressed):
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """The end of a frame; at the end of a message, its last bytes."""
        if not fin or not self._inbound_is_compressible:
            return None
        compressed, self._inbound_compressed = self._inbound_compressed, None
        if not compressed:
            return None
        rest = self._inflate(b"\x00\x00\xff\xff")
        self._decompressor = None
        self._inflated = 0
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        assert self._decompressor is not None
        try:
            inflated: bytes = self._decompressor.decompress(data, self._limit + 1 - self._inflated)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._inflated += len(inflated)
        if self._inflated > self._limit:
            return CloseReason.MESSAGE_TOO_BIG
        if len(self._decompressor.unused_data) > len(b"\x00\x00\xff\xff") + 1:  # bytes behind the end of the data
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return inflated

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """A frame to the client, deflated where that is worth it, and quickly rather than well."""
        if self._compressor is None and opcode in (Opcode.TEXT, Opcode.BINARY):
            if fin and len(data) < _SMALL:
                return rsv, data
            self._compressor = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, -self.server_max_window_bits)
        return super().frame_outbound(proto, opcode, rsv, data, fin)


class WebSocketStream(WSStream):
    """One WebSocket; its application finds it in the scope's extensions as `trio_mcp.websocket`.

    Attributes:
        max_message: bytes of one message; set it before `websocket.accept`. A larger one closes with 1009.
        heard: when something came from the client last, on trio's clock.
        busy: what came is still being taken by the application, so nothing can be heard.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._app: Any = self.app
        self.max_message = self.config.websocket_max_message_size
        self.heard = trio.current_time()
        self.busy = False
        self._pieces: list[Any] = []
        self._size = 0
        self._code: int = CloseReason.ABNORMAL_CLOSURE
        self._failed = False  # we closed because of what the client did: nothing more is taken
        self._torn = False  # a frame was cut off: nothing that follows could be understood
        self._gone = trio.Event()

    async def handle(self, event: StreamEvent) -> None:
        """What comes from the connection."""
        if isinstance(event, Request):
            event.headers[:] = _joined(event.headers)
            self.app = partial(_announced, self, self._app)
            await super().handle(event)
            self.app = self._app  # else it and we would hold each other, and go only at some collection
        elif isinstance(event, StreamClosed):
            self.closed = True
            self._gone.set()
            if self.app_put is not None:
                await self.app_put({"type": "websocket.disconnect", "code": int(self._code)})
        elif isinstance(event, (Body, Data)) and self.handshake.accepted:
            self.heard = trio.current_time()
            self.busy = True
            try:
                if not (self.closed or self._failed):
                    await super().handle(event)
            finally:
                self.heard = trio.current_time()
                self.busy = False
        else:
            await super().handle(event)

    async def ping(self) -> None:
        """Ask the client for a sign of life; whatever it sends is one, see `heard`."""
        await self._send_wsproto_event(Ping())

    async def app_send(self, message: Any) -> None:
        """What the application sends; None once it has ended."""
        if self._failed and message is not None:
            return
        if message is None and self.handshake.accepted and not self.closed:
            await self._part()
        await super().app_send(message)

    async def _part(self) -> None:
        """Let the client read why it was closed: what it still sent would turn an earlier end into a reset."""
        if self.connection.state is ConnectionState.LOCAL_CLOSING and not self._torn:
            with trio.move_on_after(_CLOSE_SECONDS):
                await self._gone.wait()

    async def _accept(self, message: Any) -> None:
        """Finish the handshake; a deflation that is offered is taken."""
        deflate = BoundedDeflate(self.max_message)
        status, headers, _ = self._shaken(message)
        extensions = []
        if accepted := _negotiated(self.handshake.extensions, deflate):
            headers.append((b"sec-websocket-extensions", accepted))
            extensions.append(deflate)
        self.connection = Connection(ConnectionType.SERVER, [*extensions])
        self.state = ASGIWebsocketState.CONNECTED
        await self.send(Response(stream_id=self.stream_id, status_code=status, headers=headers))

    def _shaken(self, message: Any) -> Any:
        """hypercorn's part of the answer, without its own deflation."""
        offered, self.handshake.extensions = self.handshake.extensions, None
        try:
            return self.handshake.accept(message.get("subprotocol"), message.get("headers", []))
        finally:
            self.handshake.extensions = offered

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, CloseConnection):
                await self._close(event)
                return
            if isinstance(event, Message):
                await self._take(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            if self._failed or self.closed:
                return

    async def _take(self, event: Message[Any]) -> None:
        data = event.data
        if data:
            self._size += len(data) if isinstance(data, (bytes, bytearray)) or data.isascii() else len(data.encode())
            self._pieces.append(data)
        if self._size > self.max_message:
            reason = f"a message may have {self.max_message} bytes"
            await self._fail(CloseReason.MESSAGE_TOO_BIG, reason)
        elif event.message_finished:
            whole = self._pieces[0] if len(self._pieces) == 1 else type(data)().join(self._pieces)
            self._pieces, self._size = [], 0
            is_text = isinstance(data, str)
            assert self.app_put is not None
            await self.app_put(
                {
                    "type": "websocket.receive",
                    "text": whole if is_text else None,
                    "bytes": None if is_text else bytes(whole),
                }
            )

    async def _close(self, event: CloseConnection) -> None:
        state = self.connection.state
        if state is ConnectionState.OPEN:  # the client did not close: it broke the protocol
            await self._fail(event.code, event.reason or "")
            return
        if state is ConnectionState.REMOTE_CLOSING:
            self._code = event.code
            await self._send_wsproto_event(event.response())
        elif state is ConnectionState.CLOSED:
            self._code = CloseReason.NORMAL_CLOSURE
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _fail(self, code: int, reason: str) -> None:
        self._failed = True
        self._code = code
        self._pieces = []
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))
        assert self.app_put is not None
        await self.app_put({"type": "websocket.disconnect", "code": int(code)})

    async def _send_wsproto_event(self, event: Any) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # before anything of it is out
        if self._torn or not self.handshake.accepted:  # not accepted: the client left before it could be
            return
        try:
            data = self.connection.send(event)
        except LocalProtocolError:  # it is closing already
            return
        try:
            await self.send(Data(stream_id=self.stream_id, data=bytes(data)))
        except trio.Cancelled:
            self._torn = True
            raise


async def _announced(stream: WebSocketStream, app: Any, scope: Any, *rest: Any) -> None:
    extensions = scope["extensions"]  # no copy: what the application adds is for the access log outside
    extensions[WEBSOCKET_EXTENSION] = stream
    try:
        await app(scope, *rest)
    finally:
        del extensions[WEBSOCKET_EXTENSION]  # else the stream and its scope would hold each other


def _joined(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers in which a list that came in several lines is one (RFC 9110 section 5.3); hypercorn reads the last."""
    lists = {name: b", ".join(value for each, value in headers if each == name) for name in _LISTS}
    rest = [header for header in headers if header[0] not in lists]
    return rest + [(name, value) for name, value in lists.items() if value]


def _negotiated(offered: list[str] | None, deflate: BoundedDeflate) -> bytes | None:
    try:
        return server_extensions_handshake(offered or [], [deflate])
    except ValueError:  # a parameter that is no number
        return None
