"""How an outlet becomes an HTTP response: plain JSON where it can be, a stream of events where it must be.

A reply stays uncommitted until it is clear: the last answer came first, so it is JSON and its status can still say
what went wrong; or something else came first, or nothing for `Settings.commit_after`, and it is a stream.
"""

from collections.abc import Mapping

import attrs
import trio

from trio_mcp.http.asgi import JSON_TYPE, Exchange, Header
from trio_mcp.http.message import status_headers
from trio_mcp.runtime.outlet import Frame, Outlet
from trio_mcp.settings import Settings
from trio_mcp.wire.sse import KEEPALIVE, encode_event


@attrs.frozen(kw_only=True)
class Style:
    """How replies of one endpoint look.

    Attributes:
        statuses: error code to status, for replies that are still uncommitted.
        polling: streams begin with an event that has an id and no data (SEP-1699).
    """

    statuses: Mapping[int, int]
    polling: bool = False


async def reply(
    exchange: Exchange,
    outlet: Outlet,
    style: Style,
    settings: Settings,
    *,
    json: bool,
    sse: bool,
    batch: bool = False,
    headers: tuple[Header, ...] = (),
) -> None:
    """Answer a POST from its outlet.

    Args:
        json, sse: what client and server can agree on; not both False.
        batch: the answers form an array.

    Cancellation: the outlet loses its reader and nothing else.
    """
    with outlet.reader() as reader_scope:
        if not sse:
            outlet.answers_only = True
            await outlet.wait_decided()
        elif json:
            with trio.move_on_after(settings.commit_after):
                await outlet.wait_decided()
        if json and outlet.closed and outlet.plain:
            await _respond_json(exchange, outlet, style, batch=batch, headers=headers)
        else:
            await stream(exchange, outlet, settings, polling=style.polling, headers=headers)
    if reader_scope.cancelled_caught and exchange.started:
        await exchange.finish()


async def _respond_json(
    exchange: Exchange, outlet: Outlet, style: Style, *, batch: bool, headers: tuple[Header, ...]
) -> None:
    frames = outlet.take()
    if not frames:  # every request was cancelled, so nothing is answered
        await exchange.respond(202, b"", headers)
        return
    if batch:
        await exchange.respond(200, b"[" + b",".join(frame.data for frame in frames) + b"]", (JSON_TYPE, *headers))
        return
    code = outlet.error_code
    if code is None:
        await exchange.respond(200, frames[0].data, (JSON_TYPE, *headers))
        return
    status = style.statuses.get(code, 200)
    await exchange.respond(status, frames[0].data, (JSON_TYPE, *status_headers(status), *headers))


async def stream(
    exchange: Exchange, outlet: Outlet, settings: Settings, *, polling: bool = False, headers: tuple[Header, ...] = ()
) -> None:
    """Write an outlet as events until it closes or parts, with a comment in every silence of `Settings.keepalive`.

    Runs inside `outlet.reader()`. Ends with the stream's terminator.
    """
    first = b""
    if not outlet.committed:
        event_id = outlet.commit()
        if polling and event_id is not None:
            first = encode_event(b"", id=event_id, retry=round(settings.retry * 1000))
    await exchange.start_stream(headers, first + _encode(outlet.take()))
    while not outlet.parted:
        frames = outlet.take()
        if frames:
            await exchange.write(_encode(frames))
        elif outlet.closed:
            break
        else:
            with trio.move_on_after(settings.keepalive) as silence:
                await outlet.wait()
            if silence.cancelled_caught:
                await exchange.write(KEEPALIVE)
    await exchange.finish()


def _encode(frames: list[Frame]) -> bytes:
    return b"".join(encode_event(frame.data, id=frame.event_id) for frame in frames)
