"""Errors of the mapper. Each carries its data as attributes; no text shows a stored value or a password.

RapyerError                                    the root, and the engine's errors (rapyer_codecs.errors):
├── DecodeError            (ValueError)        stored bytes are not a value of the type
│   └── UnknownVersion                         the object is stored in a version that the class does not know
├── EncodeError            (TypeError, ValueError)
├── UnsupportedType        (TypeError)         a type without a codec
├── ConstraintError        (ValueError)        a value breaks a rule of its field
├── LimitExceeded          (ValueError)        too deep, too many, too long
├── PathError              (AttributeError, TypeError)   no such place in the class
├── MissingEntry           (KeyError, IndexError)        no such key or index in the object
│
│   the object is not as the caller thought; nothing was written:
├── NotFound               (LookupError)
├── AlreadyExists
├── Conflict                                   somebody else changed what was read
├── MissingValue           (ValueError, LookupError)     nothing to remove, or None on the way
├── LockLost                                   the lease ran out; the commit was refused
├── LockTimeout            (TimeoutError)      the lock was not to be had in time
│
│   the server or the way to it:
├── OutcomeUnknown                             the reply to a write was lost: applied once, or not at all
├── ConnectionFailed       (ConnectionError)   nothing was written
├── PoolTimeout            (TimeoutError)      no connection became free in time; nothing was sent
├── ServerRefused                              the server answered with an error
│   ├── NotApplied                             ... and is proven to have written nothing
│   ├── WrongKeyType                           the key holds something else than a hash
│   └── CrossSlot                              objects that cannot share one EXEC; nothing was sent
└── SessionClosed                              no session, or one that was closed
"""

from __future__ import annotations

from rapyer_codecs import (
    ConstraintError,
    DecodeError,
    EncodeError,
    LimitExceeded,
    MissingEntry,
    PathError,
    RapyerError,
    UnsupportedType,
)

__all__ = [
    "AlreadyExists",
    "Conflict",
    "ConnectionFailed",
    "ConstraintError",
    "CrossSlot",
    "DecodeError",
    "EncodeError",
    "LimitExceeded",
    "LockLost",
    "LockTimeout",
    "MissingEntry",
    "MissingValue",
    "NotApplied",
    "NotFound",
    "OutcomeUnknown",
    "PathError",
    "PoolTimeout",
    "RapyerError",
    "ServerRefused",
    "SessionClosed",
    "UnknownVersion",
    "UnsupportedType",
    "WrongKeyType",
]


class _Worded(RapyerError):
    """An error whose text is made from its data unless a reason was given."""

    def __str__(self) -> str:
        place = ".".join(part for part in (self._owner(), self.path) if part)
        text = self.reason or self._words()
        return f"{place}: {text}" if place else text

    def _words(self) -> str:
        return "failed"


class UnknownVersion(_Worded, DecodeError):
    """An object is stored in a version that the class does not know. Nothing was written.

    version: the stored one. known: the oldest and the newest that the class knows.
    """

    version: int = 0
    known: tuple[int, int] = (1, 1)

    def _words(self) -> str:
        oldest, newest = self.known
        what = f"the object is stored in version {self.version}, and the class is of version {newest}; "
        if self.version > newest:
            return what + "nothing was written. It was written by newer code: only that can read it"
        return what + f"nothing was written. The class has no upgrade from a version before {oldest}"


class NotFound(_Worded, LookupError):
    """No object is stored under the key. Nothing was written."""

    def _words(self) -> str:
        return "no such object is stored (never saved, deleted or expired); save() or insert() creates one"


class AlreadyExists(_Worded):
    """An object is stored under the key already. Nothing was written."""

    def _words(self) -> str:
        return "an object with this key is stored already; use get(), get_or_create() or save()"


class Conflict(_Worded):
    """Somebody else changed what this write was decided on. Nothing was written.

    fields: stored names of what changed (empty: the key was changed at every try). attempts: tries in all.
    """

    fields: tuple[str, ...] = ()
    attempts: int = 1

    def _words(self) -> str:
        if not self.fields:
            return f"other writers came first at each of {self.attempts} attempts; nothing was written"
        return (
            f"changed by another writer since it was read: {', '.join(self.fields)} "
            f"(attempt {self.attempts}); nothing was written. reload() and decide again, "
            "or use transact(), which does so by itself"
        )


