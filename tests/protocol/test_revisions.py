"""What each revision has is written down once, and a client and a server agree on one of them."""

import attrs
import pytest

from trio_mcp.protocol.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND
from trio_mcp.protocol.revisions import (
    LATEST,
    LATEST_SESSION,
    PER_REQUEST_VERSIONS,
    REVISIONS,
    SUPPORTED_VERSIONS,
    WITHOUT_VERSION_HEADER,
    Era,
    negotiate,
)

VERSIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]

# One column a revision, oldest first, as the changelogs have it.
FACTS: dict[str, str] = {
    "batching": ".X...",
    "version_header": "..XXX",
    "streamable_http": ".XXXX",
    "polling": "...X.",
    "audio": ".XXXX",
    "tool_annotations": ".XXXX",
    "progress_message": ".XXXX",
    "completions_capability": ".XXXX",
    "structured_content": "..XXX",
    "resource_links": "..XXX",
    "titles": "..XXX",
    "elicitation": "..XXX",
    "icons": "...XX",
    "url_elicitation": "...XX",
    "sampling_tools": "...XX",
    "any_structured": "....X",
    "result_type": "....X",
}


def test_there_are_five_revisions_in_their_order():
    assert list(REVISIONS) == VERSIONS
    assert [revision.version for revision in REVISIONS.values()] == VERSIONS
    assert [revision.rank for revision in REVISIONS.values()] == [0, 1, 2, 3, 4]
    assert list(SUPPORTED_VERSIONS) == VERSIONS[::-1]


def test_the_table_names_every_fact():
    others = {"version", "rank", "era", "resource_not_found_code"}
    assert {field.name for field in attrs.fields(type(LATEST))} == FACTS.keys() | others


@pytest.mark.parametrize(("fact", "column"), FACTS.items())
def test_a_revision_has_what_its_specification_has(fact, column):
    assert "".join("X" if getattr(revision, fact) else "." for revision in REVISIONS.values()) == column


def test_only_the_newest_needs_no_handshake():
    assert [revision.per_request for revision in REVISIONS.values()] == [False] * 4 + [True]
    assert {revision.era for revision in REVISIONS.values() if not revision.per_request} == {Era.SESSION}
    assert PER_REQUEST_VERSIONS == ("2026-07-28",)
    assert LATEST.version == "2026-07-28"
    assert LATEST_SESSION.version == "2025-11-25"
    assert WITHOUT_VERSION_HEADER.version == "2025-03-26"


def test_a_missing_resource_has_a_code_of_its_own_until_the_newest_revision():
    codes = [revision.resource_not_found_code for revision in REVISIONS.values()]
    assert codes == [RESOURCE_NOT_FOUND] * 4 + [INVALID_PARAMS]


def test_nobody_changes_a_revision():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        LATEST.batching = True  # type: ignore[misc]  # this is what must not work


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        *((version, version) for version in VERSIONS[:4]),
        ("2026-07-28", "2025-11-25"),
        ("1900-01-01", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
        ("2025-06-18 ", "2025-11-25"),
        ("", "2025-11-25"),
        ("\0", "2025-11-25"),
    ],
)
def test_initialize_answers_what_was_asked_for_or_the_newest_that_has_a_handshake(requested, answered):
    assert negotiate(requested).version == answered
