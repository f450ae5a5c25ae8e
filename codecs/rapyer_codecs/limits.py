"""Limits: how much of anything is accepted. Only numbers; each is enforced where its thing is made or read."""

from __future__ import annotations

from .lean import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on stored forms, for writing and, but for `fields`, for reading.

    ValueError for one that is too small, or for a value that no server takes.
    """

    depth: int = 16
    """Levels of nesting in recursive classes, packed values and Any."""
    fields: int = 10_000
    """Fields of one object, elements of one container: that are written as a whole. Ten times as many are read, because
    entries that are put one by one are not counted."""
    name: int = 1024
    """Bytes of a field name."""
    value: int = 8 * 1024 * 1024
    """Bytes of a field value; at most 512 MiB, which is what a server takes."""
    digits: int = 100_000
    """Decimal digits of an int; at least 20."""

    def __post_init__(self) -> None:
        if min(self.depth, self.fields, self.name, self.value) < 1 or self.digits < 20:
            raise ValueError("a limit is at least 1, and that of digits at least 20")
        if self.value > 512 * 1024 * 1024:
            raise ValueError("a server takes values of at most 512 MiB")

    @property
    def readable(self) -> int:
        """Fields of one object, elements of one container, that are read."""
        return 10 * self.fields
