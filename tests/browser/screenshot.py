"""Draw the picture in docs/docs-page.md anew: `python -m tests.browser.screenshot`."""

from tests.browser.chromium import ROOT, browser, serving

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "an-editor", "version": "4.2"},
    },
}


def main() -> None:
    """Call the demo's slow tool and take the picture while it runs, with another client's session beside it."""
    with browser() as chromium, serving(None, "--tool-timeout", "30") as origin:
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.request.post(
            f"{origin}/mcp", data=HELLO, headers={"accept": "application/json, text/event-stream"}
        ).dispose()
        page.goto(f"{origin}/docs#tool/sleep")
        page.get_by_label("seconds").fill("8")
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator(".call").get_by_text("5 s left").wait_for()
        page.mouse.move(0, 0)
        page.screenshot(path=ROOT / "docs" / "docs-page.png", animations="disabled")


if __name__ == "__main__":
    main()
