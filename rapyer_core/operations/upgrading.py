"""Walking all objects of a model and rewriting those that are stored in an older form. Generators; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from rapyer_codecs.lean import dataclass, field
from rapyer_core.collection import EXISTS, Collection, Context, Target
from rapyer_core.errors import (
    Conflict,
    ConstraintError,
    DecodeError,
    EncodeError,
    LimitExceeded,
    RapyerError,
    WrongKeyType,
)
from rapyer_core.keys import escape_glob
from rapyer_core.models import model_of
from rapyer_core.operations.candidates import replies_of
from rapyer_core.operations.commit import commit
from rapyer_core.operations.reading import CHUNK, chunks, commits, read, run_of
from rapyer_core.operations.refusals import refused
from rapyer_core.operations.units import Change, Seen, Unit, paired, seen_of
from rapyer_core.requests import Command, Operation, ServerError
from rapyer_core.retries import Retry

GROUP = 25
"""Objects rewritten in one EXEC, as long as nobody else writes to one of them."""

KEPT = 100
"""Errors that are kept; more are only counted."""

_OF_AN_OBJECT = (DecodeError, EncodeError, ConstraintError, LimitExceeded, WrongKeyType, Conflict)
"""Errors that are about one object, and keep no other from being rewritten."""


@dataclass(frozen=True, slots=True)
class UpgradeProgress:
    """How far ``upgrade_all`` has come in this call.

    seen: objects looked at (one may be met twice). upgraded: those of them that were rewritten. failed: those that
    cannot be, which are as they were. errors: why, for the first hundred. cursor: where to go on with another call;
    None: all were seen.
    """

    seen: int
    upgraded: int
    failed: int
    errors: tuple[RapyerError, ...]
    cursor: str | None

    @property
    def done(self) -> bool:
        """Whether all objects were seen."""
        return self.cursor is None


@dataclass(slots=True)
class Renew(Unit):
    """An object is written as the class would write it today. Sees all of it. wrote: whether that changes anything."""

    target: Target
    needs: Sequence[bytes] | None = None
    wrote: bool = False

    def decide(self, seen: Seen) -> Change:
        """Only what can be read is written; an object that is gone meanwhile stays gone."""
        self.wrote = False
        if not seen.exists:
            return Change()
        collection, pk = self.target.collection, self.target.pk
        fields = collection.dump(collection.load(seen.fields, pk), pk)
        diff = collection.mapper.diff(seen.fields, fields)
        self.wrote = seen.former is not None or bool(diff.put or diff.drop)
        return Change(put=diff.put, drop=diff.drop, renew=True)


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a walk stands. It holds for one version of the class and one run of the server, whose SCAN it is.

    clean: whether every object until here was of today's form or was rewritten.
    """

    version: int
    run: str
    scan: int = 0
    clean: bool = True

    def __str__(self) -> str:
        return f"{self.version}:{self.run}:{self.scan}:{'clean' if self.clean else 'failed'}"

    @classmethod
    def read(cls, text: str) -> _Position:
        version, run, scan, clean = text.split(":")
        return cls(int(version), run, int(scan), {"clean": True, "failed": False}[clean])


@dataclass(slots=True)
class Walk:
    """One call of ``upgrade_all``: page by page over all objects of a model."""

    ctx: Context
    collection: Collection[Any]
    position: _Position | None = None
    seen: int = 0
    upgraded: int = 0
    failed: int = 0
    errors: list[RapyerError] = field(default_factory=list)

    @classmethod
    def of(cls, ctx: Context, model: type[Any], cursor: str | None) -> Walk:
        """A walk from the beginning, or from a cursor. ValueError if it is none."""
        walk = cls(ctx, ctx.collection(model_of(model)))
        if cursor is not None:
            try:
                walk.position = _Position.read(cursor)
            except (ValueError, KeyError, AttributeError):
                raise ValueError("this is no cursor of upgrade_all") from None
        return walk

    def page(self) -> Operation[UpgradeProgress]:
        """Rewrite what is old among the next objects."""
        keys, position = yield from self._next_keys()
        pending: list[Renew] = []
        before = self.failed
        for part in chunks(keys):
            replies = yield from read(self.ctx, [(b"HGETALL", key) for key in part], model=self.collection.model.name)
            for key, reply in zip(part, replies, strict=True):
                unit = self._old(key, reply)
                if unit is not None:
                    pending.append(unit)
        for group in commits(self.ctx, pending, attrgetter("target.key"), GROUP):
            yield from self._rewrite(group)
        clean = position.clean and self.failed == before
        self.position = _Position(position.version, position.run, position.scan, clean)
        if position.scan == 0:
            if clean:
                yield from self._note_completeness()
            return self._progress(None)
        return self._progress(str(self.position))

    def _progress(self, cursor: str | None) -> UpgradeProgress:
        return UpgradeProgress(self.seen, self.upgraded, self.failed, tuple(self.errors), cursor)

    def _next_keys(self) -> Operation[tuple[list[bytes], _Position]]:
        """The next keys, and the position after them; from the beginning where a position holds no longer."""
        version, at = self.collection.model.version, self.position
        if at is None or at.version != version:
            at = _Position(version, "")
        while True:
            scan: Command = (b"SCAN", at.scan, b"MATCH", escape_glob(self.collection.head) + b"*", b"COUNT", CHUNK)
            info, reply = yield from read(self.ctx, [(b"INFO", b"server"), scan], model=self.collection.model.name)
            if isinstance(reply, ServerError):
                raise refused(Target(self.collection, "*", self.collection.head), reply)
            run = run_of(info)
            if at.scan == 0 or run == at.run:
                return list(dict.fromkeys(reply[1])), _Position(version, run, int(reply[0]), at.clean)
            at = _Position(version, run)

    def _old(self, key: bytes, reply: Any) -> Renew | None:
        """What has to be rewritten; None for an object of today's form, and for one that is none."""
        collection = self.collection
        target = Target(collection, collection.pk_in(key), key)
        try:
            if isinstance(reply, ServerError):
                raise refused(target, reply)
            fields = paired(reply)
            if EXISTS not in fields:
                return None
            self.seen += 1
            unit = Renew(Target(collection, collection.pk_from_key(key), key))
            unit.decide(seen_of(unit.target, fields))
        except _OF_AN_OBJECT as error:
            self._fail(error)
            return None
        return unit if unit.wrote else None

    def _rewrite(self, units: Sequence[Renew]) -> Operation[None]:
        """All in one commit if nobody interferes, else one by one."""
        try:
            yield from commit(self.ctx, units, retry=Retry(attempts=1) if len(units) > 1 else None)
        except _OF_AN_OBJECT as error:
            if len(units) == 1:
                self._fail(error)
                return
            for unit in units:
                yield from self._rewrite([unit])
            return
        self.upgraded += sum(unit.wrote for unit in units)

    def _fail(self, error: RapyerError) -> None:
        self.failed += 1
        if len(self.errors) < KEPT:
            self.errors.append(error)

    def _note_completeness(self) -> Operation[None]:
        """Indexes that older objects were not in have all of them now."""
        collection = self.collection
        names = sorted(collection.doubtful)
        if names:
            pairs = [part for name in names for part in (name.encode(), collection.version)]
            # Nothing is counted or added, so that it may be sent twice.
            yield from replies_of(self.ctx, collection, [(b"HSET", collection.complete_key, *pairs)])
