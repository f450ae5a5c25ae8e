"""What one row of `make bench-peers` came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

OURS = "rapyer_core"
PACKAGES = ("rapyer", "redis-om", "pydantic-redis", "walrus", "popoto")
OTHER_ROWS = ("asyncio only", "in the blocking rows")
"""Reasons that are no shortcoming: there are other rows for those."""

WORDS = {"wins": "player wins", "save_many": "save", "get_many": "load"}


def times(ratio: float | None) -> str:
    """A ratio; a dash where nobody took part."""
    return "–" if ratio is None else f"{ratio:.1f}x"


@dataclass(frozen=True, slots=True)
class Entry:
    """Of one mapper. ratio: its time / ours. loses: updates made at the same time; None where nothing is updated."""

    per_second: float
    ratio: float
    loses: bool | None


@dataclass(frozen=True, slots=True)
class PeerResult:
    """entries: of those that took part, ours among them. reasons: why the others did not."""

    group: str
    operation: str
    entries: dict[str, Entry]
    reasons: dict[str, str]

    @property
    def words(self) -> str:
        """The operation."""
        return WORDS.get(self.operation, self.operation)

    @property
    def best(self) -> float | None:
        """How much faster ours is than the fastest of the others."""
        others = [entry.ratio for name, entry in self.entries.items() if name != OURS]
        return min(others, default=None)

    @property
    def safest(self) -> float | None:
        """The same among those that lose no update in this row."""
        others = [entry.ratio for name, entry in self.entries.items() if name != OURS and not entry.loses]
        return min(others, default=None)

    def cell(self, name: str) -> str:
        """Operations a second, marked if updates are lost; a dash for who did not take part."""
        entry = self.entries.get(name)
        return "–" if entry is None else f"{entry.per_second:,.0f}{'*' if entry.loses else ''}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> PeerResult:
        entries = {name: Entry(**entry) for name, entry in found["entries"].items()}
        return cls(found["group"], found["operation"], entries, found["reasons"])
