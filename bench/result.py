"""What one row came to. No measuring, no printing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench.measure import Ratio


class SidesDiffer(Exception):
    """The sides of a row did not do the same, so that its ratio would mean nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row.

    ratio: hand-written time / our time. target: the ratio that the project aims at. ours, hand: operations a second.
    limit, loop: our speed as a share of what a bare socket, and a bare protocol of the event loop, reach with the same
    work; None where there is no such thing. errors: operations that raised, of all rounds of both sides.
    """

    group: str
    name: str
    target: float | None
    ratio: Ratio
    ours: float
    hand: float
    limit: float | None
    loop: float | None
    errors: int
    rounds: int

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, without an error; None without a target."""
        return None if self.target is None else self.ratio.median >= self.target and not self.errors

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Result:
        fields: dict[str, Any] = {name: found[name] for name in cls.__dataclass_fields__}
        fields["ratio"] = Ratio(**found["ratio"])
        return cls(**fields)
