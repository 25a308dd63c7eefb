"""Programs of the system that tests drive: nginx, a browser, curl and the like.

It owns where they are looked for, and what is said when one is missing: its tests are skipped, and the last lines of
the run name it. With `REQUIRE_EXTERNAL=1`, which `.ci/run` sets where it could install them, they fail. It refuses to
install anything.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import pytest

#: The names under which a program may be found, and the package of Debian that has it.
PROGRAMS: Final = {
    "nginx": (("nginx",), "nginx-light"),
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "curl": (("curl",), "curl"),
    "systemd-analyze": (("systemd-analyze",), "systemd"),
}
#: Those that `.ci/run` installs; a test that needs another one is skipped there, too.
INSTALLED_BY_CI: Final = ("nginx", "chromium", "curl")
REQUIRED: Final = "REQUIRE_EXTERNAL"
_SBIN: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_MISSING: Final = re.compile(r"there is no ([\w-]+) on this machine")


def find(name: str) -> str | None:
    """The path of a program, or None; also where only administrators have it in their PATH."""
    names, _ = PROGRAMS[name]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    return next((found for one in names if (found := shutil.which(one, path=path))), None)


def require(name: str) -> str:
    """The path of a program; without it the test, or the module at whose top this stands, is skipped or fails."""
    found = find(name)
    if found is not None:
        return found
    text = f"there is no {name} on this machine (Debian: apt-get install {PROGRAMS[name][1]})"
    if os.environ.get(REQUIRED) == "1" and name in INSTALLED_BY_CI:
        pytest.fail(f"{text}, and {REQUIRED}=1 says there must be", pytrace=False)
    pytest.skip(text, allow_module_level=True)


def missing(skipped: Iterable[Any]) -> list[str]:
    """A line for each program for want of which tests were skipped, from pytest's reports of skipped tests."""
    counts: Counter[str] = Counter()
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        counts.update(_MISSING.findall(reason)[:1])
    return [
        f"NOT TESTED for want of {name}: {count} skipped; install {PROGRAMS[name][1]}"
        for name, count in sorted(counts.items())
    ]
