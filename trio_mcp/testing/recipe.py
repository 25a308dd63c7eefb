"""`Recipe`: everything that one run is made of, and how it is kept in a file. The same recipe gives the same run."""

import json
from typing import Any, Literal

import attrs

from trio_mcp.testing.chance import Deviations
from trio_mcp.testing.network import Conditions
from trio_mcp.testing.simulation import PATIENCE

Kind = Literal["close", "abort", "stall", "cancel"]


@attrs.frozen
class Cut:
    """What is done to a run on purpose: after which step, to whom, and how.

    Attributes:
        kind: of a connection: `close` (a FIN), `abort` (a reset), `stall` (it is there and does nothing any more);
            `cancel`: a call.
        subject: the client, or the tool.
    """

    step: int
    kind: Kind
    subject: str

    def __str__(self) -> str:
        what = f"a call of {self.subject} is cancelled" if self.kind == "cancel" else f"{self.subject}: {self.kind}"
        return f"{what} after step {self.step}"


@attrs.frozen(kw_only=True)
class Recipe:
    """Everything that one run is made of; the same recipe gives the same run.

    Attributes:
        given: deviations to play back instead of drawing them.
        cut: what is done to it.
        settling, patience, expect_errors: as `simulate` takes them.
    """

    seed: int = 0
    conditions: Conditions | None = None
    given: Deviations | None = None
    cut: Cut | None = None
    settling: bool = False
    patience: float = PATIENCE
    expect_errors: bool = False

    def as_json(self, failure: str, scenario: str = "") -> str:
        """As text that `read_recipe` reads."""
        return json.dumps(
            {
                "scenario": scenario,
                "seed": self.seed,
                "failure": failure,
                "conditions": None if self.conditions is None else attrs.asdict(self.conditions),
                "cut": None if self.cut is None else attrs.asdict(self.cut),
                "settling": self.settling,
                "patience": self.patience,
                "expect_errors": self.expect_errors,
                "deviations": None if self.given is None else [[*key, choice] for key, choice in self.given.items()],
            },
            indent=1,
        )


def read_recipe(text: str) -> Recipe:
    """A recipe that was kept.

    Raises:
        ValueError: it is none.
    """
    try:
        kept: dict[str, Any] = json.loads(text)
        conditions, cut, deviations = kept["conditions"], kept["cut"], kept["deviations"]
        return Recipe(
            seed=kept["seed"],
            conditions=None
            if conditions is None
            else Conditions(**{**conditions, "latency": tuple(conditions["latency"])}),
            given=None if deviations is None else {(name, number): choice for name, number, choice in deviations},
            cut=None if cut is None else Cut(**cut),
            settling=kept["settling"],
            patience=kept["patience"],
            expect_errors=kept["expect_errors"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no recipe of a simulated run: {error!r}") from None
