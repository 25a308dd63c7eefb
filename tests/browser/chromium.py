"""A real browser, and a server as a process of its own; both end with the test. Skips where there is no browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PATIENCE = 20_000
"""Milliseconds for what takes as long as the machine is slow."""


def executable() -> str:
    """The browser's file, or a skip that says what is missing."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    path = executable()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def serving(target: Path | None, *options: str) -> Iterator[str]:
    """`trio-mcp serve` on a free port; its address without a path."""
    command = [sys.executable, "-m", "trio_mcp", "serve", *([str(target)] if target else []), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=HERE) as process:
        try:
            assert process.stderr is not None
            heard: list[str] = []
            for line in process.stderr:
                heard.append(line)
                if "://" in line:
                    break
            else:
                raise AssertionError("".join(heard))
            yield "http://" + heard[-1].partition("://")[2].partition("/")[0]
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise
