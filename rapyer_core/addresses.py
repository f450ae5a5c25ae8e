"""Addresses: which server a session speaks to when it was not told, and embedded servers started on demand."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

from rapyer_core.embedded import EmbeddedUse, use_embedded
from rapyer_core.settings import Settings

URL_VARIABLE = "RAPYER_URL"
_SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://", "embedded://")
_log = logging.getLogger("rapyer_core")


_told = ""
"""The address of the embedded server of which the log has said that it is used."""


def resolved(settings: Settings) -> tuple[Settings, EmbeddedUse | None]:
    """The settings with the address of a server that runs: the url, else RAPYER_URL, else an embedded server.

    And the use of that, if it is one; who asked ends it.
    """
    if settings.client is not None:
        return settings, None
    # An empty one is none only in the environment: a program that gives it has lost its own.
    named = settings.url if settings.url is not None else os.environ.get(URL_VARIABLE) or None
    url = "embedded://" if named is None else named
    if not url.startswith(_SCHEMES):
        raise ValueError(f"a url starts with one of {', '.join(_SCHEMES)}, and this one does not")
    if not url.startswith("embedded://"):
        return replace(settings, url=url), None
    use = use_embedded(url)
    if named is None:
        _tell_once(use.url)
    return replace(settings, url=use.url), use


def _tell_once(url: str) -> None:
    """Say in the log which server is used when nobody has named one."""
    global _told
    if url != _told:
        _told = url
        _log.info("no url and no %s: using an embedded server, gone when its last session is closed", URL_VARIABLE)
