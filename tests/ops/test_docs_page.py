"""`GET /docs` without a browser: what is served, under which policy, and that the policy fits the page."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.http.client import MODERN, Web, served
from tests.http.servers import small_server
from trio_mcp import Server
from trio_mcp.serve import http_app


@asynccontextmanager
async def composed(server: Server | None = None, *, path: str | None = None, **settings: Any) -> AsyncIterator[Web]:
    wrap = lambda app, host: http_app(host, path=path, loopback=True)  # noqa: E731
    async with served(server or small_server(**settings), wrap=wrap) as web:
        yield web


def facts(body: bytes) -> Any:
    [found] = re.findall(rb'<script type="application/json" id="facts">(.*?)</script>', body, re.DOTALL)
    return json.loads(found)


def directives(policy: str) -> dict[str, str]:
    return {name: value for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))}


async def test_the_page_is_html_that_nobody_may_frame_or_sniff(autojump_clock):
    async with composed() as web:
        fetch = await web.fetch("GET", path="/docs")
        assert fetch.status == 200
        assert fetch.headers["content-type"] == "text/html; charset=utf-8"
        assert fetch.headers["x-content-type-options"] == "nosniff"
        assert fetch.headers["referrer-policy"] == "no-referrer"
        assert directives(fetch.headers["content-security-policy"])["frame-ancestors"] == "'none'"


async def test_the_policy_lets_the_inline_script_and_style_run_and_nothing_else(autojump_clock):
    async with composed() as web:
        fetch = await web.fetch("GET", path="/docs")
        rules = directives(fetch.headers["content-security-policy"])
        assert rules["default-src"] == "'none'"
        assert rules["connect-src"] == "'self'"
        for element in ("script", "style"):
            [inline] = re.findall(rf"<{element}>(.*?)</{element}>".encode(), fetch.body, re.DOTALL)
            assert rules[f"{element}-src"] == f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"
        assert "unsafe" not in fetch.headers["content-security-policy"]


async def test_the_page_needs_nothing_from_elsewhere(autojump_clock):
    async with composed() as web:
        text = (await web.fetch("GET", path="/docs")).body.decode()
        assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*["']""", text) == []
        assert not re.search(
            r"@import|\burl\(|\bon\w+=\"|style=\"|innerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )
        addresses = set(re.findall(r"https?://[^\s\"'`)\\]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set()


async def test_what_a_browser_has_already_is_not_sent_again(autojump_clock):
    async with composed() as web:
        tag = (await web.fetch("GET", path="/docs")).headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await web.fetch("GET", path="/docs", headers={"if-none-match": known})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert (await web.fetch("GET", path="/docs", headers={"if-none-match": '"other"'})).status == 200


async def test_the_page_is_told_where_the_endpoint_is(autojump_clock):
    async with composed(path="/api/mcp/") as web:
        found = facts((await web.fetch("GET", path="/docs")).body)
        assert (found["endpoint"], found["introspection"]) == ("/api/mcp", "/introspection/events")
        assert (found["revision"], found["name"]) == (MODERN, "small")
    async with composed(introspection=False) as web:
        assert facts((await web.fetch("GET", path="/docs")).body)["introspection"] is None


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--<script>", 'quote " and \\ back', "__FACTS__"]
)
async def test_a_name_cannot_break_out_of_the_page(name: str, autojump_clock):
    async with composed(Server(name)) as web:
        body = (await web.fetch("GET", path="/docs")).body
        assert facts(body)["name"] == name
        assert body.count(b"<script") == 2


async def test_head_has_the_headers_of_get_and_other_methods_are_refused(autojump_clock):
    async with composed() as web:
        get, head = await web.fetch("GET", path="/docs"), await web.fetch("HEAD", path="/docs")
        assert (head.status, head.body, head.headers) == (200, b"", get.headers)
        post = await web.fetch("POST", path="/docs")
        assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


async def test_switched_off_there_is_no_page(autojump_clock):
    async with composed(docs_page=False) as web:
        assert (await web.fetch("GET", path="/docs")).status == 404
