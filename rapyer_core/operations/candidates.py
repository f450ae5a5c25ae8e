"""Candidates: the keys a search looks at, and the objects under them. Generators; no I/O, no conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from rapyer_codecs.lean import dataclass, field
from rapyer_core.collection import EXISTS, Collection, Context, OnError, Target
from rapyer_core.keys import escape_glob
from rapyer_core.operations.query import Query
from rapyer_core.operations.reading import CHUNK, chunks, read
from rapyer_core.operations.refusals import refused
from rapyer_core.operations.units import Seen, paired, seen_of
from rapyer_core.plans import IndexField
from rapyer_core.requests import Command, Operation, Reply, ServerError

T = TypeVar("T")


@dataclass(slots=True)
class Cursor:
    """Where a search stands. scan: SCAN's cursor, None once it is at its end. met: keys already seen.

    by_index: whether the index of the search has all objects; None: not looked up yet.
    """

    scan: int | None = 0
    pending: list[bytes] = field(default_factory=list)
    met: set[bytes] = field(default_factory=set)
    listed: bool = False
    by_index: bool | None = None


def next_keys(ctx: Context, made: Query[Any], cursor: Cursor) -> Operation[list[bytes]]:
    """The next keys to look at; none at the end. SCAN may name a key twice; this does not."""
    collection = made.collection
    if made.index is not None and cursor.by_index is None:
        cursor.by_index = yield from is_complete(ctx, collection, made.index)
    if made.index is not None and cursor.by_index:
        if not cursor.listed:
            low, high = made.range.bounds
            if made.range.low > made.range.high:
                return []
            command: Command = (b"ZRANGE", collection.index_key(made.index), low, high, b"BYSCORE")
            members = (yield from replies_of(ctx, collection, [command]))[0]
            cursor.pending = [target.key for target in targets_of(collection, members)]
            cursor.listed = True
        keys, cursor.pending = cursor.pending[:CHUNK], cursor.pending[CHUNK:]
        return keys
    while cursor.scan is not None:
        pattern = escape_glob(collection.head) + b"*"
        scan: Command = (b"SCAN", cursor.scan, b"MATCH", pattern, b"COUNT", CHUNK)
        reply = (yield from replies_of(ctx, collection, [scan]))[0]
        position = int(reply[0])
        cursor.scan = position or None
        keys = [key for key in dict.fromkeys(reply[1]) if key not in cursor.met]
        cursor.met.update(keys)
        if keys:
            return keys
    return []


def is_complete(ctx: Context, collection: Collection[Any], index: IndexField) -> Operation[bool]:
    """Whether an index has all objects: not before ``upgrade_all``, if older objects may be missing from it."""
    if index.name not in collection.doubtful:
        return True
    command: Command = (b"HMGET", collection.complete_key, index.slot.name)
    replies = yield from replies_of(ctx, collection, [command])
    return bool(replies[0][0] == collection.version)


def replies_of(ctx: Context, collection: Collection[Any], commands: Sequence[Command]) -> Operation[list[Reply]]:
    """The replies to commands that only read. WrongKeyType and NotApplied name the key."""
    replies = yield from read(ctx, commands, model=collection.model.name)
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ServerError):
            key = next((word for word in command[1:2] if isinstance(word, bytes)), b"")
            raise refused(Target(collection, collection.pk_in(key), key), reply)
    return replies


def targets_of(collection: Collection[Any], members: Iterable[bytes]) -> list[Target]:
    """The objects that the members of an index stand for."""
    pks = [member.decode(errors="replace") for member in members]
    return [Target(collection, pk, collection.key(pk)) for pk in pks]


def _stored_at(
    ctx: Context, collection: Collection[Any], keys: Sequence[bytes]
) -> Operation[list[tuple[str, bytes, list[bytes]]]]:
    """The objects that are there: primary key, key and the reply to HGETALL."""
    found: list[tuple[str, bytes, list[bytes]]] = []
    for part in chunks(keys):
        replies = yield from replies_of(ctx, collection, [(b"HGETALL", key) for key in part])
        for key, reply in zip(part, replies, strict=True):
            if EXISTS in reply[::2]:
                found.append((collection.pk_from_key(key), key, reply))
    return found


def seen_at(ctx: Context, collection: Collection[Any], keys: Sequence[bytes]) -> Operation[list[tuple[str, Seen]]]:
    """What is stored of the objects under the keys: primary key and fields of those that are there.

    DecodeError for an object under a key that no primary key has.
    """
    found = yield from _stored_at(ctx, collection, keys)
    return [(pk, seen_of(Target(collection, pk, key), paired(reply))) for pk, key, reply in found]


def objects_at(
    ctx: Context, collection: Collection[T], keys: Sequence[bytes], on_error: OnError | None = None
) -> Operation[list[tuple[str, T]]]:
    """The objects under the keys, in order, with their primary keys, without those that are not there.

    DecodeError, also for an object under a key that no primary key has. on_error: as of ``get``.
    """
    found: list[tuple[str, T]] = []
    for pk, _, reply in (yield from _stored_at(ctx, collection, keys)):
        obj = collection.load_reply(reply, pk, on_error)
        if obj is not None:
            found.append((pk, obj))
    return found


def load(ctx: Context, made: Query[T], keys: Sequence[bytes]) -> Operation[list[T]]:
    """The objects under the keys, in order, without those that are not there. DecodeError."""
    return [obj for _, obj in (yield from objects_at(ctx, made.collection, keys, made.on_error))]
