"""`Trace`: what happened in one run, in order, as plain data; `text` and `page` show it."""

import json
from typing import Any

import attrs


@attrs.define
class Trace:
    """What happened in one run.

    Attributes:
        title: the test's name.
        seed: of the run; None where it plays a file back.
        command: one command that replays it.
        events: see `recorder`; each is JSON.
    """

    title: str
    seed: int | None
    command: str = ""
    events: list[dict[str, Any]] = attrs.field(factory=list)

    def as_json(self) -> str:
        """An event a line, byte for byte the same for the same run."""
        return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self.events)
