"""rapyer_core: dataclasses in Redis hashes, field by field, with no lost update.

Decorate a dataclass with ``@redis_model``, call ``init_rapyer()``, use the functions below. Every async function has a
blocking twin of the same name in ``rapyer_core.sync``.
"""

from __future__ import annotations

from rapyer_codecs import Alias, Codec, Packed, Registry, default_registry, register_codec

from rapyer_core.atomic import AtomicRedisModel
from rapyer_core.embedded import InvalidServerUrl, ServerNotFound, ServerStartFailed
from rapyer_core.errors import (
    AlreadyExists,
    Conflict,
    ConnectionFailed,
    ConstraintError,
    CrossSlot,
    DecodeError,
    EncodeError,
    LimitExceeded,
    LockLost,
    LockTimeout,
    MissingEntry,
    MissingValue,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    PathError,
    PoolTimeout,
    RapyerError,
    ServerRefused,
    SessionClosed,
    UnsupportedType,
    WrongKeyType,
)
from rapyer_core.expressions import asc, contains, desc, in_, is_none, not_, some
from rapyer_core.markers import Index, Key
from rapyer_core.models import evolve, paths, pk_of, redis_model, ref
from rapyer_core.operations.search import Explanation, Report
from rapyer_core.repository import (
    add,
    append,
    assign,
    clear,
    count,
    delete,
    delete_many,
    discard,
    exists,
    explain,
    extend,
    find,
    find_one,
    get,
    get_many,
    get_or_create,
    increment,
    insert,
    insert_at,
    iterate,
    merge,
    modify,
    pop,
    put,
    rank,
    reload,
    remove,
    save,
    save_many,
    top,
    verify,
)
from rapyer_core.retries import Retry
from rapyer_core.sessions import Session, close_rapyer, init_rapyer, open_session
from rapyer_core.transactions import Transaction, lock, pipeline, transact, transaction

__version__ = "0.1.0"
