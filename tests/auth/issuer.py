"""A fake authorization server behind an httpx2 transport: it signs, publishes keys, introspects, counts, and fails."""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import AsyncIterator
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import httpx2
import trio
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from trio_mcp.auth import JWTVerifier

URL = "https://issuer.example"
JWKS_URL = f"{URL}/keys"
AUDIENCE = "https://mcp.example/mcp"
EPOCH = 1_800_000_000.0

Json = dict[str, Any]


def now() -> float:
    """The wall clock of the tests: trio's."""
    return EPOCH + trio.current_time()


@cache
def rsa_key(name: str = "rsa-1", bits: int = 2048) -> RSAKey:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # a small one is what some tests want
        return RSAKey.generate_key(bits, {"kid": name}, private=True)


@cache
def ec_key(name: str = "ec-1") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name}, private=True)


@cache
def ed_key(name: str = "ed-1") -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": name}, private=True)


def claims(**more: Any) -> Json:
    """Good claims; None takes one away."""
    good = {"iss": URL, "aud": AUDIENCE, "sub": "alice", "iat": now(), "exp": now() + 300}
    return {name: value for name, value in {**good, **more}.items() if value is not None}


def b64(data: bytes | Json) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class _Everything(jws.JWSRegistry):
    """Signs with whatever it is told to."""

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


def signed(payload: Json | bytes, key: Any = None, *, alg: str = "RS256", head: Json | None = None) -> str:
    """A JWT; `head` adds to its header, and takes away what is None there."""
    key = rsa_key() if key is None else key
    header = {"alg": alg, "typ": "at+jwt", "kid": key.kid, **(head or {})}
    header = {name: value for name, value in header.items() if value is not None}
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return jws.serialize_compact(header, data, key, registry=_Everything(strict_check_header=False))


def token(key: Any = None, *, alg: str = "RS256", head: Json | None = None, **more: Any) -> str:
    """A JWT of good claims but for `more`."""
    return signed(claims(**more), key, alg=alg, head=head)


def hmac_token(secret: bytes, *, head: Json | None = None, **more: Any) -> str:
    """A JWT signed with HS256 and any bytes at all, a public key's too."""
    header = {"alg": "HS256", "typ": "JWT", **(head or {})}
    text = f"{b64(header)}.{b64(claims(**more))}"
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


class Pieces(httpx2.AsyncByteStream):
    """A body that comes in pieces, as over a network."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), 1000):
            await trio.lowlevel.checkpoint()
            yield self._data[start : start + 1000]


class Issuer:
    """The authorization server.

    Attributes:
        asked: when its keys or a token were asked for.
        keys: what it publishes.
        status, body: what it answers with, in place of the truth.
        takes: seconds that an answer takes.
        active: token to what introspection says of it.
        forms: what introspection was asked.
    """

    def __init__(self, *keys: Any) -> None:
        self.asked: list[float] = []
        self.keys = list(keys or [rsa_key()])
        self.extra: list[Json] = []
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.takes = 0.0
        self.error: Exception | None = None
        self.active: dict[str, Json] = {}
        self.forms: list[Json] = []
        self.credentials: list[str] = []
        self.transport = httpx2.MockTransport(self._answer)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.error is not None:
            raise self.error
        if self.body is not None:
            return self._response(self.body)
        if request.method == "POST":
            form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
            self.forms.append(form)
            self.credentials.append(base64.b64decode(request.headers["authorization"].split()[1]).decode())
            return self._response(self.active.get(form["token"], {"active": False}))
        listed = [*(key.as_dict(private=False) for key in self.keys), *self.extra]
        return self._response({"keys": listed})

    def _response(self, body: bytes | Json) -> httpx2.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx2.Response(self.status, stream=Pieces(data), headers=self.headers)

    def verifier(self, **options: Any) -> JWTVerifier:
        """One that trusts this issuer, on the clock of the tests."""
        return JWTVerifier(
            **{
                "jwks_url": JWKS_URL,
                "issuer": URL,
                "audience": AUDIENCE,
                "now": now,
                "transport": self.transport,
                **options,
            }
        )
