"""Drafts: recording views of one object. Reads are noted, writes are recorded as edits; nothing is sent from here.

What is noted and recorded, and what it comes to at commit, is in ``recorders``; which values come straight back to
their place, and therefore were not read, is told by ``tracking``.

Drafts of containers of declared type list, dict and set record each operation. Values of other containers (deque,
packed, a TypedDict, ...) are handed out as copies; a copy that was changed is written back whole, and counts as read.
"""

from __future__ import annotations

from typing import Any

from rapyer_core.drafts.dicts import DraftDict
from rapyer_core.drafts.handles import handle, plain
from rapyer_core.drafts.lists import DraftList
from rapyer_core.drafts.records import Draft, draft_class
from rapyer_core.drafts.sets import DraftSet
from rapyer_core.errors import NotFound
from rapyer_core.recorders import Recorder


def draft_of(recorder: Recorder) -> Any:
    """The draft of a whole object. NotFound if there is no such object, or no longer in the block."""
    if recorder.first is None or recorder.deleted:
        raise NotFound(**recorder.target.data)
    root = recorder.target.collection.mapper.root
    return handle(root.view or draft_class(root), recorder, root)


def recorder_of(draft: Any) -> Recorder | None:
    """The recorder behind a draft of a whole object; None for anything else."""
    if not issubclass(type(draft), Draft):
        return None
    return None if draft.__slot__.steps else draft.__recorder__


__all__ = [
    "Draft",
    "DraftDict",
    "DraftList",
    "DraftSet",
    "draft_class",
    "draft_of",
    "plain",
    "recorder_of",
]
