"""Addresses: which server a session speaks to when it was not told, and embedded servers started on demand."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

from rapyer_core.embedded import embedded_url
from rapyer_core.settings import Settings

URL_VARIABLE = "RAPYER_URL"
_SCHEMES = ("redis://", "rediss://", "unix://", "embedded://")
_log = logging.getLogger("rapyer_core")


def resolved(settings: Settings) -> Settings:
    """The settings with the address of a server that runs: the url, else RAPYER_URL, else an embedded server."""
    if settings.client is not None:
        return settings
    # An empty one is none only in the environment: a program that gives it has lost its own.
    url = settings.url if settings.url is not None else os.environ.get(URL_VARIABLE) or None
    if url is None:
        url = "embedded://"
        _log.info("no url and no %s: using an embedded server, which is gone when this process ends", URL_VARIABLE)
    if not url.startswith(_SCHEMES):
        raise ValueError(f"a url starts with one of {', '.join(_SCHEMES)}, and this one does not")
    return replace(settings, url=embedded_url(url) if url.startswith("embedded://") else url)
