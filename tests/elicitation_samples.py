"""Forms to ask with, and reading one answer."""

import datetime
import enum
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
import pytest

from trio_mcp.elicitation import ElicitationFault, Form


def accept(content):
    return {"action": "accept", "content": content}


def form_of(**properties):
    return Form.of({"type": "object", "properties": properties, "required": list(properties)})


def faults_of(form, answer):
    with pytest.raises(ElicitationFault) as caught:
        form.read(answer)
    assert str(caught.value) == "\n".join(f"{fault.path}: {fault.message}" for fault in caught.value.faults)
    return [(fault.path, fault.message) for fault in caught.value.faults]


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Hex(enum.Enum):
    RED = "#f00"
    DARK_BLUE = "#008"


TITLED = [{"const": "#f00", "title": "Red"}, {"const": "#008", "title": "Dark blue"}]


@dataclass
class Contact:
    """Whom to call.

    Args:
        name: the full name
    """

    name: str
    age: Annotated[int, msgspec.Meta(ge=18, le=120)]
    score: Annotated[float, msgspec.Meta(gt=0, description="0 to 1")] = 0.5
    colour: Colour = Colour.RED
    hex: Hex | None = None
    tags: list[Literal["x", "y"]] = field(default_factory=list)
    born: datetime.date | None = None
    nick: str | None = "none"
    agreed: bool = False
