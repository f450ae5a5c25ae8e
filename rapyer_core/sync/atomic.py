"""AtomicRedisModel (blocking): the same mapping as ``@redis_model``, with methods on the object.

``rapyer_core.atomic`` has the asyncio base. Attributes are plain here; the functions change single fields.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Self, dataclass_transform

from rapyer_core.classes import InheritedModelMeta, OnEither, assign_all, in_draft
from rapyer_core.models import pk_of
from rapyer_core.sync import repository, transactions
from rapyer_core.sync.sessions import Session, current
from rapyer_core.sync.transactions import LockBlock, Pipeline


@dataclass_transform(field_specifiers=(dataclasses.field,))
class AtomicRedisModel(metaclass=InheritedModelMeta):
    """Base class of models with methods: ``class Player(AtomicRedisModel): score: int = 0``.

    A subclass becomes a dataclass. All methods use the session of ``rapyer_core.sync.init_rapyer``, or the one given.
    """

    __rapyer_base__: ClassVar[bool] = True

    @property
    def pk(self) -> Any:
        """The primary key: the Key field's value, else a generated sortable id."""
        return pk_of(self)

    @property
    def key(self) -> str:
        """The Redis key, with the prefix of the default session."""
        return current(None).context.target(self).key.decode()

    def save(self, *, overwrite: bool = False, session: Session | None = None) -> None:
        """``save``: a new object whole, of a loaded one what changed. Conflict, NotFound."""
        repository.save(self, overwrite=overwrite, session=session)

    def insert(self, *, session: Session | None = None) -> None:
        """``insert``: AlreadyExists if there is one."""
        repository.insert(self, session=session)

    @classmethod
    def get(cls, pk: Any, *, session: Session | None = None) -> Self:
        """``get``: the stored object. NotFound."""
        return repository.get(cls, pk, session=session)

    @classmethod
    def get_or_create(cls, pk: Any = None, *, session: Session | None = None, **values: Any) -> tuple[Self, bool]:
        """``get_or_create``: the stored object, or a new one of these values; and whether it was created."""
        return repository.get_or_create(cls, pk, session=session, **values)

    def load(self, *, session: Session | None = None) -> Self:
        """``reload``: read the object again, in place. NotFound."""
        return repository.reload(self, session=session)

    @OnEither
    def delete(self_or_cls: Any, pk: Any = None, *, session: Session | None = None) -> bool:  # either
        """``delete``, of the object or ``Player.delete(pk)``; whether it was there."""
        return repository.delete(self_or_cls, pk, session=session)

    @OnEither
    def exists(self_or_cls: Any, pk: Any = None, *, session: Session | None = None) -> bool:  # either
        """``exists``, of the object or ``Player.exists(pk)``."""
        return repository.exists(self_or_cls, pk, session=session)

    def update(self, *, session: Session | None = None, **values: Any) -> None:
        """Assign several fields in one commit."""
        with transactions.pipeline(self, session=session) as draft:
            assign_all(draft, values)

    @classmethod
    def find(
        cls, *conditions: Any, order_by: Any = None, limit: int | None = None, session: Session | None = None
    ) -> list[Self]:
        """``find``: the objects that fulfil every condition; without conditions, all."""
        return repository.find(cls, *conditions, order_by=order_by, limit=limit, session=session)

    def pipeline(self, *, session: Session | None = None) -> Pipeline[Self]:
        """``pipeline``: several changes in one commit."""
        return transactions.pipeline(self, session=session)

    def lock(
        self, name: str = "lock", *, timeout: float = 10.0, lease: float = 10.0, session: Session | None = None
    ) -> LockBlock[Self]:
        """``lock``: hold the object's lock of this name for a block, which commits at its end."""
        return transactions.lock(self, name=name, timeout=timeout, lease=lease, session=session)


in_draft(AtomicRedisModel, update="update", recorded=assign_all)
