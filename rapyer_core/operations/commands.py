"""Commands: what a change, or a whole object, is in commands, with its indexes and its ttl. Pure.

The one place that knows the old and the new value of indexed fields.
"""

from __future__ import annotations

import time
from itertools import chain

from rapyer_codecs.framing import unframed
from rapyer_core import packing
from rapyer_core.collection import EXISTS, Fields, Target
from rapyer_core.operations.units import Change, Seen, put_and_drop
from rapyer_core.plans import IndexField
from rapyer_core.requests import Command


def is_plain(target: Target, seen: Seen, change: Change) -> bool:
    """Whether it is nothing but fields to put and to drop, which may be written as one with those of others."""
    put, drop = change.put, change.drop
    if change.replace or change.erase or change.extra or seen.former is not None or not (put or drop):
        return False
    for index in target.collection.indexes:
        name = index.slot.name
        if name in put or name in drop:
            return False
    return True


def change_commands(target: Target, seen: Seen, change: Change) -> list[Command]:
    """All that it takes to write a change."""
    if change.empty and not change.renew:
        return []
    if change.erase:
        return [(b"DEL", target.key), *unindex(target)]
    if change.replace:
        return replace_commands(target, change.put)
    if seen.former is not None:
        return _renewed(target, seen, seen.former, change)
    commands: list[Command] = [*change.extra, *put_and_drop(target.key, change.put, change.drop)]
    for index in target.collection.indexes:
        name = index.slot.name
        if name in change.put or name in change.drop:
            after = {name: change.put[name]} if name in change.put else {}
            commands += _reindex(target, index, index.may_hold(seen.fields), index.score(after))
    return commands


def _renewed(target: Target, seen: Seen, former: Fields, change: Change) -> list[Command]:
    """An object of an older version written as one of today's, with the change. former: what is stored of it."""
    gone = set(change.drop)
    after = {name: text for name, text in seen.fields.items() if name not in gone} | change.put
    drop = [name for name in former if name not in after]
    put = {name: text for name, text in after.items() if former.get(name) != text}
    commands: list[Command] = list(change.extra)
    if drop:
        commands.append((b"HDEL", target.key, *drop))
    collection = target.collection
    commands.append((*hset(target.key, put), EXISTS, collection.version))
    if collection.keeps_expiry:
        # Its older version may have had no index. Due at once: when it really ends is looked up then.
        commands.append((b"ZADD", collection.expiry_key, b"NX", round(time.time() * 1000), target.pk.encode()))
    return commands + _index_entries(target, after)


def replace_commands(target: Target, fields: Fields) -> list[Command]:
    """An object written whole, over whatever is stored under its key, with its indexes and its ttl."""
    # The field ~ in front: there a reader looks for it first.
    written = (b"HSET", target.key, EXISTS, target.collection.version, *chain.from_iterable(fields.items()))
    return [(b"DEL", target.key), written, *_accompanying(target, fields)]


def whole_commands(target: Target, framed: bytes) -> list[Command]:
    """The same for a framed object."""
    commands: list[Command] = [packing.delete(target.key), framed]
    return commands + accompanying_framed(target, framed) if target.collection.is_accompanied else commands


def accompanying_framed(target: Target, framed: bytes) -> list[Command]:
    """What goes with a framed object that is written whole: its ttl, its indexes."""
    return _accompanying(target, unframed(framed) if target.collection.indexes else {})


def _accompanying(target: Target, fields: Fields) -> list[Command]:
    ttl = target.collection.model.ttl
    lasting: list[Command] = [] if ttl is None else [(b"PEXPIRE", target.key, round(ttl * 1000))]
    return lasting + reindexed(target, fields)


def reindexed(target: Target, fields: Fields) -> list[Command]:
    """All index entries of an object with these fields, and no others."""
    collection = target.collection
    commands = _index_entries(target, fields)
    if collection.keeps_expiry:
        later = round((time.time() + (collection.model.ttl or 0)) * 1000)
        commands.append((b"ZADD", collection.expiry_key, later, target.pk.encode()))
    return commands


def _index_entries(target: Target, fields: Fields) -> list[Command]:
    commands: list[Command] = []
    for index in target.collection.indexes:
        score = index.score(fields)
        commands += _reindex(target, index, True, score)
    return commands


def hset(key: bytes, fields: Fields) -> Command:
    """All fields in one HSET."""
    return (b"HSET", key, *chain.from_iterable(fields.items()))


def _reindex(target: Target, index: IndexField, held: bool, new: float | None) -> list[Command]:
    key, member = target.collection.index_key(index), target.pk.encode()
    if new is None:
        return [(b"ZREM", key, member)] if held else []
    return [(b"ZADD", key, repr(new).encode(), member)]


def unindex(target: Target) -> list[Command]:
    """No index entries of an object any more."""
    collection, member = target.collection, target.pk.encode()
    commands: list[Command] = [(b"ZREM", collection.index_key(index), member) for index in collection.indexes]
    if collection.keeps_expiry:
        commands.append((b"ZREM", collection.expiry_key, member))
    return commands
