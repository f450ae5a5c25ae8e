"""Upgrades: how objects of older versions of a model become such of today's. Pure values; nothing is read or sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rapyer_codecs import DecodeError, RapyerError, Registry, StoredFields
from rapyer_codecs.interrupts import is_interrupt
from rapyer_codecs.lean import dataclass
from rapyer_core.arguments import check_count, check_function, kind_of_value
from rapyer_core.errors import UnknownVersion

UpgradeFunction = Callable[[StoredFields], None]
"""Edits the stored fields of an object of one version into those of the next."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One step: from a version to the next one. Made by :func:`upgrade_from`.

    fields: the top fields that it may write; None: any. Can be called like the function that it was made of.
    """

    version: int
    function: UpgradeFunction
    fields: frozenset[str] | None = None

    def __call__(self, stored: StoredFields) -> None:
        """Edit the fields."""
        self.function(stored)

    def applied(self, fields: Mapping[bytes, bytes], registry: Registry) -> dict[bytes, bytes]:
        """The fields of the next version. DecodeError if the function fails; its own error may quote values."""
        stored = StoredFields(fields, registry=registry, may_change=self.fields)
        ours: RapyerError | None = None
        theirs = ""
        try:
            self.function(stored)
        except RapyerError as error:
            ours = error
        except Exception as error:
            if is_interrupt(error):
                raise
            theirs = type(error).__name__
        if ours is not None:
            ours.__cause__ = None
            raise ours from None
        if theirs:
            name = getattr(self.function, "__qualname__", "its function")
            reason = f"the upgrade from version {self.version} failed: {name} raised {theirs}"
            raise DecodeError(reason, target="upgrade")
        return stored.fields


def upgrade_from(version: int, /, *, fields: Iterable[str] | None = None) -> Callable[[UpgradeFunction], Upgrade]:
    """Make a function the upgrade of objects of this version to the next one.

    ``@upgrade_from(1)`` above ``def cents(stored: StoredFields) -> None``, then ``@redis_model(version=2,
    upgrades=[cents])``. The function edits the stored fields it is given; those that it does not mention stay. It must
    depend on nothing else: the same fields give the same result every time, in every process.

    fields: names of the top fields that it writes (a ConstraintError if it writes another). Index fields not among
    them are the same before and after, so that searches go on using their index while older objects are stored.
    """
    check_count("the version of upgrade_from", version, "from 1", 1)
    if isinstance(fields, str):
        raise TypeError("fields= of upgrade_from takes several names: give a list, also for one")
    listed = None if fields is None else frozenset(fields)

    def decorate(function: UpgradeFunction) -> Upgrade:
        check_function("what @upgrade_from(version) decorates", function)
        return Upgrade(version, function, listed)

    return decorate


@dataclass(frozen=True, slots=True)
class History:
    """Which versions of a model may be stored. steps: the upgrades from oldest on, in order.

    settled: that older objects are stored was ruled out, so that a write need not look.
    """

    version: int = 1
    oldest: int = 1
    steps: tuple[Upgrade, ...] = ()
    settled: bool = True

    def upgraded(self, fields: dict[bytes, bytes], stored: bytes, registry: Registry) -> dict[bytes, bytes]:
        """Fields of a stored version (the text of ``~``) as those of today's. UnknownVersion, DecodeError."""
        number = _number(stored)
        if not self.oldest <= number <= self.version:
            raise UnknownVersion(
                path="~", raw=stored, target="version", version=number, known=(self.oldest, self.version)
            )
        for step in self.steps[number - self.oldest :]:
            fields = step.applied(fields, registry)
        return fields

    def may_move(self, field: str) -> bool:
        """Whether an upgrade may write this top field."""
        return any(step.fields is None or field in step.fields for step in self.steps)


def _number(stored: bytes) -> int:
    if not stored.isdigit() or stored[:1] == b"0" or len(stored) > 18:
        raise DecodeError("the stored version is not one", path="~", raw=stored, target="version")
    return int(stored)


def history(owner: str, version: int, oldest: int | None, upgrades: Iterable[Any]) -> History:
    """The versions of a class called owner. TypeError, ValueError where a step is missing, doubled or none."""
    check_count(f"the version of {owner}", version, "from 1", 1)
    if oldest is not None:
        check_count(f"the oldest version of {owner}", oldest, "from 1", 1)
    steps: dict[int, Upgrade] = {}
    if not isinstance(upgrades, Iterable):
        raise TypeError(f"the upgrades of {owner} are a list of them, not {kind_of_value(upgrades)}")
    for step in upgrades:
        if not isinstance(step, Upgrade):
            kind = type(step).__name__
            raise TypeError(f"an upgrade of {owner} is a function under @upgrade_from(version), not this {kind}")
        if step.version in steps:
            raise ValueError(f"{owner} has two upgrades from version {step.version}")
        steps[step.version] = step
    if not steps and oldest is None:
        return History(version, version, settled=version == 1)
    first = 1 if oldest is None else oldest
    if not 1 <= first <= version:
        raise ValueError(f"the oldest version of {owner} lies between 1 and its version, {version}")
    useless = sorted(number for number in steps if not first <= number < version)
    if useless:
        raise ValueError(
            f"{owner} is of version {version}, and its oldest is {first}: "
            f"there is nothing to upgrade from version {useless[0]}"
        )
    missing = [str(number) for number in range(first, version) if number not in steps]
    if missing:
        raise ValueError(
            f"{owner} has no upgrade from version {', '.join(missing)}; if no object of an old version is left, "
            "oldest= says which is the oldest that may be stored"
        )
    return History(version, first, tuple(steps[number] for number in range(first, version)), first == version)
