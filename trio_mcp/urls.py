"""URLs that people configure: which ones are safe and usable. It refuses to fetch any."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_VISIBLE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # neither quotes nor backslashes: it goes into headers
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def split_url(url: str) -> SplitResult | None:
    """The parts of an absolute HTTP URL without user and fragment; None where it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    whole = parts.scheme in ("http", "https") and parts.hostname and port != 0
    if not whole or "#" in url or "@" in parts.netloc or _VISIBLE.fullmatch(url) is None:
        return None
    return parts


def is_safe_url(url: str) -> bool:
    """Whether secrets may go there: HTTPS, or HTTP on loopback."""
    parts = split_url(url)
    return parts is not None and (parts.scheme == "https" or parts.hostname in LOOPBACK)
