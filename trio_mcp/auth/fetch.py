"""The only importer of httpx2: one bounded request to an authorization server.

HTTPS, or loopback; no redirects, since those could lead anywhere; a limit on the answer's size. How long it may take
is up to who asks. It refuses to know what is asked.
"""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote_plus

import httpx2
import trio

MAX_ANSWER: Final = 512 * 1024


class FetchError(Exception):
    """There is no usable answer; the text holds no part of the request."""


class Fetcher:
    """Asks one authorization server.

    Args:
        url: what is asked.
        transport: in place of the network, for tests.
    """

    def __init__(self, url: str, transport: Any = None) -> None:
        self._url = url
        self._transport: httpx2.AsyncBaseTransport | None = transport
        self._tls: Any = None

    async def get(self) -> bytes:
        """The body of a GET.

        Raises:
            FetchError: the server cannot be reached, answered anything but 200, or too much.
        """
        return await self._ask("GET")

    async def post(self, form: Mapping[str, str], client_id: str, client_secret: str) -> bytes:
        """The body of the answer to a form, sent as this OAuth client (RFC 6749 section 2.3.1).

        Raises:
            FetchError: as `get`.
        """
        credentials = httpx2.BasicAuth(quote_plus(client_id), quote_plus(client_secret))
        return await self._ask("POST", data=dict(form), auth=credentials)

    async def _ask(self, method: str, **options: Any) -> bytes:
        if self._tls is None:
            https = self._url.startswith("https:") and self._transport is None
            # In a thread: it reads the system's certificates from disk.
            self._tls = await trio.to_thread.run_sync(httpx2.create_ssl_context) if https else False
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "trio-mcp"}
        try:
            async with (
                httpx2.AsyncClient(transport=self._transport, verify=self._tls, timeout=None) as client,
                client.stream(method, self._url, headers=headers, **options) as response,
            ):
                if response.status_code != 200:
                    raise FetchError(f"it answered {response.status_code}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise FetchError("it answered in an encoding that was not asked for")
                return await self._read(response)
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError) as error:
            raise FetchError(type(error).__name__) from None

    @staticmethod
    async def _read(response: httpx2.Response) -> bytes:
        body = b""
        async with aclosing(response.aiter_raw()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MAX_ANSWER:
                    raise FetchError(f"it answered more than {MAX_ANSWER} bytes")
        return body
