"""The five revisions of MCP as records of named facts. Revision dates are written here and nowhere else."""

from enum import Enum
from typing import Final

import attrs

from trio_mcp.protocol.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND


class Era(Enum):
    """How a client and a server agree on what they speak (2026-07-28, basic/versioning: Terminology)."""

    SESSION = "session"
    PER_REQUEST = "per-request"


@attrs.frozen(kw_only=True)
class Revision:
    """What one revision of the protocol has. Ask for a fact, never compare dates.

    `rank` orders revisions for the `since` and `until` of the method table only.
    """

    version: str
    rank: int
    era: Era = Era.SESSION
    #: A POST may carry an array of messages.
    batching: bool = False
    #: Streamable HTTP requests after the handshake name the revision in a header.
    version_header: bool = False
    #: The transport is Streamable HTTP; 2024-11-05 has HTTP+SSE.
    streamable_http: bool = True
    #: Streams may be closed by the server and polled: a first event with an id and no data (SEP-1699).
    polling: bool = False
    audio: bool = True
    tool_annotations: bool = True
    progress_message: bool = True
    completions_capability: bool = True
    #: title, _meta on definitions, resource_link, structuredContent and outputSchema, completion context.
    structured_content: bool = False
    resource_links: bool = False
    titles: bool = False
    elicitation: bool = False
    icons: bool = False
    url_elicitation: bool = False
    sampling_tools: bool = False
    #: structuredContent and outputSchema may be any JSON, not only objects.
    any_structured: bool = False
    #: Results carry resultType, caching hints and the server's name.
    result_type: bool = False
    resource_not_found_code: int = RESOURCE_NOT_FOUND

    @property
    def per_request(self) -> bool:
        """Whether every request carries its own metadata."""
        return self.era is Era.PER_REQUEST


V2024_11_05: Final = Revision(
    version="2024-11-05",
    rank=0,
    streamable_http=False,
    audio=False,
    tool_annotations=False,
    progress_message=False,
    completions_capability=False,
)
V2025_03_26: Final = Revision(version="2025-03-26", rank=1, batching=True)
V2025_06_18: Final = attrs.evolve(
    V2025_03_26,
    version="2025-06-18",
    rank=2,
    batching=False,
    version_header=True,
    structured_content=True,
    resource_links=True,
    titles=True,
    elicitation=True,
)
V2025_11_25: Final = attrs.evolve(
    V2025_06_18,
    version="2025-11-25",
    rank=3,
    polling=True,
    icons=True,
    url_elicitation=True,
    sampling_tools=True,
)
V2026_07_28: Final = attrs.evolve(
    V2025_11_25,
    version="2026-07-28",
    rank=4,
    era=Era.PER_REQUEST,
    polling=False,
    any_structured=True,
    result_type=True,
    resource_not_found_code=INVALID_PARAMS,
)

REVISIONS: Final[dict[str, Revision]] = {
    revision.version: revision for revision in (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28)
}
#: Newest first, as `supported` lists show them.
SUPPORTED_VERSIONS: Final = tuple(reversed(REVISIONS))
#: Those that need no handshake, newest first.
PER_REQUEST_VERSIONS: Final = tuple(v for v in SUPPORTED_VERSIONS if REVISIONS[v].per_request)
#: What `initialize` answers to a client that asks for something unknown (basic/lifecycle: Version Negotiation).
LATEST_SESSION: Final = V2025_11_25
LATEST: Final = V2026_07_28
#: What a request without a version header speaks (2025-06-18, basic/transports: Protocol Version Header).
WITHOUT_VERSION_HEADER: Final = V2025_03_26


def supported_versions(*, sessions: bool) -> tuple[str, ...]:
    """What a server tells that it speaks, newest first; without sessions only what needs none."""
    return SUPPORTED_VERSIONS if sessions else PER_REQUEST_VERSIONS


def negotiate(requested: str) -> Revision:
    """The revision that `initialize` answers: the one asked for, or the newest with a handshake."""
    revision = REVISIONS.get(requested)
    return LATEST_SESSION if revision is None or revision.per_request else revision
