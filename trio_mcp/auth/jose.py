"""The only importer of joserfc: keys and signatures (RFC 7515, RFC 7517). It refuses to know claims and clocks.

An algorithm counts only for keys of its own kind, and only if it was allowed: the head of a token chooses nothing.
"""

import base64
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

#: Algorithm to the kind of its keys.
KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
    **dict.fromkeys(("HS256", "HS384", "HS512"), "oct"),
}
_SIGNING: Final = tuple(name for name, kind in KINDS.items() if kind != "oct")
_SMALLEST_RSA: Final = 2048
_SMALLEST_SECRET: Final = 32
_MOST_KEYS: Final = 100
_LONGEST_HEAD: Final = 4096
_ASYMMETRIC: Final[tuple[type[RSAKey | ECKey | OKPKey], ...]] = (RSAKey, ECKey, OKPKey)


class Head(msgspec.Struct):
    """The protected header of a token."""

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = None


class KeyFault(Exception):
    """A key that cannot be used here."""


class BadTokenError(Exception):
    """No JWT that these keys signed; the text holds nothing of the token."""


class _Registry(jws.JWSRegistry):
    """Allows exactly what it was given, and says nothing about what it thinks of it."""

    max_header_length = _LONGEST_HEAD

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            raise BadTokenError("its algorithm is not allowed")
        return self.algorithms[name]


def allowed_algorithms(given: Collection[str] | None, *, shared_secret: bool) -> frozenset[str]:
    """The allow-list: what was given, or all that sign with a private key.

    Raises:
        ValueError: one that is unknown (`none` is), or of another kind than the keys.
    """
    if isinstance(given, str):
        raise ValueError(f"algorithms is a list: [{given!r}]")
    if given is None:
        if shared_secret:
            raise ValueError("a shared secret needs its algorithm said: algorithms=['HS256']")
        return frozenset(_SIGNING)
    for name in given:
        if name not in KINDS:
            raise ValueError(f"algorithm {name!r} is not accepted; there are {', '.join(KINDS)}")
        if (KINDS[name] == "oct") is not shared_secret:
            what = "is for a shared secret" if KINDS[name] == "oct" else "needs a public key"
            raise ValueError(f"algorithm {name} {what}, and this verifier was given something else")
    if not given:
        raise ValueError("algorithms must name at least one")
    return frozenset(given)


def import_key(key: str | bytes | Mapping[str, Any]) -> Key:
    """A PEM, a JWK, or a shared secret of at least 32 bytes.

    Raises:
        KeyFault: none of them.
    """
    if isinstance(key, Mapping):
        return _import_jwk(key)
    data = key.encode() if isinstance(key, str) else key
    for kind in _ASYMMETRIC:
        try:
            return _imported(kind, data)
        except (JoseError, ValueError, TypeError):
            continue
    if b"-----BEGIN" in data or b"ssh-" in data:
        raise KeyFault("the key looks like a PEM and cannot be read as a public key")
    if len(data) < _SMALLEST_SECRET:
        raise KeyFault(f"a shared secret needs {_SMALLEST_SECRET} bytes or more")
    try:
        return _imported(OctKey, data)
    except (JoseError, ValueError, TypeError):
        raise KeyFault("the key is neither a public key nor a shared secret") from None


def _import_jwk(data: Mapping[str, Any]) -> Key:
    kinds: dict[Any, type[Key]] = {kind.key_type: kind for kind in (*_ASYMMETRIC, OctKey)}
    kind = data.get("kty")
    if not isinstance(kind, str) or kind not in kinds:
        raise KeyFault("unknown kind of key")
    try:
        return _imported(kinds[kind], dict(data))
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise KeyFault("malformed key") from None


def _imported(kind: type[Key], data: Any) -> Key:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # what it warns of, we refuse
        key = kind.import_key(data)
    if isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA:
        raise KeyFault(f"an RSA key needs {_SMALLEST_RSA} bits or more")
    return key


def is_shared_secret(key: Key) -> bool:
    """Whether who verifies with it could sign with it."""
    return isinstance(key, OctKey)


class KeySet:
    """Public keys for signatures, as an issuer publishes them (RFC 7517 section 5).

    Keys that are of no use here are left out: shared secrets, small ones, those for encryption, unknown kinds.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)

    @classmethod
    def decode(cls, data: bytes) -> "KeySet":
        """Read a JWK set.

        Raises:
            ValueError: it is none.
        """
        try:
            listed = msgspec.json.decode(data)["keys"]
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError):
            raise ValueError("not a JWK set") from None
        if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
            raise ValueError("not a JWK set, or one of too many keys")
        keys = []
        for data_of_key in listed:
            if not isinstance(data_of_key, dict) or data_of_key.get("use", "sig") != "sig":
                continue
            operations = data_of_key.get("key_ops", ["verify"])
            if not isinstance(operations, list) or "verify" not in operations:
                continue
            try:
                key = _import_jwk(data_of_key)
            except KeyFault:
                continue
            if not is_shared_secret(key):
                keys.append(key)
        return cls(keys)

    def pick(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of that id, which may do that algorithm. Without an id only the one key that could be meant."""
        fitting = [
            key
            for key in self.keys
            if key.key_type == KINDS[algorithm] and key.get("alg", algorithm) == algorithm and kid in (None, key.kid)
        ]
        if kid is None and len(fitting) > 1:
            return None
        return fitting[0] if fitting else None


def read_head(token: str) -> Head:
    """The header of a token, which nobody vouches for yet.

    Raises:
        BadTokenError: it is no JWT in compact form, or asks for an extension.
    """
    head, dot, _ = token.partition(".")
    if not dot or token.count(".") != 2 or len(head) > _LONGEST_HEAD:
        raise BadTokenError("it is no signed JWT")
    try:
        decoded = msgspec.json.decode(_base64(head), type=Head)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadTokenError("its header is malformed") from None
    if decoded.crit is not None:  # RFC 7515 section 4.1.11
        raise BadTokenError("it asks for an extension")
    return decoded


def _base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def verify(token: str, key: Key, algorithms: Collection[str]) -> dict[str, Any]:
    """The claims of a token that `key` signed with one of `algorithms`.

    Raises:
        BadTokenError: it did not, or they are no claims.
    """
    try:
        signed = jws.deserialize_compact(
            token, key, registry=_Registry(algorithms=algorithms, strict_check_header=False)
        )
        claims = msgspec.json.decode(signed.payload or b"")
    except (JoseError, msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        raise BadTokenError("its signature or its content is not right") from None
    if not isinstance(claims, dict):
        raise BadTokenError("it has no claims")
    return claims
