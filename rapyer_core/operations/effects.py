"""Effects: what commits that share an EXEC do to one object, so that each sees what those before it do. Pure."""

from __future__ import annotations

from rapyer_core.collection import Fields
from rapyer_core.operations.units import Change, Seen, Unit, put_and_drop
from rapyer_core.requests import Command, Others


def effects_on(others: Others, key: bytes) -> Effects:
    """What those before do to an object, to be added to. One change that only puts and drops fields stands for itself:
    mostly there are no others.
    """
    found: Effects | Change = others.get(key, _NO_CHANGE)
    if isinstance(found, Change):
        found = others[key] = Effects(found)
    return found


_NO_CHANGE = Change()


class Effects:
    """What those before it in the same EXEC do to one object, summed up.

    put: fields set. gone: fields dropped. exists: whether it is there afterwards, None: as before. replaced: whether
    nothing is left of what was stored before. unsent: what no command does yet; the same until some of it is sent.
    """

    __slots__ = ("exists", "gone", "put", "replaced", "unsent_gone", "unsent_put")

    def __init__(self, first: Change) -> None:
        """first: puts and drops fields, and is left unsent."""
        self.put = self.unsent_put = dict(first.put)
        self.gone = self.unsent_gone = dict.fromkeys(first.drop)
        self.exists: bool | None = None
        self.replaced = False

    def put_and_drop(self, change: Change) -> None:
        """One more change, after the others, which only puts and drops fields. It is left unsent."""
        _note(change, self.put, self.gone)
        if self.unsent_put is not self.put:
            _note(change, self.unsent_put, self.unsent_gone)

    def unsent(self, key: bytes) -> list[Command]:
        """The commands for what was left unsent."""
        put, gone = self.unsent_put, self.unsent_gone
        self.unsent_put, self.unsent_gone = {}, {}
        return put_and_drop(key, put, gone)

    def add(self, change: Change) -> None:
        """One more change, after the others, all of which are sent, as are its own commands."""
        if change.erase or change.replace:
            self.put, self.gone = {}, {}
            self.exists, self.replaced = change.replace, True
        _note(change, self.put, self.gone)

    def after(self, unit: Unit, seen: Seen) -> Seen:
        """What was seen of the object, as it is afterwards. It is one of today's version then."""
        exists = seen.exists if self.exists is None else self.exists
        before = {} if self.replaced else seen.fields
        fields: Fields
        if seen.whole:
            fields = {name: text for name, text in before.items() if name not in self.gone}
            fields.update(self.put)
            return Seen(exists, fields, True)
        fields = {}
        for name in unit.needs or ():
            if name in self.put:
                fields[name] = self.put[name]
            elif name in before and name not in self.gone:
                fields[name] = before[name]
        return Seen(exists, fields, False)


def _note(change: Change, put: Fields, gone: dict[bytes, None]) -> None:
    for name in change.drop:
        put.pop(name, None)
        gone[name] = None
    put.update(change.put)
    if gone:
        for name in change.put:
            gone.pop(name, None)
