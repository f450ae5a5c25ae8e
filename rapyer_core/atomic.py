"""AtomicRedisModel: the same mapping as ``@redis_model``, with methods on the object and live attributes (asyncio).

``rapyer_core.sync.atomic`` has the blocking base. The methods call the repository functions and add nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Self, dataclass_transform

from rapyer_core import repository, transactions
from rapyer_core.classes import InheritedModelMeta, OnEither, assign_all, in_draft
from rapyer_core.live import LiveField, plain
from rapyer_core.models import pk_of
from rapyer_core.sessions import Session, current
from rapyer_core.transactions import LockBlock, Pipeline


@dataclass_transform(field_specifiers=(dataclasses.field,))
class AtomicRedisModel(metaclass=InheritedModelMeta):
    """Base class of models with methods: ``class Player(AtomicRedisModel): score: int = 0``.

    A subclass becomes a dataclass. Its attributes are live: ``await player.score.aincrease(100)`` changes the stored
    field and the object; arithmetic and changes of a list stay local until ``asave``. All methods use the session of
    ``init_rapyer``, or the one given.
    """

    __rapyer_base__: ClassVar[bool] = True
    __rapyer_field__: ClassVar[Callable[[str, Any], Any]] = LiveField

    @property
    def pk(self) -> Any:
        """The primary key: the Key field's value, else a generated sortable id."""
        return pk_of(self)

    @property
    def key(self) -> str:
        """The Redis key, with the prefix of the default session."""
        return current(None).context.target(self).key.decode()

    async def asave(self, *, overwrite: bool = False, session: Session | None = None) -> None:
        """``save``: a new object whole, of a loaded one what changed. Conflict, NotFound."""
        await repository.save(self, overwrite=overwrite, session=session)

    async def ainsert(self, *, session: Session | None = None) -> None:
        """``insert``: AlreadyExists if there is one."""
        await repository.insert(self, session=session)

    @classmethod
    async def aget(cls, pk: Any, *, session: Session | None = None) -> Self:
        """``get``: the stored object. NotFound."""
        return await repository.get(cls, pk, session=session)

    @classmethod
    async def aget_or_create(
        cls, pk: Any = None, *, session: Session | None = None, **values: Any
    ) -> tuple[Self, bool]:
        """``get_or_create``: the stored object, or a new one of these values; and whether it was created."""
        return await repository.get_or_create(cls, pk, session=session, **values)

    async def aload(self, *, session: Session | None = None) -> Self:
        """``reload``: read the object again, in place. NotFound."""
        return await repository.reload(self, session=session)

    @OnEither
    async def adelete(self_or_cls: Any, pk: Any = None, *, session: Session | None = None) -> bool:  # either
        """``delete``, of the object or ``Player.adelete(pk)``; whether it was there."""
        return await repository.delete(self_or_cls, pk, session=session)

    @OnEither
    async def aexists(self_or_cls: Any, pk: Any = None, *, session: Session | None = None) -> bool:  # either
        """``exists``, of the object or ``Player.aexists(pk)``."""
        return await repository.exists(self_or_cls, pk, session=session)

    async def aupdate(self, *, session: Session | None = None, **values: Any) -> None:
        """Assign several fields in one commit."""
        async with transactions.pipeline(self, session=session) as draft:
            assign_all(draft, values)

    @classmethod
    async def afind(
        cls, *conditions: Any, order_by: Any = None, limit: int | None = None, session: Session | None = None
    ) -> list[Self]:
        """``find``: the objects that fulfil every condition; without conditions, all."""
        return await repository.find(cls, *conditions, order_by=order_by, limit=limit, session=session)

    @classmethod
    async def find(
        cls, *conditions: Any, order_by: Any = None, limit: int | None = None, session: Session | None = None
    ) -> list[Self]:
        """The same as ``afind``."""
        return await cls.afind(*conditions, order_by=order_by, limit=limit, session=session)

    def apipeline(self, *, session: Session | None = None) -> Pipeline[Self]:
        """``pipeline``: several changes in one commit."""
        return transactions.pipeline(self, session=session)

    def alock(
        self, name: str = "lock", *, timeout: float = 10.0, lease: float = 10.0, session: Session | None = None
    ) -> LockBlock[Self]:
        """``lock``: hold the object's lock of this name for a block, which commits at its end."""
        return transactions.lock(self, name=name, timeout=timeout, lease=lease, session=session)

    def __getstate__(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in vars(self).items()}


async def _record(draft: Any, values: dict[str, Any]) -> None:
    assign_all(draft, values)


in_draft(AtomicRedisModel, update="aupdate", recorded=_record)
