"""Recall: what a function gave for the arguments it saw last. For texts that come again and again; bounded."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Recall"]

A = TypeVar("A")
R = TypeVar("R")


class Recall(Generic[A, R]):
    """A dict of a thousand results; full, it begins anew.

    Ask `known(argument)`; at None work the result out and return `keep(argument, result)`. Only for arguments
    of which equal ones give the same result, and that are small.
    """

    __slots__ = ("_results", "known")

    def __init__(self) -> None:
        self._results: dict[A, R] = {}
        self.known = self._results.get

    def keep(self, argument: A, result: R) -> R:
        """Note a result; gives it back."""
        if len(self._results) >= _KEPT:
            self._results.clear()
        self._results[argument] = result
        return result


_KEPT = 1024