class MissingValue(_Worded, ValueError, LookupError):
    """What should be removed is not there, or a None is on the way to a place. Nothing was written."""

    def _words(self) -> str:
        return "there is no such value; nothing was written"


class LockLost(_Worded):
    """The lock's lease ran out, or somebody removed it: the commit was refused. name: the lock's name."""

    name: str = ""

    def _words(self) -> str:
        return f"the lock {self.name!r} was lost before the commit; nothing was written"


class LockTimeout(_Worded, TimeoutError):
    """The lock was not to be had in time. Nothing was written. name: the lock's name. waited: seconds."""

    name: str = ""
    waited: float = 0.0

    def _words(self) -> str:
        return f"the lock {self.name!r} was still held by somebody else after {self.waited:.2f} s; nothing was written"


class OutcomeUnknown(_Worded):
    """The connection was lost after a write was sent: it was applied once, or not at all.

    sent: the objects it was for, as "model:pk".
    """

    sent: tuple[str, ...] = ()

    def _words(self) -> str:
        return (
            f"the reply to a write was lost; it was applied once or not at all ({', '.join(self.sent)}). "
            "Look before you write again, or use exactly_once=True"
        )


class ConnectionFailed(_Worded, ConnectionError):
    """No connection, or lost before anything was written. timed_out: the server did not answer in time."""

    timed_out: bool = False

    def _words(self) -> str:
        happened = "the server did not answer in time" if self.timed_out else "the server cannot be reached"
        return f"{happened}; nothing was written"


class PoolTimeout(_Worded, TimeoutError):
    """No connection became free in time. Nothing was sent. waited: seconds. size: connections of the pool."""

    waited: float = 0.0
    size: int = 0

    def _words(self) -> str:
        return (
            f"all {self.size} connections were busy for {self.waited:.2f} s; nothing was sent. "
            "Raise max_connections or pool_timeout of the session"
        )


class ServerRefused(_Worded):
    """The server answered with an error. code: its first word."""

    code: str = "ERR"

    def _words(self) -> str:
        return f"the server refused the command ({self.code})"


_MEANINGS = {
    "OOM": "the server is out of memory",
    "READONLY": "the server is a read-only replica",
    "LOADING": "the server is loading its data",
    "BUSY": "the server is busy with a script",
    "MISCONF": "the server cannot persist and refuses writes",
    "NOREPLICAS": "too few replicas are connected",
    "MASTERDOWN": "the server has lost its primary",
    "CLUSTERDOWN": "no node of the cluster serves this object's slot",
    "TRYAGAIN": "the object's slot is on its way to another node of the cluster",
    "NOAUTH": "the server wants a password",
    "NOPERM": "the user may not run this command or reach this key",
}


class NotApplied(ServerRefused):
    """The server refused a write, which is proven not to have been applied. code: the server's word.

    passing: such a refusal ends by itself, and was waited for until the deadline.
    """

    passing: bool = False

    def _words(self) -> str:
        return f"{_MEANINGS.get(self.code, 'the server refused')} ({self.code}); nothing was written"


class WrongKeyType(ServerRefused):
    """The key holds something else than a hash: another program uses it. Nothing was written. key: its text."""

    code = "WRONGTYPE"
    key: str = ""

    def _words(self) -> str:
        return f"the key {self.key!r} holds something else than a hash; use another prefix or model name"


class CrossSlot(ServerRefused):
    """Objects whose keys are in different slots of a cluster cannot share one commit. Nothing was sent.

    other: an object whose slot is another one, as "Model(pk)".
    """

    code = "CROSSSLOT"
    other: str = ""

    def _words(self) -> str:
        return (
            f"in a cluster this object cannot share one commit with {self.other or 'another one'}, which is in another "
            "slot; nothing was sent. Objects share a slot under a prefix with a hash tag, such as prefix='{game}:'"
        )


class SessionClosed(_Worded):
    """There is no session, or it was closed."""

    def _words(self) -> str:
        return "no open session: call init_rapyer() first, or pass session="
