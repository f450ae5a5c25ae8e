"""Units: one object's part of a commit: the stored fields it must see, what was seen, what it writes then. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import ClassVar, NamedTuple, Protocol

from rapyer_codecs.lean import dataclass, field
from rapyer_core.collection import EXISTS, Fields, Target
from rapyer_core.operations.refusals import refused
from rapyer_core.requests import Command, Reply, ServerError


class Seen(NamedTuple):
    """What was read of one object. fields: of a partial read, only those that were asked for.

    former: what is stored in truth, of an object of an older version, which fields were made of.
    """

    exists: bool
    fields: Fields
    whole: bool
    former: Fields | None = None


@dataclass(slots=True)
class Change:
    """What to write to one object. put, drop: fields. replace: instead of all that is stored. erase: delete it.

    extra: further commands, of index keys. tail: a further read in the same EXEC. renew: an object of an older version
    is written as one of today's, even if nothing else of it changes; with any other change it is anyway.
    """

    put: Fields = field(default_factory=dict)
    drop: Sequence[bytes] = ()
    replace: bool = False
    erase: bool = False
    extra: Sequence[Command] = ()
    tail: Command | None = None
    renew: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is written."""
        return not (self.put or self.drop or self.replace or self.erase or self.extra)

    def unsent(self, key: bytes) -> list[Command]:
        """The commands of one that only puts and drops fields: it is what those before it do to its object."""
        put, drop = self.put, self.drop
        if drop:
            return put_and_drop(key, put, drop)
        return [(b"HSET", key, *chain.from_iterable(put.items()))]


def put_and_drop(key: bytes, put: Fields, drop: Collection[bytes]) -> list[Command]:
    """The commands that put and drop fields of an object."""
    commands: list[Command] = []
    # HDEL before HSET: an index may become a key.
    if drop:
        commands.append((b"HDEL", key, *drop))
    if put:
        commands.append((b"HSET", key, *chain.from_iterable(put.items())))
    return commands


class Unit(Protocol):
    """One object's part of a commit."""

    __slots__ = ()

    target: Target
    needs: Sequence[bytes] | None
    """The fields it must see; None: all of them."""

    any_version: ClassVar[bool] = False
    """Whether an object of any version will do, because it is replaced or deleted and nothing of it is looked at."""

    def decide(self, seen: Seen) -> Change:
        """What to write. Raises to refuse the whole commit (NotFound, Conflict, ...). Called once per attempt."""
        ...


# -- what was read --


def read_command(unit: Unit, older: bool = False) -> Command:
    """The command that shows a unit what it must see. older: also of an object of another version."""
    if unit.needs is None or (older and not unit.any_version):
        return (b"HGETALL", unit.target.key)
    return (b"HMGET", unit.target.key, EXISTS, *unit.needs)


def seen_from(unit: Unit, reply: Reply, older: bool = False) -> Seen | None:
    """The reply to :func:`read_command` as what was seen; None: of another version, so that all of it is needed."""
    if isinstance(reply, ServerError):
        raise refused(unit.target, reply)
    if unit.needs is None or (older and not unit.any_version):
        return whole(unit.target, reply)
    version = reply[0]
    if version != unit.target.collection.version and version is not None and not unit.any_version:
        return None
    fields: Fields = {}
    place = 1
    for name in unit.needs:
        value = reply[place]
        place += 1
        if value is not None:
            fields[name] = value
    return _new_seen(Seen, (version is not None, fields, False, None))


def whole(target: Target, reply: Reply) -> Seen:
    """The reply to HGETALL as what was seen."""
    pairs = iter(reply)
    fields: Fields = dict(zip(pairs, pairs, strict=False))
    if fields.get(EXISTS) != target.collection.version:
        return seen_of(target, fields)
    del fields[EXISTS]
    return _new_seen(Seen, (True, fields, True, None))


_new_seen: Callable[[type[Seen], tuple[bool, Fields, bool, Fields | None]], Seen] = tuple.__new__
"""A NamedTuple without a call of Python code."""


def paired(reply: Reply) -> Fields:
    """The reply to HGETALL as fields, ``~`` among them."""
    pairs = iter(reply)
    return dict(zip(pairs, pairs, strict=True))


def seen_of(target: Target, fields: Fields) -> Seen:
    """All stored fields of a hash as what was seen: the one place where objects of older versions become today's.

    Takes the field ``~`` out of them. UnknownVersion; DecodeError when an upgrade fails.
    """
    version = fields.pop(EXISTS, None)
    if version == target.collection.version:
        return Seen(True, fields, True)
    if version is None:
        return Seen(False, {}, True)
    return Seen(True, target.collection.upgraded(fields, version, target.pk), True, fields)
