"""Field paths as plain values: a tuple of steps, an attribute name or an Item. Nothing is looked up here."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from .lean import dataclass

__all__ = ["Item", "Steps", "render"]


@dataclass(frozen=True, slots=True)
class Item:
    """One subscript in a path: a list index, or the key of a dict or a TypedDict."""

    key: Hashable


Step: TypeAlias = str | Item
Steps: TypeAlias = tuple[Step, ...]
"""A path from the object: str is an attribute, Item a subscript."""


def render(steps: Steps) -> str:
    """A path as it is written in Python: `stats.wins`, `metadata["k"]`, `squad[2].hp`."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            text += f".{step}" if text else step
        else:
            text += f"[{_key(step.key)}]"
    return text


def _key(key: Hashable) -> str:
    if not isinstance(key, str):
        return repr(key)
    # A lone surrogate could not be printed.
    text = key.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "backslashreplace").decode()
    return f'"{text}"'
