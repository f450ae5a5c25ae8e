"""``pipeline``, ``transaction``, ``transact`` and ``lock`` for asyncio: the waiting around a Block.

``rapyer_core.sync.transactions`` is the blocking twin, made of this file by ``make sync``.
What a block records and decides is in ``blocks``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from rapyer_core.arguments import check_function, check_seconds, several
from rapyer_core.blocks import (
    FRESH,
    Block,
    Scope,
    enter,
    locals_of,
    pipeline_targets,
    transaction_target,
    watch_of,
)
from rapyer_core.collection import Target
from rapyer_core.drafts import draft_of
from rapyer_core.errors import Conflict, LockTimeout, NotFound, PoolTimeout, RapyerError
from rapyer_core.models import model_of
from rapyer_core.nodes import Found, Watching
from rapyer_core.operations import locks
from rapyer_core.operations.commit import Fence
from rapyer_core.operations.locks import Hold
from rapyer_core.operations.units import Seen
from rapyer_core.requests import Failed, Lost, Watch
from rapyer_core.retries import LONGEST, Retry, check_options, clock
from rapyer_core.sessions import Loop, Reservation, Session, current
from rapyer_core.tracking import untracked
from rapyer_core.waiting import Alarm, Interruption, Repeating, Worker, current_worker, outcome_of, shielded, sleep

ALONE = 10.0
"""Seconds that a transaction which met other writers waits to have its keys to itself; then it runs all the same."""

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
P = ParamSpec("P")


class Watched:
    """What a block reads. It is watched from then on, if there is a connection to spare: if little time goes by, the
    commit need not read it again.
    """

    __slots__ = ("_block", "_lead", "_locks", "_session", "_since", "_turn", "_watcher")

    def __init__(self, session: Session, block: Block) -> None:
        self._session, self._block = session, block
        self._watcher: Watching | None = None
        self._since: float | None = None
        """When the first reading began."""
        self._lead: list[Seen] = []
        """What was read under the watch, in the order of the block's recorders."""
        self._locks: tuple[bytes, ...] = ()
        """Keys of locks that are watched, and were held then."""
        self._turn = Lock()
        """Of whoever deals with the watcher: what is read at the same time in the same block is not watched."""

    async def read(self, targets: Sequence[Target], shown: bool, then: Callable[[Sequence[Target]], Any]) -> Any:
        """Read objects that are new to the block; what is then made of them.

        Arguments and errors as of ``Block.add``. Nothing is watched any more if there is one.
        """
        block = self._block
        if block.ctx.clustered:
            block.check_together(targets)
        if (self._since is None or self._watcher is not None) and self._turn.acquire(False):
            done = False
            try:
                replies = await self._ask(watch_of(targets))
                if replies is not None:
                    self._lead += block.add(targets, replies, shown)
                    made = then(targets)
                    done = True
                    return made
            except Lost:
                pass  # the ordinary way connects anew
            finally:
                if not (done and block.open):
                    self._leave()
                self._turn.release()
        block.add(targets, await self._session.run(enter(block.ctx, targets)), shown)
        return then(targets)

    async def take(self, entry: locks.Entry) -> Hold | bool:
        """Take a lock, and read objects that are new to the block; else, whether somebody has it, if that is known.

        Errors as of ``Block.add``; the lock may be taken then.
        """
        if (self._since is not None and self._watcher is None) or not self._turn.acquire(False):
            return False
        done = False
        try:
            sent = clock()
            replies = await self._ask(entry.watch)
            if replies is None or not entry.taken(replies):
                return replies is not None and entry.busy(replies)
            self._lead += self._block.add(entry.targets, entry.read(replies))
            self._locks += (entry.fence.key,)
            if entry.holds(replies):
                self._locks += tuple([other.key for other in entry.held])
            done = True
            return Hold(entry.fence, entry.lease, sent + entry.lease)
        except Lost:
            return False  # the ordinary way finds out whether it was taken
        finally:
            if not done:
                self._leave()
            self._turn.release()

    def _ask(self, watch: Watch) -> Awaitable[Found]:
        """Watch, and what is read under it; None: nothing can be watched, or nothing more."""
        if self._watcher is not None:
            return self._watcher.more(watch)
        self._since = time.monotonic()
        self._watcher = watcher = self._session.watch(watch)
        return watcher.replies()

    async def end(self, commit: bool, fences: Sequence[Fence] = ()) -> None:
        """End the block: commit its units, and show them; or not. fences: as of ``Block.commit``."""
        block = self._block
        try:
            units = block.units() if commit else ()
            if not units:
                return
            # Kept for good: nothing is read any more.
            mine = self._turn.acquire(False)
            watcher = self._watcher if mine else None
            lead: list[Seen] | None = None
            if watcher is not None and self._since is not None and time.monotonic() - self._since < FRESH:
                lead = self._lead
                # Units come in the order of the recorders. If there are more, nobody has looked at the objects of some.
                if len(lead) != len(units) or (fences and not {fence.key for fence in fences}.issubset(self._locks)):
                    lead = None
            attempt = block.commit(units, lead, fences)
            if attempt.lead is None or watcher is None:
                if mine:
                    self._leave()
                await self._session.run(attempt.operation())
            else:
                self._watcher = None
                answer: Any
                try:
                    answer = await watcher.commit(attempt.decide)
                except Exception as failure:
                    answer = Failed(failure)
                # Nearly always it came through, and there is nothing more to say about it.
                if answer != []:
                    await self._session.run(attempt.operation(answer))
            block.show(units)
        finally:
            block.close()
            if self._watcher is not None:
                self.close()

    def close(self) -> None:
        """End the block, unless it has ended already. What is still being read is nobody's then."""
        self._block.close()
        if self._watcher is not None and self._turn.acquire(False):
            self._leave()

    def _leave(self) -> None:
        """Watch nothing any more."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.leave()


class Pipeline(Generic[T]):
    """The block of ``pipeline``."""

    def __init__(
        self, objects: Sequence[Any], retry: Retry | None, exactly_once: bool | None, session: Session | None
    ) -> None:
        chosen = current(session)
        if retry is not None or exactly_once is not None:
            check_options(retry, exactly_once)
        self._targets = pipeline_targets(chosen.context, objects)
        self._block = block = Block(chosen.context, retry, exactly_once)
        self._watched = Watched(chosen, block)
        self._entered = False

    # No coroutines: one more would be made for each block, and do nothing.

    def __aenter__(self) -> Awaitable[T]:
        if self._entered:
            raise RuntimeError("a pipeline is entered once: call pipeline() again")
        self._entered = True
        made: Awaitable[T] = self._watched.read(self._targets, True, self._block.drafts)
        return made

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Awaitable[None]:
        return self._watched.end(kind is None)


@overload
def pipeline(
    obj: A, /, *, retry: Retry | None = ..., exactly_once: bool | None = ..., session: Session | None = ...
) -> Pipeline[A]: ...
@overload
def pipeline(
    one: A, two: B, /, *, retry: Retry | None = ..., exactly_once: bool | None = ..., session: Session | None = ...
) -> Pipeline[tuple[A, B]]: ...
@overload
def pipeline(
    one: A,
    two: B,
    three: C,
    /,
    *more: Any,
    retry: Retry | None = ...,
    exactly_once: bool | None = ...,
    session: Session | None = ...,
) -> Pipeline[Any]: ...
def pipeline(
    *objects: Any, retry: Retry | None = None, exactly_once: bool | None = None, session: Session | None = None
) -> Pipeline[Any]:
    """Several changes of one object (or of several) in one commit, at the end of the block.

    ``async with pipeline(player) as p:`` gives a draft: reads are fresh, writes are recorded, nothing is visible before
    the commit. Of several objects it gives a tuple. An exception in the block writes nothing.

    Raises NotFound; Conflict when a value that was read in the block changed meanwhile; OutcomeUnknown.
    """
    return Pipeline(objects, retry, exactly_once, session)


class Transaction:
    """What a transaction block works with. Objects come from ``get``; everything is committed at the end."""

    def __init__(self, session: Session, retry: Retry | None = None, exactly_once: bool | None = None) -> None:
        self._session = session
        self._block = Block(session.context, retry, exactly_once, presence=True)
        self._watched = Watched(session, self._block)
        self._worker = current_worker()
        self._alone: Reservation | None = None

    async def get(self, cls: type[T], pk: Any) -> T:
        """The draft of an object. NotFound; that it is absent counts as read."""
        recorders = await self._read([self._target(cls, pk)])
        made: T = draft_of(recorders[0])
        return made

    async def get_or_none(self, cls: type[T], pk: Any) -> T | None:
        """The draft of an object, None if there is none; that counts as read."""
        try:
            return await self.get(cls, pk)
        except NotFound:
            return None

    async def get_many(self, cls: type[T], pks: Sequence[Any]) -> list[T | None]:
        """The drafts of several objects, in the order asked, None where there is none."""
        given = several(pks, "primary keys", "get")
        recorders = await self._read([self._target(cls, pk) for pk in given])
        return [draft_of(recorder) if recorder.is_there else None for recorder in recorders]

    async def insert(self, obj: T) -> T:
        """Create the object at commit, as it is now (AlreadyExists then, if there is one). Its draft."""
        made: T = self._block.insert(obj)
        return made

    async def save(self, obj: Any) -> None:
        """Save a plain object with the commit, under the rules of ``save``. A draft needs none."""
        self._block.save(obj)

    async def delete(self, obj: Any, pk: Any = None) -> bool:
        """Delete an object at commit: a draft, an instance, or ``delete(Player, pk)``; whether it is there now."""
        target = transaction_target(self._session.context, obj, pk)
        recorder = (await self._read([target]))[0]
        self._block.check_open()
        if not recorder.is_there:
            return False
        if recorder.local is None and not isinstance(obj, type):
            recorder.local = locals_of(obj) if target.obj is obj else None
        self._block.delete(recorder)
        return True

    def _target(self, cls: type[Any], pk: Any) -> Target:
        return self._session.context.collection(model_of(cls)).target(pk)

    async def _read(self, targets: Sequence[Target]) -> list[Any]:
        self._block.check_open()
        known = self._block.recorders
        missing = list({target.key: target for target in targets if target.key not in known}.values())
        if missing:
            if not known:
                await self._queue(missing)
            await self._watched.read(missing, False, tuple)
        if self._block.saves:
            self._block.draft_saved(targets)
        return [known[target.key] for target in targets]

    async def _queue(self, targets: Sequence[Target]) -> None:
        """Where others wait for the objects already, wait for them too: what is read now would be in vain."""
        loop = self._session.loop
        keys = sorted(target.key for target in targets)
        # Not in a task that reads for the transaction: it is another one that commits.
        if self._alone is None and current_worker() is self._worker and loop.is_queued(keys):
            self._alone = await loop.reserve(keys, ALONE)

    def _close(self) -> None:
        self._watched.close()
        if self._alone is not None:
            self._alone.stop()


class TransactionBlock:
    """``async with transaction() as tx:``, or ``@transaction()`` over a function whose first parameter is tx."""

    def __init__(self, retry: Retry | None, exactly_once: bool | None, session: Session | None) -> None:
        if retry is not None or exactly_once is not None:
            check_options(retry, exactly_once)
        self._retry, self._once, self._session = retry, exactly_once, session
        self._tx: Transaction | None = None

    async def __aenter__(self) -> Transaction:
        if self._tx is not None:
            raise RuntimeError("a transaction block is entered once: call transaction() again")
        self._tx = Transaction(current(self._session), self._retry, self._once)
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tx = self._tx
        assert tx is not None
        try:
            if kind is None:
                await tx._watched.end(True)
        finally:
            tx._close()

    def __call__(self, function: Callable[Concatenate[Transaction, P], Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        check_function("what @transaction() decorates", function)

        @functools.wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> R:
            return await _transact(function, args, kwargs, self._retry, self._once, self._session)

        return run


def transaction(
    *, retry: Retry | None = None, exactly_once: bool | None = None, session: Session | None = None
) -> TransactionBlock:
    """Several objects in one commit, all or nothing.

    As a block it is one attempt: Conflict if a value that was read changed meanwhile. As a decorator,
    ``@transaction()``, the function (whose first parameter is the transaction) runs again, with growing random pauses,
    until it gets through or the deadline of retry (30 s) is over.
    """
    return TransactionBlock(retry, exactly_once, session)


async def transact(
    function: Callable[Concatenate[Transaction, P], Awaitable[R]],
    /,
    *args: Any,
    retry: Retry | None = None,
    exactly_once: bool | None = None,
    session: Session | None = None,
    **kwargs: Any,
) -> R:
    """Run ``function(tx, *args, **kwargs)`` and commit, again from the start on Conflict; what it returned.

    Raises Conflict, with the number of attempts and the fields, when the deadline of retry is over.
    """
    return await _transact(function, args, kwargs, retry, exactly_once, session)


async def _transact(
    function: Callable[..., Awaitable[R]],
    args: Any,
    kwargs: Any,
    retry: Retry | None,
    exactly_once: bool | None,
    session: Session | None,
) -> R:
    chosen = current(session)
    if retry is not None or exactly_once is not None:
        check_options(retry, exactly_once)
    check_function("what transact runs", function)
    pauses = (retry or chosen.context.retry).pauses()
    attempts = 0
    keys: tuple[bytes, ...] = ()
    while True:
        attempts += 1
        tx = Transaction(chosen, retry, exactly_once)
        try:
            # Once another writer came first, those of this process wait: a long transaction would never come through.
            if keys:
                tx._alone = await chosen.loop.reserve(keys, ALONE)
            result = await outcome_of(function, function(tx, *args, **kwargs))
            await tx._watched.end(True)
            return cast(R, untracked(result))
        except Conflict as conflict:
            pause = next(pauses, None)
            if pause is None:
                conflict.attempts = attempts
                raise
            keys = tx._block.keys
        finally:
            tx._close()
        await sleep(pause)


class LockBlock(Generic[T]):
    """The block of ``lock``."""

    def __init__(
        self,
        objects: Sequence[Any],
        name: str,
        timeout: float,
        lease: float,
        retry: Retry | None,
        once: bool | None,
        session: Session | None,
    ) -> None:
        check_seconds("lease", lease, LONGEST)
        check_seconds("timeout", timeout, LONGEST, or_zero=True)
        if retry is not None or once is not None:
            check_options(retry, once)
        self._session = current(session)
        self._objects = objects
        self._targets = pipeline_targets(self._session.context, objects)
        self._name, self._timeout, self._lease = name, timeout, lease
        self._retry, self._once = retry, once
        self._marks: dict[bytes, int] | None = None
        self._scope: Scope | None = None
        self._watched: Watched
        self._loop: Loop | None = None
        self._root: LockBlock[Any] = self
        self._worker: Worker | None = None
        self._interruption: Interruption | None = None
        self._turns: list[bytes] = []
        self._keeping: list[Repeating | Alarm] = []

    async def __aenter__(self) -> T:
        if self._scope is not None:
            raise RuntimeError("a lock block is entered once: call lock() again")
        self._loop, self._worker = self._session.loop, current_worker()
        self._root = self._loop.tasks.setdefault(self._worker, self)
        if self._root is self:
            scope = Scope(Block(self._session.context, self._retry, self._once))
            self._watched = Watched(self._session, scope.block)
            self._interruption = Interruption()
        else:
            assert self._root._scope is not None
            scope, self._watched = self._root._scope, self._root._watched
        self._scope = scope
        try:
            # What the block around this one did until now stays, whatever becomes of this one.
            self._marks = scope.marks()
            scope.block.check_together(self._targets)
            await self._take(scope, self._loop)
            await self._read(scope)
            made: T = scope.block.drafts(self._targets)
            return made
        except BaseException as error:
            await self._end(scope, self._loop, error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._scope is not None
        assert self._loop is not None
        await self._end(self._scope, self._loop, error)

    async def _end(self, scope: Scope, loop: Loop, error: BaseException | None) -> None:
        """Leave the block, by this error. LockLost instead of a cancellation that came of nothing but a lost lock."""
        told = self._interruption is not None and self._interruption.end(error)
        lost = scope.lost
        await self._leave(scope, loop, commit=error is None)
        if told and lost is not None:
            raise lost.error from error

    async def _take(self, scope: Scope, loop: Loop) -> None:
        end = time.monotonic() + self._timeout
        unread = scope.unread(self._targets)
        wanted = scope.wanted(self._targets, self._name)
        for fence in wanted:
            start = time.monotonic()
            patience = scope.patience(fence, max(0.0, end - start))
            try:
                await loop.turns.take([fence.key], patience)
            except Conflict:
                raise LockTimeout(**fence.target.data, name=fence.name, waited=time.monotonic() - start) from None
            try:
                hold: Hold | bool = False
                if unread and fence is wanted[-1]:
                    hold = await self._watched.take(locks.Entry(fence, self._lease, scope.fences, unread))
                if isinstance(hold, bool):
                    left = max(0.0, patience - (time.monotonic() - start))
                    hold = await self._session.run(
                        locks.acquire(self._session.context, fence, self._lease, left, busy=hold)
                    )
            except BaseException as error:
                try:
                    # Turned down, it is nobody's; after anything else the server may hold it in our name.
                    if not isinstance(error, LockTimeout | PoolTimeout):
                        await shielded(functools.partial(self._give_back, [fence]))
                finally:
                    loop.turns.give_back([fence.key])
                raise
            self._root._turns.append(fence.key)
            scope.holds[fence.key] = hold
            self._root._keep(hold)

    def _keep(self, hold: Hold) -> None:
        """Renew the lock until the outermost block ends, and tell it at once when it is lost."""
        assert self._interruption is not None
        strike = self._interruption.strike
        self._keeping += [
            Repeating(functools.partial(_due, hold), functools.partial(_renew, self._session, hold, strike)),
            Alarm(functools.partial(_left, hold), functools.partial(_run_out, hold, strike)),
        ]

    async def _read(self, scope: Scope) -> None:
        missing = scope.unread(self._targets)
        if missing:
            await self._watched.read(missing, False, tuple)
        for obj, target in zip(self._objects, self._targets, strict=True):
            recorder = scope.block.recorders[target.key]
            if recorder.local is None:
                recorder.local = locals_of(obj)

    async def _leave(self, scope: Scope, loop: Loop, commit: bool) -> None:
        if self._root is not self:
            if not commit and self._marks is not None:
                scope.back(self._marks)
            return
        if self._worker is not None:
            loop.tasks.pop(self._worker, None)
        try:
            if commit:
                lost = scope.lost
                if lost is not None:
                    raise lost.error
                await self._watched.end(True, scope.fences)
                scope.holds.clear()
        finally:
            self._watched.close()
            for keeping in self._keeping:
                keeping.stop()
            try:
                # What was lost is not asked for: nobody need wait for a server that may not answer.
                held = [hold.fence for hold in scope.holds.values() if hold.left > 0]
                if held:
                    await shielded(functools.partial(self._give_back, held))
            finally:
                loop.turns.give_back(self._turns)
                self._turns = []

    async def _give_back(self, fences: Sequence[Fence]) -> None:
        for fence in fences:
            # A lock that cannot be given back ends with its lease.
            with suppress(RapyerError):
                await self._session.run(locks.release(self._session.context, fence))


# Functions of the lock alone: what repeats them must not be held by what it repeats.


def _due(hold: Hold) -> float:
    return hold.due


def _left(hold: Hold) -> float:
    return hold.left


async def _renew(session: Session, hold: Hold, strike: Callable[[], None]) -> bool:
    """Renew a held lock. Whether to go on. Where it fails the lease runs on, until the alarm or the commit tells."""
    try:
        await session.run(locks.renew(session.context, hold))
    except RapyerError:
        hold.answered = False
    if hold.lost:
        strike()
    return not hold.lost


def _run_out(hold: Hold, strike: Callable[[], None]) -> None:
    hold.lost = True
    strike()


@overload
def lock(
    obj: A,
    /,
    *,
    name: str = ...,
    timeout: float = ...,
    lease: float = ...,
    retry: Retry | None = ...,
    exactly_once: bool | None = ...,
    session: Session | None = ...,
) -> LockBlock[A]: ...
@overload
def lock(
    one: A,
    two: B,
    /,
    *,
    name: str = ...,
    timeout: float = ...,
    lease: float = ...,
    retry: Retry | None = ...,
    exactly_once: bool | None = ...,
    session: Session | None = ...,
) -> LockBlock[tuple[A, B]]: ...
@overload
def lock(
    one: A,
    two: B,
    three: C,
    /,
    *more: Any,
    name: str = ...,
    timeout: float = ...,
    lease: float = ...,
    retry: Retry | None = ...,
    exactly_once: bool | None = ...,
    session: Session | None = ...,
) -> LockBlock[Any]: ...
def lock(
    *objects: Any,
    name: str = "lock",
    timeout: float = 10.0,
    lease: float = 10.0,
    retry: Retry | None = None,
    exactly_once: bool | None = None,
    session: Session | None = None,
) -> LockBlock[Any]:
    """Hold the lock of this name of one object, or of several, while the block runs; one fenced commit at its end.

    ``async with lock(alice, bob, name="transfer") as (a, b):`` gives drafts. timeout: seconds to wait for the locks.
    lease: seconds after which a lock frees itself if its holder is gone; renewed while the block runs.
    Blocks of one task nest: they commit together, when the outermost ends.

    Raises LockTimeout; LockLost when the lease ran out (a stopped process, a lost connection): nothing was written;
    NotFound; Conflict when somebody without the lock changed a value that was read. A lost lock is told at once
    where there is something to be cancelled, by cancelling what runs in the outermost block, which then raises
    LockLost; else at the end of the block.
    """
    return LockBlock(objects, name, timeout, lease, retry, exactly_once, session)
