"""How an outlet becomes an HTTP response: plain JSON where it can be, a stream of events where it must be.

A reply stays uncommitted until it is clear: the last answer came first, so it is JSON and its status can still say
what went wrong; or something else came first, or nothing for `Settings.commit_after`, and it is a stream.
"""

import math
from collections.abc import Callable, Mapping

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


def _encode(frames: list[Frame]) -> bytes:
    return b"".join(encode_event(frame.data, id=frame.event_id) for frame in frames)


@attrs.frozen(kw_only=True)
class Form:
    """How a stream looks where it is not that of Streamable HTTP.

    Attributes:
        greeting: what it begins with.
        encode: frames to events.
        keepalive: what breaks a silence.
        silence: how long that is, in seconds.
    """

    silence: float
    greeting: bytes = b""
    encode: Callable[[list[Frame]], bytes] = _encode
    keepalive: bytes = KEEPALIVE


async def reply(
    exchange: Exchange,
    outlet: Outlet,
    style: Style,
    settings: Settings,
    *,
    json: bool,
    batch: bool = False,
    headers: tuple[Header, ...] = (),
) -> None:
    """Answer a POST from an outlet that other tasks fill, until it is done or its client left.

    Args:
        json: client and server both allow a plain JSON reply.
        batch: the answers form an array.

    Cancellation: the outlet loses its reader and nothing else.
    """
    if json:
        await outlet.wait_decided()
        if outlet.gone:
            return
        if outlet.closed and outlet.plain:
            await respond_json(exchange, outlet, style, batch=batch, headers=headers)
            return
    await stream(exchange, outlet, settings, polling=style.polling, headers=headers)


async def respond_json(
    exchange: Exchange,
    outlet: Outlet,
    style: Style,
    *,
    batch: bool = False,
    headers: tuple[Header, ...] = (),
) -> None:
    """Answer a POST with the answers of a closed outlet as JSON, under the status that fits."""
    frames = outlet.take()
    if not frames:  # every request was cancelled, so nothing is answered
        await exchange.respond(202, b"", headers)
    elif batch:
        await exchange.respond(200, b"[" + b",".join(frame.data for frame in frames) + b"]", (JSON_TYPE, *headers))
    elif outlet.error_code is None:
        await exchange.respond(200, frames[0].data, (JSON_TYPE, *headers))
    else:
        status = style.statuses.get(outlet.error_code, 200)
        await exchange.respond(status, frames[0].data, (JSON_TYPE, *status_headers(status), *headers))


async def stream(
    exchange: Exchange,
    outlet: Outlet,
    settings: Settings,
    *,
    polling: bool = False,
    headers: tuple[Header, ...] = (),
    form: Form | None = None,
    until: float = math.inf,
) -> None:
    """Write an outlet as events until it closes or parts, with a comment in every silence of `Settings.keepalive`.

    A reader that wrote this outlet before is sent away, and so are we when another comes. Ends with the stream's
    terminator, unless the client left.

    Args:
        until: when to end the connection, though not the stream, on trio's clock: no reader outlives its token.
    """
    if exchange.gone:
        return
    with outlet.reader() as exchange.reader_scope:
        form = form or Form(silence=settings.keepalive)
        first = form.greeting
        if not outlet.committed:
            event_id = outlet.commit()
            if polling and event_id is not None:
                first = encode_event(b"", id=event_id, retry=round(settings.retry * 1000))
        await exchange.start_stream(headers, first + form.encode(outlet.take()))
        await _write_events(exchange, outlet, form, until)
    if not exchange.gone:
        await exchange.finish()


async def _write_events(exchange: Exchange, outlet: Outlet, form: Form, until: float) -> None:
    while not outlet.parted:
        frames = outlet.take()
        if frames:
            await exchange.write(form.encode(frames))
        elif outlet.closed:
            break
        else:
            now = trio.current_time()
            if now >= until:
                break
            with trio.move_on_at(min(now + form.silence, until)) as silence:
                await outlet.wait()
            if silence.cancelled_caught and trio.current_time() < until:
                await exchange.write(form.keepalive)
