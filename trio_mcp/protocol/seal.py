"""`requestState` that a client carries for us but cannot read, alter, keep or move (2026-07-28, basic/patterns/mrtr).

The construction is SIV (deterministic AEAD, RFC 5297's shape) over keyed BLAKE2b (RFC 7693) as the pseudo-random
function: the tag is a PRF of the associated data and the plaintext, the key stream a PRF of the tag and a
counter. It needs no nonce, so forked workers that share a key cannot repeat one. The standard library has no
AEAD, and the packages that have one would be the largest dependencies of all; `docs/design.md` weighs that.

It refuses to know a clock: callers pass the time in seconds.
"""

import base64
import binascii
import hmac
from hashlib import blake2b
from struct import Struct
from typing import Final

_EXPIRES: Final = Struct(">d")
_TAG: Final = 32
_BLOCK: Final = 64


class SealError(ValueError):
    """A state that is not ours, altered, expired, or presented where it does not belong. Says nothing of which."""


class Sealer:
    """Seals and opens small payloads under one secret.

    Args:
        secret: at least 32 bytes, the same in every process that must open what another sealed.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 32:
            raise ValueError("a sealing secret needs at least 32 bytes")
        self._tag_key = blake2b(secret, person=b"trio_mcp-tag", digest_size=64).digest()
        self._stream_key = blake2b(secret, person=b"trio_mcp-stream", digest_size=64).digest()

    def seal(self, payload: bytes, *, context: bytes, expires: float) -> str:
        """Seal bytes so that it opens only under the same `context` and before `expires` (seconds)."""
        plain = _EXPIRES.pack(expires) + payload
        tag = self._tag(plain, context)
        return base64.urlsafe_b64encode(tag + self._cipher(plain, tag)).decode("ascii")

    def open(self, text: str, *, context: bytes, now: float) -> bytes:
        """The payload of a seal.

        Raises:
            SealError: anything at all is wrong with it.
        """
        try:
            blob = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise SealError("invalid state") from None
        # Lenient decoders ignore stray bits and bytes: only the one canonical text of these bytes is ours.
        if base64.urlsafe_b64encode(blob).decode("ascii") != text or len(blob) < _TAG + _EXPIRES.size:
            raise SealError("invalid state")
        tag, body = blob[:_TAG], blob[_TAG:]
        plain = self._cipher(body, tag)
        if not hmac.compare_digest(tag, self._tag(plain, context)):
            raise SealError("invalid state")
        if not now < _EXPIRES.unpack_from(plain)[0]:  # nothing outlives a time that is no number
            raise SealError("invalid state")
        return plain[_EXPIRES.size :]

    def _tag(self, plain: bytes, context: bytes) -> bytes:
        prf = blake2b(key=self._tag_key, digest_size=_TAG)
        prf.update(len(context).to_bytes(8, "big"))
        prf.update(context)
        prf.update(plain)
        return prf.digest()

    def _cipher(self, data: bytes, tag: bytes) -> bytes:
        blocks = range(-(-len(data) // _BLOCK))
        stream = b"".join(
            blake2b(tag + counter.to_bytes(8, "big"), key=self._stream_key).digest() for counter in blocks
        )
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream[: len(data)], "big")
        return mixed.to_bytes(len(data), "big")
